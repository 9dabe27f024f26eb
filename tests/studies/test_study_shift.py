"""Regimes, unified models and repeats, through the command line on a tiny dataset."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from adloc.cli import cli
from adloc.progress.study import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.planning.stages import Stage

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_report")]  # whole studies

STUDY = """\
study: tiny_shift
description: Does it survive?
dataset: {{kind: mvtec_ad, root: {root}}}
image: {{size: [48, 64]}}
regimes: [clean, no_adaptation, threshold_only, full_adaptation]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, coreset_ratio: 0.2}}
heatmaps: 1
models: none
"""
MODEL = ("image_auroc", "image_auprc", "pixel_auroc", "pixel_aupro")


def run(file: Path, workspace: Path, *sets: str) -> list[dict[str, Any]]:
    """Run the study; its results."""
    arguments = ["study", "run", str(file), "--workspace", str(workspace), "--json"]
    result = CliRunner().invoke(cli, arguments + [part for s in sets for part in ("--set", s)])
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = json.loads(result.stdout)["results"]
    return rows


def table(workspace: Path, name: str) -> pd.DataFrame:
    """A table of the study, as written."""
    return pd.read_csv(workspace / "studies" / "tiny_shift" / "tables" / f"{name}.csv")


@pytest.fixture(scope="module")
def study_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, written down."""
    path = tmp_path_factory.mktemp("study") / "tiny_shift.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="module")
def computed() -> Counter[str]:
    """How many stages of each kind `four_regimes` computed."""
    return Counter()


@pytest.fixture(scope="module")
def four_regimes(
    study_file: Path, tmp_path_factory: pytest.TempPathFactory, computed: Counter[str]
) -> tuple[Path, dict[str, dict[str, Any]]]:
    """A finished workspace, and the rows of gear by regime."""
    workspace = tmp_path_factory.mktemp("regimes")

    class Counting(Progress):
        def stage_started(self, stage: Stage) -> None:
            computed[stage.kind] += 1

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("adloc.progress.study.Progress", Counting)
        rows = run(study_file, workspace, "dataset.categories=[gear]")
    return workspace, {row["regime"]: row for row in rows if row["category"] == "gear"}


def test_regimes_share_what_the_protocol_says(four_regimes: Any, computed: Counter[str]) -> None:
    """Two fits for four regimes; each part scored once by each model that needs it; three thresholds."""
    del four_regimes  # it has run
    assert computed["patchcore.coreset"] == 2  # clean, shift
    assert computed["patchcore.scores"] == 6  # clean model on four parts, shifted model on two
    assert computed["threshold"] == 3  # clean model on clean and shifted validation, shifted model on shifted
    assert computed["truth"] == 4  # validation and test, clean and shifted
    assert computed["features"] == 6  # every part in both domains


def test_regimes_differ_where_the_protocol_says(four_regimes: Any) -> None:
    """no_adaptation carries clean's threshold over; threshold_only has no_adaptation's scores and its own threshold."""
    _, rows = four_regimes
    clean, carried, recalibrated, full = (
        rows[regime] for regime in ("clean", "no_adaptation", "threshold_only", "full_adaptation")
    )
    assert carried["threshold"] == clean["threshold"]
    assert recalibrated["threshold"] != clean["threshold"]
    assert [carried[m] for m in MODEL] == [recalibrated[m] for m in MODEL]
    assert [carried[m] for m in MODEL] != [clean[m] for m in MODEL]
    assert [full[m] for m in MODEL] != [carried[m] for m in MODEL]
    assert len({row["n_test"] for row in rows.values()}) == 1


def test_a_score_keeps_its_colour_where_the_threshold_is_carried_over(four_regimes: Any) -> None:
    """Shifted images are coloured as clean ones were, so that the shift's effect shows; a new threshold moves it."""
    workspace, rows = four_regimes
    scales = {}
    for regime, row in rows.items():
        folder = workspace / "studies" / "tiny_shift" / "records" / row["run_id"] / "heatmaps"
        (path,) = folder.glob("*.png")
        with Image.open(path) as strip:
            scales[regime] = tuple(float(v) for v in strip.info["scale"].split())
    assert scales["no_adaptation"] == scales["clean"]
    assert {regime: scale[1] for regime, scale in scales.items()} == {
        regime: pytest.approx(row["threshold"]) for regime, row in rows.items()
    }
    assert len(set(scales.values())) == 3


def test_manifest_tells_what_was_done_to_each_image(four_regimes: Any) -> None:
    """Parts of the clean domain have no shift; shifted ones the parameters drawn for each image."""
    workspace, rows = four_regimes
    folder = workspace / "studies" / "tiny_shift" / "records"
    carried = pd.read_csv(folder / rows["no_adaptation"]["run_id"] / "manifest.csv")
    assert carried[carried["part"] == "test"]["shift"].notna().all()
    assert carried[carried["part"] != "test"]["shift"].isna().all()
    full = pd.read_csv(folder / rows["full_adaptation"]["run_id"] / "manifest.csv")
    drawn = [json.loads(text) for text in full["shift"]]
    assert len({d["rotation_deg"] for d in drawn}) == len(full)
    clean = pd.read_csv(folder / rows["clean"]["run_id"] / "manifest.csv")
    assert clean[["part", "path", "label"]].equals(full[["part", "path", "label"]])  # no image leaves its part


def test_severity_zero_costs_nothing(study_file: Path, tmp_path: Path) -> None:
    """A shift of severity 0 is the identity: every regime has clean's figures to the last digit."""
    rows = run(
        study_file, tmp_path, "dataset.categories=[gear]", "shift.severity=0", "regimes=[clean, full_adaptation]"
    )
    clean, full = (row for row in rows if row["category"] == "gear")
    assert [clean[m] for m in (*MODEL, "threshold")] == [full[m] for m in (*MODEL, "threshold")]


def test_drops_are_written(four_regimes: Any) -> None:
    """One row a regime beside clean, and for the macro row."""
    workspace, rows = four_regimes
    drops = table(workspace, "regime_drops")
    assert list(drops["regime"]) == ["no_adaptation", "threshold_only", "full_adaptation"] * 2
    expected = rows["clean"]["image_auroc"] - rows["no_adaptation"]["image_auroc"]
    assert drops["drop_image_auroc"][0] == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def unified(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """One model for both categories beside separate ones, both thresholdings, two repeats."""
    workspace = tmp_path_factory.mktemp("unified")
    sets = ["scopes=[category, unified]", "thresholds.scope=both", "regimes=[clean]", "repeats=2"]
    return workspace, run(study_file, workspace, *sets)


def test_unified_model_has_both_thresholdings(unified: Any) -> None:
    """One model and one set of scores; a threshold for each category, and one for all."""
    _, rows = unified
    shared = [r for r in rows if r["scope"] == "unified" and r["repeat"] == 0 and r["category"] != "macro"]
    assert len(shared) == 4
    by_scope = {
        scope: {r["category"]: r for r in shared if r["threshold_scope"] == scope} for scope in ("category", "global")
    }
    for category in ("gear", "strip"):
        own, common = by_scope["category"][category], by_scope["global"][category]
        assert [own[m] for m in MODEL] == [common[m] for m in MODEL]
        assert own["n_train"] == 20  # 10 of each
    averages = [r for r in rows if r["scope"] == "unified" and r["category"] == "macro"]
    assert [row["n_train"] for row in averages] == [20] * 4  # those of the one model, not once for each category
    separate = [r for r in rows if r["scope"] == "category" and r["category"] == "macro"]
    assert [row["n_train"] for row in separate] == [20] * 2
    assert by_scope["global"]["gear"]["threshold"] == by_scope["global"]["strip"]["threshold"]
    assert by_scope["category"]["gear"]["threshold"] != by_scope["category"]["strip"]["threshold"]


def test_shortcut_matrix_follows_from_the_recorded_scores(unified: Any) -> None:
    """Every entry again from images.csv: A's normal test images against B's threshold."""
    workspace, rows = unified
    matrix = table(workspace, "identical_shortcut")
    assert len(matrix) == 2 * 4
    runs = {
        r["category"]: r
        for r in rows
        if (r["scope"], r["threshold_scope"], r["repeat"]) == ("unified", "category", 0) and r["category"] != "macro"
    }
    for entry in matrix[matrix["repeat"] == 0].to_dict("records"):
        path = workspace / "studies" / "tiny_shift" / "records" / runs[entry["images_of"]]["run_id"] / "images.csv"
        images = pd.read_csv(path)
        normal = images[(images["part"] == "test") & (images["label"] == 0)]
        assert entry["n_images"] == 4
        assert entry["flagged"] == (normal["score"] >= runs[entry["threshold_of"]]["threshold"]).mean()


def test_repeats_are_in_the_tables_and_on_the_parent_run(unified: Any) -> None:
    """Mean, spread and interval over seeds, where people compare them."""
    from mlflow import MlflowClient

    workspace, rows = unified
    repeats = table(workspace, "repeats")
    macro = [r["image_auroc"] for r in rows if r["category"] == "macro" and r["scope"] == "category"]
    found = repeats[(repeats["category"] == "macro") & (repeats["scope"] == "category")]
    assert found[found["metric"] == "image_auroc"]["mean"].item() == pytest.approx(sum(macro) / 2)
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny_shift")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`adloc.kind` = 'study'")
    assert parent.data.metrics["patchcore/clean/image_auroc/mean"] == pytest.approx(sum(macro) / 2)
    assert {"std", "ci95_low", "ci95_high"} <= {m.rsplit("/", 1)[1] for m in parent.data.metrics}


def test_padim_runs_beside_patchcore(study_file: Path, tmp_path: Path) -> None:
    """Both methods in one study, in both scopes, under every regime."""
    padim = "{method: padim, params: {backbone: efficientnet_lite0, n_features: 30}}"
    patchcore = "{method: patchcore, params: {backbone: efficientnet_lite0, coreset_ratio: 0.2}}"
    rows = run(study_file, tmp_path, f"methods=[{patchcore}, {padim}]", "scopes=[category, unified]")
    assert len(rows) == 2 * 2 * 4 * 3
    found = {(r["method"], r["regime"]): r["image_auroc"] for r in rows if r["category"] == "gear"}
    assert found["padim", "clean"] > 0.9
    assert {r["status"] for r in rows} == {"done"}
