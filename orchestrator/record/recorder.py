"""From a run's stage results to its record: figures, a score for every image, curves and heatmaps."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from adloc.computing.environment import environment
from adloc.computing.truth import void_share
from adloc.methods.detector import PATCH_MAPS, FitFacts
from adloc.metrics.classification import confusion
from adloc.metrics.registry import CHOICES, METRICS, OF_IMAGES
from adloc.record.audit import AUDIT, audit, write_audit
from adloc.record.diagnosed import comparisons, warnings
from adloc.record.epochs import write_epochs
from adloc.record.heatmaps import png_bytes, render
from adloc.record.pictured import choose_pictured
from adloc.record.reasons import Content, reasons
from adloc.record.records import HEATMAPS, MaskFacts, RunRecord
from adloc.study_file.regimes import is_promised
from adloc.thresholds import promise_of
from adloc.uncertainty.pixel_bootstrap import PixelCounts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from adloc.computing.compute import Workbench
    from adloc.methods.detector import Result
    from adloc.planning.parts import Part
    from adloc.planning.plan import Run
    from adloc.planning.stages import EvaluationStage, Stage, StepStage, ThresholdStage
    from adloc.record.pictured import Pictured
    from adloc.record.records import Records

HALF = 0.5  # of the pixels of a defect


def needed(run: Run) -> tuple[Stage, ...]:
    """The stages whose results a record is written from."""
    scored = run.test.scores
    truths = (run.test.truth, run.validation.truth if run.validation else None)
    found = (*run.fit, run.threshold, run.validation, run.test, *scored.before, scored, *truths)
    last = (run.segmentation, run.saturation, run.diagnosis, *run.over_epochs.values())
    return tuple(stage for stage in (*found, *last) if stage is not None)


def record_run(run: Run, bench: Workbench, records: Records, started: datetime) -> RunRecord:
    """Compute what the run still lacks and fill a draft of its files; `Records.write` then puts it there.

    Args:
        run: of the plan.
        bench: computes stages, or finds them in the store.
        records: where the record goes.
        started: when the run began.
    """
    fit = {stage.step.name: bench.result(stage) for stage in run.fit}
    threshold = None
    metrics: dict[str, float | None] = {}
    if run.threshold is not None and run.validation is not None:
        threshold = float(bench.result(run.threshold).facts["threshold"])
        validation = bench.result(run.validation)
        found = figures(run.validation, validation, threshold)
        metrics |= on_validation(found)
        metrics |= promises(run, run.threshold, bench, threshold)
        if "pixel_f1" in run.validation.metrics:
            metrics["pixel_threshold"] = _number(validation.facts.get("pixel_threshold"))
    test = bench.result(run.test)
    metrics |= figures(run.test, test, threshold)
    if run.segmentation is not None:
        metrics["pixel_f1"] = _number(bench.result(run.segmentation).facts.get("pixel_f1"))
    if run.saturation is not None:
        metrics["pixel_spro"] = _number(bench.result(run.saturation).facts.get("pixel_spro"))
    metrics |= costs(run.fit, run.test, bench)
    draft = records.draft(run.run_id)
    _write_images(draft / "images.csv", run, bench, threshold)
    _write_manifest(draft / "manifest.csv", run)
    _write_curves(draft / "curves.json", test)
    _write_pixels(draft / "pixels.npz", test)
    write_epochs(draft / "epochs.json", run, bench)
    write_audit(draft / AUDIT, audit(run, bench.kept))
    _write_heatmaps(draft / HEATMAPS, run, bench, threshold)
    detector = bench.detector(run.variant.method)
    facts = dict(detector.fit_facts(fit, run.variant.params)) if isinstance(detector, FitFacts) else {}
    facts |= {name: float(value) for name, value in test.facts.items() if name.endswith("_error")}
    truth = bench.result(run.test.truth)
    calibrated = Content.of("validation part", bench.result(run.validation.truth)) if run.validation else None
    has_maps = PATCH_MAPS in bench.result(run.test.scores).arrays
    return _record(
        run,
        bench,
        started,
        status="done",
        threshold=threshold,
        metrics=metrics,
        facts=facts,
        reasons=reasons(run, metrics, Content.of("test part", truth), calibrated, has_maps=has_maps),
        masks=_mask_facts(run.test.truth.part, truth),
        **_diagnosed(run, bench),
    )


def record_failure(run: Run, bench: Workbench, records: Records, started: datetime, error: str) -> RunRecord:
    """The record, not yet written, that a run failed, and why; the next `run` tries it again."""
    records.draft(run.run_id)
    return _record(run, bench, started, status="failed", error=error)


def _record(run: Run, bench: Workbench, started: datetime, **found: object) -> RunRecord:
    network = run.fit[0].source.network
    made_with = {"device": bench.device_name, "weights_sha256": "" if network is None else network.sha256}
    parts = {"train": run.train_part, "test": run.test.truth.part}
    if run.validation is not None:
        parts["validation"] = run.validation.truth.part
    return RunRecord.model_validate(
        {
            "study": run.study,
            "run_id": run.run_id,
            "key": run.key,
            "group": run.group,
            "setting": run.variant.setting,
            "category": run.category,
            "method": run.variant.method.name,
            "regime": run.regime,
            "scope": run.scope,
            "threshold_scope": run.threshold_scope,
            "repeat": run.repeat,
            "condition": run.condition.values(),
            "params": run.variant.hyperparameters(),
            "n_train": len(run.train_part),
            "n_val": len(run.validation.truth.part) if run.validation else 0,
            "n_test": len(run.test.truth.part),
            "stages": {stage.kind: stage.key for stage in run.stages() if stage.key in stage.result_keys},
            "datasets": {name: part.digest for name, part in parts.items()},
            "started": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
            "environment": {**environment(), **bench.processor, **made_with},
            **found,
        }
    )


def figures(stage: EvaluationStage, result: Result, threshold: float | None) -> dict[str, float | None]:
    """Metrics by result column, without a prefix; None where not defined, or not asked for."""
    found = {name: _number(result.facts.get(name)) for name in CHOICES}
    scores = result.arrays["image_scores"]
    labels = np.array([s.label for s in stage.truth.part.samples], dtype=bool)
    at = confusion(scores, labels, threshold) if threshold is not None else None
    for metric in (m for m in OF_IMAGES if m.needs_threshold):
        found[metric.name] = None if at is None else _number(getattr(at, str(metric.function)))
    return {name: value if name in stage.metrics else None for name, value in found.items()}


def on_validation(found: Mapping[str, float | None]) -> dict[str, float | None]:
    """Those of the `figures` of a validation part that are metrics, by result column."""
    return {column: value for name, value in found.items() if (column := f"val_{name}") in METRICS}


def promises(run: Run, stage: ThresholdStage, bench: Workbench, threshold: float) -> dict[str, float | None]:
    """What the threshold promises about false alarms; None where it is carried over to another domain."""
    labels = np.array([s.label for part in stage.parts for s in part.samples], dtype=bool)
    normal = np.concatenate([bench.result(s).arrays["image_scores"] for s in stage.scores])[~labels]
    if not is_promised(run.regime) or not normal.size:
        return {"expected_fpr": None, "upper_fpr": None}
    made = promise_of(normal.size, int((normal >= threshold).sum()), stage.config)
    return {"expected_fpr": made.expected, "upper_fpr": made.upper}


def _diagnosed(run: Run, bench: Workbench) -> dict[str, object]:
    """What the validation part says of the run's scoring against a plain one."""
    if run.diagnosis is None:
        return {}
    found = comparisons(run.diagnosis, bench.result(run.diagnosis))
    return {"diagnosis": found, "warnings": warnings(found, run.diagnosis.margin)}


def _mask_facts(part: Part, truth: Result) -> MaskFacts:
    """What was counted when the masks of a part were read."""
    labels, known, in_frame = (truth.arrays[name] for name in ("labels", "known", "in_frame"))
    names = [sample.identity for sample in part.samples]
    regions, vanished = truth.arrays["regions"], truth.arrays["vanished"]
    return MaskFacts(
        n_masks=int(known[labels].sum()),
        n_unknown=int((~known).sum()),
        void_share=void_share(truth.arrays),
        n_regions=int(regions.sum()),
        n_left=int(regions.sum() - vanished.sum()),
        vanished={name: int(n) for name, n in zip(names, vanished.tolist(), strict=True) if n},
        left_frame=tuple(names[index] for index in np.flatnonzero(in_frame == 0)),
        lost_half=tuple(names[index] for index in np.flatnonzero((in_frame > 0) & (in_frame < HALF))),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def costs(fit_steps: Sequence[StepStage], evaluated: EvaluationStage, bench: Workbench) -> dict[str, float | None]:
    """Seconds of fitting and scoring, as one run on its own would take with a warm disk cache."""
    scored = evaluated.scores
    detector, params = bench.detector(scored.method), scored.params
    fit = {stage.step.name: bench.result(stage) for stage in fit_steps}
    steps = [bench.result(s).seconds for s in (*scored.before, scored) if s.step.part == "score"]
    seconds = float(bench.result(scored).facts["features_s"]) + sum(steps)
    features_s = float(fit[fit_steps[0].step.name].facts["features_s"])
    return {
        "fit_s": features_s + detector.fit_seconds(fit, params),
        "score_ms_per_image": 1000 * seconds / max(1, len(evaluated.truth.part)),
        "model_mb": detector.model_bytes(fit, params) / 1e6,
        "peak_memory_mb": bench.peak_bytes / 1e6,
    }


def _write_images(path: Path, run: Run, bench: Workbench, threshold: float | None) -> None:
    """One row an image of the validation and test parts, with its raw score."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "category", "name", "label", "defect", "score", "anomalous"])
        for name, stage in (("validation", run.validation), ("test", run.test)):
            if stage is None:
                continue
            scores = bench.result(stage).arrays["image_scores"]
            for sample, score in zip(stage.truth.part.samples, scores.tolist(), strict=True):
                verdict = "" if threshold is None else int(score >= threshold)
                writer.writerow([name, sample.category, sample.name, sample.label, sample.defect, repr(score), verdict])


def _write_manifest(path: Path, run: Run) -> None:
    """Which image was in which part; in the shift domain with what was drawn for it, as JSON."""
    parts: dict[str, Part] = {"train": run.train_part}
    if run.validation is not None:
        parts["validation"] = run.validation.truth.part
    parts["test"] = run.test.truth.part
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "domain", "category", "path", "label", "defect", "sha256", "shift"])
        for name, part in parts.items():
            for sample, known, shift in zip(part.samples, part.fingerprints, part.shifts, strict=True):
                what = (sample.category, sample.name, sample.label, sample.defect)
                drawn = json.dumps(asdict(shift)) if shift else ""
                writer.writerow([name, part.domain, *what, known.sha256, drawn])


def _write_curves(path: Path, test: Result) -> None:
    """Those that are defined: without a defect there is no recall, and JSON has no NaN."""
    curves: dict[str, dict[str, list[float]]] = {}
    for name, array in test.arrays.items():
        curve, dot, axis = name.partition(".")
        if dot and np.isfinite([test.arrays[f"{curve}.x"], test.arrays[f"{curve}.y"]]).all():
            curves.setdefault(curve, {})[axis] = [float(f"{v:.6g}") for v in array.tolist()]
    path.write_text(json.dumps(curves, allow_nan=False), encoding="utf-8")


def _write_pixels(path: Path, test: Result) -> None:
    """What the report makes intervals of pixel metrics from; nothing where they are not defined."""
    counts = PixelCounts.of(test.arrays)
    if counts is not None:
        np.savez_compressed(path, allow_pickle=False, **counts.arrays())


def _write_heatmaps(folder: Path, run: Run, bench: Workbench, threshold: float | None) -> None:
    """Input, map, overlay and mask of some images, on a colour scale anchored at the threshold."""
    pictured = choose_pictured(run, bench, threshold)
    if not pictured:
        return
    folder.mkdir()

    def draw(each: Pictured) -> None:
        strip = render(each.read(), each.anomaly_map, each.mask, each.scale, each.caption)
        (folder / each.file_name).write_bytes(png_bytes(strip))

    # Decoding, scaling and compressing let go of the interpreter: as many strips at a time as there are cores.
    with ThreadPoolExecutor(int(environment()["cores"])) as pool:
        list(pool.map(draw, pictured))
