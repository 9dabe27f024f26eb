"""Studies and models in Python: results, pictures and mistakes are those of the command line."""

from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import adloc
from adloc.api.asked import as_overrides
from adloc.record.heatmaps import ColourScale, read_panels
from commandline import adloc as command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(spread_file: Path, spread_local: Path, tmp_path_factory: pytest.TempPathFactory) -> adloc.Study:
    """A study that has run, in a workspace that these tests may write to."""
    workspace = tmp_path_factory.mktemp("python") / "w"
    shutil.copytree(spread_local, workspace)
    return adloc.Study.load(spread_file, set={"heatmaps": 2}, workspace=workspace)


@pytest.fixture(scope="module")
def run_id(study: adloc.Study) -> str:
    """Of its first run."""
    return str(study.results().run_id[0])


def test_results_are_those_of_the_command_line(study: adloc.Study) -> None:
    """Every column and every figure, as the command line prints them with the same override."""
    asked = ("--set", "heatmaps=2", "--workspace", study.workspace, "--format", "csv")
    printed = command("study", "results", study.file, *asked).stdout
    found = study.results()
    found = found.mask(found == "")  # CSV has no other way to say that there is nothing
    pd.testing.assert_frame_equal(found, pd.read_csv(io.StringIO(printed)), check_dtype=False, check_exact=True)
    assert list(found.columns) == (study.folder / "results.csv").read_text().splitlines()[0].split(",")


def test_named_study_is_read_from_its_records(study: adloc.Study) -> None:
    """The same table without the file; one that is not there is told as on the command line."""
    named = adloc.Study.named("spread", workspace=study.workspace)
    pd.testing.assert_frame_equal(named.results(), study.results())
    assert (named.status().done, named.status().runs) == (8, 8)
    with pytest.raises(adloc.UserError) as refused:
        adloc.Study.named("never", workspace=study.workspace)
    assert (
        str(refused.value)
        == command("study", "results", "never", "--workspace", study.workspace, expect=2).stderr.rstrip()
    )


def test_leaderboard_has_the_averages(study: adloc.Study) -> None:
    """One row a setting and regime, the mean over the two categories; 2 ratios x 2 regimes."""
    found, rows = study.leaderboard(), study.results()
    assert len(found) == 4
    first = rows[(rows["params.coreset_ratio"] == 0.1) & (rows.regime == "clean") & (rows.category != "macro")]
    assert found.image_auroc[0] == pytest.approx(first.image_auroc.mean())
    assert "threshold" not in found  # it has no average


def test_best_is_chosen_on_the_validation_part(study: adloc.Study) -> None:
    """A run a category, of the setting with the largest mean of the validation figure."""
    rows, best = study.results(), study.best("pixel_auroc")
    clean = rows[(rows.category != "macro") & (rows.regime == "clean")]
    means = clean.groupby("params.coreset_ratio").val_pixel_auroc.mean()
    chosen = clean[clean["params.coreset_ratio"] == means.idxmax()]
    assert list(best.run_id) == list(chosen.run_id)
    assert list(study.best("pixel_auroc", category="strip").category) == ["strip"]


def test_heatmaps_are_the_recorded_pictures_with_their_arrays(study: adloc.Study, run_id: str) -> None:
    """The raw map, coloured anew, is the recorded panel; the mask is the dataset's; the image is the panel's."""
    found = study.heatmaps(run_id)
    folder = study.folder / "records" / run_id / "heatmaps"
    paths = sorted(folder.glob("*.png"))
    assert len(found) == len(paths) == 2
    assert [each.png for each in found] == [path.read_bytes() for path in paths]
    for heatmap, path in zip(found, paths, strict=True):
        assert heatmap.anomaly_map.shape == (48, 64)
        assert heatmap.mask is not None
        assert heatmap.mask.any() == heatmap.anomalous == ("good" not in heatmap.name)
        panel = np.asarray(read_panels(path).anomaly_map)
        with Image.open(path) as strip:
            low, anchor, high = map(float, str(strip.info["scale"]).split())
        size = panel.shape[1], panel.shape[0]
        grown = Image.fromarray(heatmap.anomaly_map).resize(size, Image.Resampling.BILINEAR)
        drawn = ColourScale(low, anchor, high).colours(np.asarray(grown))
        assert np.abs(drawn.astype(int) - panel).mean() < 12  # of 255: scaled another way
        assert heatmap.image.shape == (48, 64, 3)
    sheet = Image.open(io.BytesIO(found._repr_png_() or b""))
    assert sheet.height > sum(Image.open(path).height for path in paths)


def test_run_without_pictures_is_told(study: adloc.Study) -> None:
    """With the run that was meant."""
    with pytest.raises(adloc.UserError) as refused:
        study.heatmaps("gear-patchcore-typo")
    assert "gear-patchcore-" in refused.value.complaints[0].remedy


def test_plan_status_compare_and_report(study: adloc.Study, run_id: str) -> None:
    """Each says in a line what the command line says, and holds it as tables."""
    plan = study.plan()
    assert repr(plan).startswith("spread: 8 runs, 0 to do")
    assert set(plan.runs.run_id) == set(study.results().run_id[:8])
    assert not plan.runs.todo.any()
    assert repr(study.status()).startswith("spread: 8 of 8 runs done, 0 failed, 0 to come")
    assert repr(study.compare(study)).splitlines()[-1].endswith("the same")
    other = str(study.results().run_id[1])
    found = adloc.compare(run_id, other, workspace=study.workspace)
    assert {"metric", "first", "second", "difference"} <= set(found.metrics.columns)
    report = study.report()
    assert open(report, encoding="utf-8").read(15).lower() == "<!doctype html>"  # noqa: PTH123, SIM115  it is a path
    assert "data:image/png;base64," in report._repr_html_()


def test_model_predicts_as_its_run(study: adloc.Study, run_id: str, mvtec_tree: Path) -> None:
    """Scores of the record to the bit, from files; maps as arrays; a rate is kept; the self-test passes."""
    model = study.export(run_id)
    assert model.check().passed
    record = pd.read_csv(study.folder / "records" / run_id / "images.csv")
    test = record[record.part == "test"]
    paths = [mvtec_tree / "gear" / name for name in test.name]
    rows = model.predict(paths, quiet=True)
    assert list(rows.columns) == ["path", "score", "anomalous", "threshold", "error"]
    assert list(rows.score) == list(test.score)
    again = adloc.load_model(model.path)
    assert again.threshold == model.threshold == rows.threshold[0]
    heatmaps = again.heatmaps(paths[:2])
    assert [each.score for each in heatmaps] == list(test.score[:2])
    assert heatmaps[0].anomaly_map.shape == heatmaps[0].image.shape[:2]
    assert heatmaps[0].mask is None
    assert json.loads(rows.to_json(orient="records"))[0]["path"] == str(paths[0])
    before = model.threshold
    good = sorted((mvtec_tree / "strip" / "train").rglob("*.png"))
    assert model.calibrate(good, promise="expected").before == before
    assert model.threshold == adloc.load_model(model.path).threshold != before


def test_run_is_verified_and_explained(study: adloc.Study, run_id: str) -> None:
    """Bit for bit the same when computed again; its training images ranked, all but those asked for left out."""
    assert "1 of 1 runs have the same bits" in repr(study.verify(runs=1, quiet=True))
    (found,) = study.explain(run_id)
    assert found.explanation.run_id == run_id
    assert found.suspicious.score.is_monotonic_decreasing
    assert found._repr_png_()


def test_one_of_several_models_is_asked_for(study: adloc.Study) -> None:
    """The best setting has one a category."""
    with pytest.raises(adloc.UserError, match='category="gear"'):
        study.export()


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda s, _: s.run(device="gpu"), "device is 'gpu'"),
        (lambda s, _: s.run(jobs=0), "jobs is 0"),
        (lambda s, _: s.run(executor="spark"), "executor is 'spark'"),
        (lambda s, _: s.tune(), "tunes nothing"),
        (lambda s, _: s.best("image_aurok"), "--best is image_aurok"),
        (lambda s, _: s.export("x", best="image_auroc"), "best and category choose a run"),
        (lambda s, _: adloc.load_model(s.file.parent), "no model.json"),
        (lambda s, _: adloc.Study.load(s.file, set={"image.size": -1}), "image.size"),
        (lambda s, _: adloc.Study.load(s.file, set={"image.size": object()}), "image.size is a object"),
        (lambda s, _: adloc.Study.load(s.file.with_name("none.yaml")), "No such file"),
        (lambda _s, _: adloc.list_methods("patchcor"), "patchcor"),
        (lambda s, _: adloc.Store(workspace=s.workspace).verify(shared=True), "--shared"),
        (lambda _s, tmp_path: adloc.Study.init(tmp_path), "no"),
    ],
)
def test_mistakes_have_finding_rule_and_remedy(
    study: adloc.Study, tmp_path: Path, call: Callable[[Any, Path], object], found: str
) -> None:
    """One kind of exception, before any work; what IPython shows of it is those lines and no traceback."""
    with pytest.raises(adloc.UserError) as refused:
        call(study, tmp_path)
    (complaint, *_) = refused.value.complaints
    assert found in complaint.found
    assert complaint.rule
    assert complaint.remedy
    assert refused.value._render_traceback_() == str(refused.value).splitlines()


def test_overrides_are_what_yaml_reads() -> None:
    """Values of every kind, NumPy's numbers among them; texts of the command line as they are."""
    assert as_overrides({"image.size": np.int64(128), "x": None}) == ("image.size=128", "x=null")
    assert as_overrides(["image.size=128"]) == ("image.size=128",)


def test_progress_is_plain_lines(study: adloc.Study, capsys: pytest.CaptureFixture[str]) -> None:
    """On the standard output, without a control character; nothing at all when quiet."""
    study.run()
    told = capsys.readouterr()
    assert "spread: 8 runs, 8 of them done already" in told.out
    assert "8 runs done (0 now, 0 stages computed), 0 failed" in told.out
    assert study.outcome is not None
    assert study.outcome.n_failed == 0
    assert not [letter for letter in told.out + told.err if ord(letter) < 32 and letter != "\n"]
    study.run(quiet=True)
    assert capsys.readouterr() == ("", "")


def test_data_seal_store_and_machine(study: adloc.Study, tmp_path: Path) -> None:
    """The remaining verbs, each against what must hold whatever the machine."""
    checked = study.check_data()
    assert checked.ok
    assert checked.parts.groupby("category").images.sum().to_dict() == {"gear": 26, "strip": 26}
    assert study.preview(output=tmp_path / "sheet.png", images=2).size == Image.open(tmp_path / "sheet.png").size
    assert study.seal(output=tmp_path / "seal.json").plan == json.loads((tmp_path / "seal.json").read_text())["plan"]
    store = adloc.Store(workspace=study.workspace)
    assert {"features", "patchcore.coreset"} <= set(store.ls().kind)
    assert store.verify() == []
    assert store.gc(max_gb=1.0) == (0, 0)
    assert "patchcore" in [each.name for each in adloc.list_methods()]
    assert adloc.schema()["properties"]["study"]
    machine = adloc.examine(workspace=study.workspace).set_index("what")
    assert machine.ok["torch"]
