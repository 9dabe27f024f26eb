"""What is told of a run beyond its figures: the parts by hand, and all of it through the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from adloc.explain import explainer, suspicious
from adloc.explain.defects import contrast
from adloc.explain.explanation import Defect
from adloc.explain.mask_noise import count_lost, move_masks
from adloc.explain.missed import highest_patch
from adloc.explain.recall import recall_by
from adloc.explain.suspicious import rank_images
from adloc.study import prepare
from adloc.workspace import Workspace
from commandline import adloc

STUDY = """\
study: told
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: [48, 64]}}
regimes: [clean, no_adaptation]
train: {{contamination: [0, 0.1]}}
explain: {{mask_noise: [1]}}
split: {{validation_defects: 0.4}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, coreset_ratio: 0.3}}
heatmaps: 2
models: none
"""


def defect(*, size: float | None, missed: bool | None) -> Defect:
    """A defect of this size."""
    return Defect(name="a", defect="cut", missed=missed, size=size, contrast=None, vanished=False)


def test_recall_in_thirds_of_the_defects() -> None:
    """Nine defects, three a third: two, one and none of them missed; exact intervals as SciPy's."""
    missed = [True, True, False, True, False, False, False, False, False]
    thirds = recall_by([defect(size=float(i), missed=m) for i, m in enumerate(missed)], "size")
    assert [(t.word, t.low, t.high, t.n, t.n_missed) for t in thirds] == [
        ("small", 0, 2, 3, 2), ("medium", 3, 5, 3, 1), ("large", 6, 8, 3, 0)
    ]  # fmt: skip
    for third, n_found in zip(thirds, (1, 2, 3), strict=True):
        expected = binomtest(n_found, 3).proportion_ci(method="exact")
        assert third.recall.value == pytest.approx(n_found / 3)
        assert third.recall.interval.low == pytest.approx(expected.low)
        assert third.recall.interval.high == pytest.approx(expected.high)


def test_recall_is_over_defects_that_were_judged_and_measured() -> None:
    """One without a mask, or of a run without a threshold, is in no third; equal values make one third."""
    assert recall_by([defect(size=None, missed=True), defect(size=1.0, missed=None)], "size") == []
    (only,) = recall_by([defect(size=0.5, missed=m) for m in (True, False)], "size")
    assert (only.n, only.n_missed) == (2, 1)


def test_contrast_is_in_deviations_of_the_ring() -> None:
    """A square 30 grey levels above a ring of alternating 100 and 110 (mean 105, deviation 5): (135 - 105) / 5."""
    grey = np.where(np.indices((64, 64)).sum(axis=0) % 2, 110.0, 100.0)
    mask = np.zeros((64, 64), dtype=bool)
    mask[20:30, 20:30] = True
    grey[mask] = 135.0
    assert contrast(grey, mask) == pytest.approx(6.0, rel=0.05)
    assert contrast(np.where(mask, 7.0, 3.0), mask) == pytest.approx(4.0)  # flat around: one grey level
    assert contrast(grey, np.zeros_like(mask)) is None
    assert contrast(grey, np.ones_like(mask)) is None


def test_masks_grow_and_shrink_by_pixels_and_regions_are_lost() -> None:
    """A 5 x 5 square and a single pixel: by one pixel 9 are left of the one and nothing of the other."""
    masks = np.zeros((2, 16, 16), dtype=bool)
    masks[0, 4:9, 4:9] = True
    masks[0, 12, 12] = True
    eroded, dilated = move_masks(masks, -1), move_masks(masks, 1)
    assert eroded[0].sum() == 9
    assert dilated[0].sum() == 25 + 20 + 5  # a disk of radius 1 is a cross
    assert count_lost(masks, eroded).tolist() == [1, 0]
    assert count_lost(masks, dilated).tolist() == [0, 0]
    assert not dilated[1].any()


def test_nothing_is_eroded_from_the_border_of_the_image() -> None:
    """A defect that is cut off by the border may go on outside: that side stays."""
    masks = np.zeros((1, 10, 10), dtype=bool)
    masks[0, :4, 3:8] = True
    expected = np.zeros((10, 10), dtype=bool)
    expected[:3, 4:7] = True
    np.testing.assert_array_equal(move_masks(masks, -1)[0], expected)


def test_highest_patch_is_inside_the_defect() -> None:
    """A higher score elsewhere does not count; a defect of one pixel still has its cell."""
    patch_map = np.zeros((4, 6), dtype=np.float32)
    patch_map[0, 0], patch_map[2, 5] = 9.0, 1.0
    mask = np.zeros((40, 60), dtype=bool)
    mask[25, 55] = True
    assert highest_patch(patch_map, mask) == (2, 5)


def test_training_images_are_ranked_by_how_far_they_stand_out() -> None:
    """Scores 1 to 5 and 30: median 3.5, MAD 1.5, so 30 is (30 - 3.5) / (1.4826 x 1.5) deviations away."""
    ranked = rank_images(np.array([1.0, 30.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.5, 4.5, 40.0, 50.0]))
    assert [r.index for r in ranked] == [1, 5, 4, 3, 2, 0]
    assert ranked[0].robust_z == pytest.approx(26.5 / (1.4826 * 1.5))
    assert ranked[0].share_above == 0.5
    assert ranked[-1].share_above == 0.75
    assert rank_images(np.ones(4), np.array([]))[0] == suspicious.Ranked(0, 1.0, None, None)


@pytest.fixture(scope="module")
def study_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, written down."""
    path = tmp_path_factory.mktemp("study") / "told.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="module")
def finished(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study has run; to read only."""
    workspace = tmp_path_factory.mktemp("workspace")
    adloc("study", "run", study_file, "--workspace", workspace)
    return workspace


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace, to change."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


def explained(workspace: Path) -> dict[str, dict[str, object]]:
    """Every explanation by run."""
    paths = sorted((workspace / "studies" / "told" / "explained").glob("[!.]*/explanation.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_the_leads_of_the_first_regime_are_explained(study_file: Path, finished: Path) -> None:
    """One run a category, of the clean regime and the base condition, each with its pictures beside it."""
    study = prepare(study_file, [], Workspace(finished), download=False)
    expected = {run.run_id for run in study.plan.runs if run.base and run.regime == "clean"}
    found = explained(finished)
    assert set(found) == expected
    assert len(found) == 2
    for run_id, each in found.items():
        folder = finished / "studies" / "told" / "explained" / run_id
        pictures = [image["picture"] for image in each["training"]["images"]]  # type: ignore[index]
        assert pictures
        for name in pictures:
            with Image.open(folder / name) as picture:
                assert picture.width > 300


def test_the_report_says_it(finished: Path) -> None:
    """Both sections with tables on disk; sizes and n are those of the test part."""
    folder = finished / "studies" / "told"
    page = (folder / "report.html").read_text()
    assert '<section id="suspicious">' in page
    assert '<section id="why-missed">' in page
    for name in ("suspicious", "recall_by", "mask_noise"):
        assert (folder / "tables" / f"report_{name}.csv").read_text().count("\n") > 2
        assert (folder / "tables" / f"report_{name}.tex").exists()
    assert (folder / "figures" / "recall_by_size.svg").exists()


def test_masks_as_annotated_give_the_runs_own_figures(study_file: Path, finished: Path) -> None:
    """The row of 0 pixels is the record's pixel AUROC and PRO."""
    records = prepare(study_file, [], Workspace(finished), download=False).records
    for run_id, each in explained(finished).items():
        record = records.get(run_id)
        assert record is not None
        noise = each["mask_noise"]
        assert [row["pixels"] for row in noise] == [0, -1, 1]  # type: ignore[attr-defined]
        for name in ("pixel_auroc", "pixel_aupro", "pixel_aupro_005"):
            assert noise[0][name] == pytest.approx(record.metrics[name], rel=1e-6)  # type: ignore[index]


def test_a_study_that_is_explained_computes_nothing_and_imports_no_torch(study_file: Path, finished: Path) -> None:
    """Run again, nothing is made anew and nothing heavy is loaded."""
    before = explained(finished)
    code = (
        "import sys; from click.testing import CliRunner; from adloc.cli import cli;"
        f"r = CliRunner().invoke(cli, ['study', 'run', {str(study_file)!r}, '--workspace', {str(finished)!r}]);"
        "assert r.exit_code == 0, r.output; assert 'torch' not in sys.modules and 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=300)
    assert explained(finished) == before  # seconds included


@pytest.mark.slow
def test_an_explanation_is_made_again_when_what_is_asked_changes(study_file: Path, workspace: Path) -> None:
    """Fewer images: another key; nothing asked: nothing is done."""
    adloc("study", "run", study_file, "--workspace", workspace, "--set", "explain.suspicious_images=2")
    assert {len(each["training"]["images"]) for each in explained(workspace).values()} == {2}  # type: ignore[index]
    off = ["--set", "explain={suspicious_images: 0, missed_defects: 0, mask_noise: []}"]
    kept = explained(workspace)
    adloc("study", "run", study_file, "--workspace", workspace, *off)
    assert explained(workspace) == kept
    assert '<section id="suspicious">' not in (workspace / "studies" / "told" / "report.html").read_text()


def test_without_the_store_the_stages_are_computed_again(study_file: Path, workspace: Path) -> None:
    """What a run needs is made anew from the images; the explanation is the same."""
    before = explained(workspace)
    shutil.rmtree(workspace / "store")
    shutil.rmtree(workspace / "studies" / "told" / "explained")
    adloc("study", "explain", study_file, "--workspace", workspace)
    after = explained(workspace)
    costs = ("seconds", "checksum")  # of the file, with the seconds in it
    assert {k: {n: v for n, v in e.items() if n not in costs} for k, e in after.items()} == {
        k: {n: v for n, v in e.items() if n not in costs} for k, e in before.items()
    }


def test_a_failing_explanation_ends_no_study(
    study_file: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0, the reason on the terminal and on disk; the next run tries again and clears it."""

    def failing(*_: object) -> None:
        message = "a mistake in the ranking"
        raise ZeroDivisionError(message)

    folder = workspace / "studies" / "told"
    shutil.rmtree(folder / "explained")
    with monkeypatch.context() as patch:
        patch.setattr(explainer, "explain_training", failing)
        result = adloc("study", "run", study_file, "--workspace", workspace)
    assert "the runs could not be explained: ZeroDivisionError: a mistake in the ranking" in result.stderr
    assert (folder / "explain_error.txt").read_text().startswith("Traceback")
    result = adloc("study", "run", study_file, "--workspace", workspace)
    assert "could not be explained" not in result.stderr
    assert not (folder / "explain_error.txt").exists()
    assert len(explained(workspace)) == 2


def test_explaining_changes_no_key(study_file: Path, tmp_path: Path) -> None:
    """Runs, stages and the seal's plan are the same whatever is to be explained."""
    from adloc.sealing.seal import plan_content

    off = "explain={suspicious_images: 0, missed_defects: 0, mask_noise: [3]}"
    plain, other = (prepare(study_file, o, Workspace(tmp_path), download=False).plan for o in ([], [off]))
    assert [run.key for run in plain.runs] == [run.key for run in other.runs]
    assert list(plain.stages) == list(other.stages)
    assert plan_content(plain) == plan_content(other)


def test_any_recorded_run_is_explained_on_demand(study_file: Path, workspace: Path) -> None:
    """A contaminated run: its training images hold a known defect, and the answer names the folder."""
    study = prepare(study_file, [], Workspace(workspace), download=False)
    dirty = next(r for r in study.plan.runs if r.category == "gear" and r.condition.contamination == 0.1)
    arguments = ("study", "explain", study_file, "--workspace", workspace, "--run", dirty.run_id)
    (found,) = json.loads(adloc(*arguments, "--json").stdout)
    assert found["training"]["n_defects"] == 1
    assert found["training"]["images"][0]["defect"]  # a blob that glares, or is black: nothing else is as odd
    assert found["training"]["defects_auroc"] == 1.0
    assert Path(found["folder"], found["training"]["images"][0]["picture"]).exists()
    assert "stand out" in adloc(*arguments).stdout


def test_a_run_that_is_not_there_is_refused(study_file: Path, workspace: Path) -> None:
    """Found, rule, remedy; a run that is not recorded says what to run."""
    run_id = next(iter(explained(workspace)))
    arguments = ("study", "explain", study_file, "--workspace", workspace, "--run")
    result = adloc(*arguments, f"{run_id}x", expect=2)
    assert f"did you mean {run_id}?" in result.stderr
    shutil.rmtree(workspace / "studies" / "told" / "records" / run_id)
    assert "a run must be recorded first" in adloc(*arguments, run_id, expect=2).stderr


BOTTLE = """\
study: dirty
dataset: {{kind: mvtec_ad, root: {root}, categories: [bottle]}}
image: {{size: 128}}
train: {{contamination: 0.08}}
methods:
  - {{method: {method}, params: {{backbone: resnet18, weights: {weights}}}}}
heatmaps: 0
models: none
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["patchcore", "padim"])
def test_defects_among_the_training_images_of_bottle_are_ranked_above_the_normals(
    method: str, industrial_root: Path, trunk_weights: Path, tmp_path: Path
) -> None:
    """15 real defects among 182 training images: the leave-one-out score ranks them first (AUROC)."""
    file = tmp_path / "dirty.yaml"
    file.write_text(BOTTLE.format(root=industrial_root, method=method, weights=trunk_weights))
    adloc("study", "run", file, "--workspace", tmp_path / "ws", "--set", "explain.missed_defects=0")
    (found,) = json.loads(adloc("study", "explain", file, "--workspace", tmp_path / "ws", "--json").stdout)
    assert found["training"]["n_defects"] == 15
    assert found["training"]["defects_auroc"] > 0.95  # 0.998 PatchCore, 0.994 PaDiM when this was written
