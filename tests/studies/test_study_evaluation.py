"""What a study measures and why a figure is empty, through the command line on a tiny dataset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from adloc.cli import cli
from adloc.computing.store import Store
from adloc.computing.truth import truth_of
from adloc.methods import load_detector
from adloc.metrics.pimo import aupimo
from adloc.metrics.regions import pixel_metrics
from adloc.record.files import read_checked
from adloc.record.records import RunRecord
from adloc.study import prepare
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.planning.plan import Run

pytestmark = pytest.mark.usefixtures("no_report")

STUDY = """\
study: measured
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: [48, 64]}}
regimes: [clean, no_adaptation]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, coreset_ratio: 0.2}}
heatmaps: 1
models: none
"""
PIXELS = ("pixel_auroc", "pixel_auprc", "pixel_aupro", "pixel_aupro_005")


def run(file: Path, workspace: Path, *sets: str) -> dict[str, RunRecord]:
    """Run the study; its records by regime."""
    arguments = ["study", "run", str(file), "--workspace", str(workspace), "--json"]
    result = CliRunner().invoke(cli, arguments + [part for s in sets for part in ("--set", s)])
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = [r for r in json.loads(result.stdout)["results"] if r["category"] == "gear"]
    path = workspace / "studies" / "measured" / "records"
    return {r["regime"]: RunRecord.model_validate_json(read_checked(path / r["run_id"] / "record.json")) for r in rows}


@pytest.fixture(scope="module")
def study_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, written down."""
    path = tmp_path_factory.mktemp("study") / "measured.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One workspace for all studies of this file: they share features."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def measured(study_file: Path, workspace: Path) -> dict[str, RunRecord]:
    """The records of the study as it is."""
    return run(study_file, workspace)


def kept(run: Run, store: Store, *, of: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Maps, masks, void pixels and labels of a part, out of the store."""
    stage = run.test if of == "test" else run.validation
    assert stage is not None
    scores, truth = (store.get(s.kind, s.key) for s in (stage.scores, stage.truth))
    assert scores is not None
    assert truth is not None
    true = truth_of(truth.arrays, 0, len(stage.truth.part))
    size = true.masks.shape[1], true.masks.shape[2]
    maps = load_detector(run.variant.method).anomaly_maps(scores.arrays["patch_maps"], size, stage.scores.params)
    return maps, true.masks, true.void, np.asarray(truth.arrays["labels"])


def test_figures_of_every_regime_are_the_metrics_of_its_valid_pixels(
    measured: dict[str, RunRecord], study_file: Path, workspace: Path
) -> None:
    """Each pixel figure is its metric's over the valid pixels; F1 is at the validation part's threshold."""
    study = prepare(study_file, (), Workspace(workspace), download=False)
    store = Store(workspace / "store")
    for each in study.plan.runs:
        record = measured[each.regime]
        maps, masks, void, labels = kept(each, store, of="test")
        assert (void is None) == (each.regime == "clean")
        exact = pixel_metrics(maps, masks, void=void)
        figures = (exact.auroc, exact.auprc, exact.aupro, exact.aupro_005)
        assert [record.metrics[name] for name in PIXELS] == pytest.approx(figures)
        assert record.metrics["pixel_aupimo"] == pytest.approx(aupimo(maps, masks, labels, void))
        best = pixel_metrics(*(kept(each, store, of="validation")[:2])).best_f1
        assert record.metrics["pixel_threshold"] == pytest.approx(best.threshold)
        assert record.metrics["val_pixel_f1"] == pytest.approx(best.f1)
        valid = np.ones_like(masks) if void is None else ~void
        flagged = maps >= np.float32(best.threshold)
        hits, n_flagged, n_defect = ((a & valid).sum() for a in (flagged & masks, flagged, masks))
        assert record.metrics["pixel_f1"] == pytest.approx(2 * hits / (n_flagged + n_defect))
        carried = {"expected_fpr", "upper_fpr"} if each.regime == "no_adaptation" else set()
        assert record.reasons.keys() == {"pixel_spro"} | carried
        assert record.reasons["pixel_spro"] == "the dataset states no saturation thresholds"


def test_the_record_counts_masks_and_void_pixels(measured: dict[str, RunRecord]) -> None:
    """Only the shift domain has void pixels; every test defect has its mask, and its regions are counted."""
    clean, shifted = (measured[regime].masks for regime in ("clean", "no_adaptation"))
    assert clean is not None
    assert shifted is not None
    assert (clean.void_share, clean.n_unknown, clean.left_frame, clean.lost_half) == (0, 0, (), ())
    assert 0.05 < shifted.void_share < 0.35
    assert clean.n_masks == shifted.n_masks > 0
    assert clean.n_left == clean.n_regions - sum(clean.vanished.values())
    assert clean.n_regions >= clean.n_masks


@pytest.mark.slow
def test_streaming_and_native_agree_with_exact(
    measured: dict[str, RunRecord], study_file: Path, workspace: Path
) -> None:
    """Streamed figures are within their bounds of the exact ones, void pixels left out alike; native ones are near."""
    streamed = run(study_file, workspace, "evaluation.mode=streaming")
    native = run(study_file, workspace, "evaluation.size=native")
    for regime, exact in measured.items():
        for name in (*PIXELS, "val_pixel_f1"):
            error = streamed[regime].facts.get(f"{name}_error", 1e-4)
            assert streamed[regime].metrics[name] == pytest.approx(exact.metrics[name], abs=error + 1e-9)
        assert streamed[regime].metrics["pixel_aupimo"] == pytest.approx(exact.metrics["pixel_aupimo"])
        assert streamed[regime].masks == exact.masks
        found, known = native[regime].masks, exact.masks
        assert found is not None
        assert known is not None
        assert (found.n_regions, found.n_left) == (known.n_regions, known.n_regions)
        assert native[regime].metrics["pixel_auroc"] == pytest.approx(exact.metrics["pixel_auroc"], abs=0.05)
        assert native[regime].metrics["image_auroc"] == exact.metrics["image_auroc"]


@pytest.mark.slow
def test_what_was_not_asked_for_is_empty_and_says_so(
    measured: dict[str, RunRecord], study_file: Path, tmp_path: Path
) -> None:
    """evaluation.metrics leaves the others out, with the reason; those asked for are the same."""
    few = run(study_file, tmp_path, "evaluation.metrics=[image_auroc, pixel_aupimo]", "regimes=[clean]")["clean"]
    given = {name for name, value in few.metrics.items() if value is not None and "_" in name}
    assert {name for name in given if name.startswith(("image_", "pixel_", "val_"))} == {
        "image_auroc", "pixel_aupimo", "val_image_auroc", "val_pixel_aupimo"
    }  # fmt: skip
    assert few.metrics["pixel_aupimo"] == measured["clean"].metrics["pixel_aupimo"]
    assert few.reasons["pixel_aupro"] == few.reasons["val_image_f1"] == "not among evaluation.metrics"
    # a study that asks for more computes what the kept evaluation lacks
    every = run(study_file, tmp_path, "regimes=[clean]", "heatmaps=0")["clean"]
    assert every.metrics["pixel_aupro"] == measured["clean"].metrics["pixel_aupro"]


def test_without_a_validation_part_thresholded_figures_say_why(study_file: Path, workspace: Path) -> None:
    """The benchmark's standard split has no validation part: no thresholds, and every empty column has that reason."""
    record = run(
        study_file, workspace, "regimes=[clean]", "split={train_fraction: 1, validation_defects: 0}"
    )["clean"]  # fmt: skip
    assert record.metrics["pixel_aupimo"] is not None
    for name in ("image_f1", "pixel_f1", "pixel_threshold", "threshold", "val_image_auroc", "image_fpr"):
        assert record.reasons[name] == "there is no validation part"
    assert "image_auroc" not in record.reasons


def test_records_of_earlier_versions_read_with_empty_columns(measured: dict[str, RunRecord]) -> None:
    """A record without the newer metrics, masks and reasons is a record."""
    old = json.loads(measured["clean"].model_dump_json())
    del old["masks"], old["reasons"], old["metrics"]["pixel_aupimo"]
    record = RunRecord.model_validate_json(json.dumps(old))
    assert (record.masks, record.reasons, record.metrics.get("pixel_aupimo")) == (None, {}, None)
