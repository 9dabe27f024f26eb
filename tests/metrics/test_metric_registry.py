"""The registry of metrics: complete, consistent, and no entry without a check against a reference."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from sklearn import metrics as reference

from adloc.metrics.classification import confusion
from adloc.metrics.pimo import aupimo
from adloc.metrics.ranking import auroc, average_precision
from adloc.metrics.regions import aupro, pixel_metrics
from adloc.metrics.registry import METRICS, Metric
from adloc.metrics.saturated import SaturatedRegion, auspro

CONTRACT = [
    "threshold",
    "image_auroc",
    "image_auprc",
    "image_f1",
    "image_accuracy",
    "image_precision",
    "image_recall",
    "pixel_auroc",
    "pixel_aupro",
    "pixel_aupro_005",
    "val_image_auroc",
    "val_image_auprc",
    "val_image_f1",
    "val_image_accuracy",
    "val_image_precision",
    "val_image_recall",
    "val_pixel_auroc",
    "fit_s",
    "score_ms_per_image",
    "model_mb",
]
BEYOND_THE_CONTRACT = ["image_fpr", "image_fnr", "val_image_fpr", "val_image_fnr", "pixel_auprc", "pixel_f1",
                       "pixel_threshold", "pixel_aupimo", "val_pixel_auprc", "val_pixel_f1", "val_pixel_aupimo",
                       "peak_memory_mb", "expected_fpr", "upper_fpr", "pixel_spro"]  # fmt: skip
MEASURED = {
    "threshold",
    "pixel_threshold",
    "fit_s",
    "score_ms_per_image",
    "model_mb",
    "peak_memory_mb",
    "expected_fpr",
    "upper_fpr",
}  # tested where they are measured

RNG = np.random.default_rng(5)
LABELS = np.arange(40) % 3 == 0
SCORES = np.round(RNG.normal(size=40) + LABELS, 1).astype(np.float32)
THRESHOLD = 0.5
FLAGGED = SCORES >= THRESHOLD
MASKS = RNG.random((3, 9, 7)) < 0.3
MAPS = np.round(RNG.normal(size=MASKS.shape) + MASKS, 1).astype(np.float32)


def _worst(limit: float) -> float:
    """PRO of a constant map, by its closed form."""
    return limit / 2


OUTCOME = confusion(SCORES, LABELS, THRESHOLD)
PIXELS = pixel_metrics(MAPS, MASKS)
FLAGGED_PIXELS = MAPS.ravel() >= PIXELS.best_f1.threshold
# A normal image, and one whose defect alone scores more than it.
CLEAR = np.zeros((2, 3, 3), np.float32)
CLEAR[1, 0] = 1
# name -> (our value, the reference's value)
CHECKS = {
    "image_auroc": (auroc(SCORES, LABELS), reference.roc_auc_score(LABELS, SCORES)),
    "image_auprc": (average_precision(SCORES, LABELS), reference.average_precision_score(LABELS, SCORES)),
    "image_f1": (OUTCOME.f1, reference.f1_score(LABELS, FLAGGED)),
    "image_accuracy": (OUTCOME.accuracy, reference.accuracy_score(LABELS, FLAGGED)),
    "image_precision": (OUTCOME.precision, reference.precision_score(LABELS, FLAGGED)),
    "image_recall": (OUTCOME.recall, reference.recall_score(LABELS, FLAGGED)),
    # a rate of errors is one minus the recall of the other class
    "image_fpr": (OUTCOME.false_positive_rate, 1 - reference.recall_score(~LABELS, ~FLAGGED)),
    "image_fnr": (OUTCOME.false_negative_rate, 1 - reference.recall_score(LABELS, FLAGGED)),
    "pixel_auroc": (pixel_metrics(MAPS, MASKS).auroc, reference.roc_auc_score(MASKS.ravel(), MAPS.ravel())),
    "pixel_auprc": (PIXELS.auprc, reference.average_precision_score(MASKS.ravel(), MAPS.ravel())),
    "pixel_f1": (PIXELS.best_f1.f1, reference.f1_score(MASKS.ravel(), FLAGGED_PIXELS)),
    "pixel_aupimo": (aupimo(CLEAR, CLEAR > 0, np.array([False, True])), 1.0),  # anomalib's in test_pimo.py
    "pixel_aupro": (aupro(0 * MAPS, MASKS), _worst(0.3)),
    "pixel_spro": (auspro(0 * MAPS, [SaturatedRegion(0, MASKS[0], 5.0)]), _worst(0.05)),
    "pixel_aupro_005": (aupro(0 * MAPS, MASKS, 0.05), _worst(0.05)),
}


def test_the_registry_holds_the_contracts_columns_in_order() -> None:
    """Every metric column of a result row has an entry, in the order of the columns; others come after."""
    assert list(METRICS) == CONTRACT + BEYOND_THE_CONTRACT


def test_every_entry_has_a_test() -> None:
    """An entry is measured, or checked against a reference here; a `val_` metric through its twin."""
    computed = {name.removeprefix("val_") for name in METRICS} - MEASURED
    assert computed == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_a_metric_is_its_references(name: str) -> None:
    """The computed value equals the reference's and lies in the range that the entry states."""
    ours, theirs = CHECKS[name]
    assert ours == pytest.approx(theirs)
    assert ours in METRICS[name]


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.level in ("image", "pixel")])
def test_direction_and_threshold_are_what_a_perfect_detector_shows(name: str) -> None:
    """A perfect detector reaches the better end; the thresholded metrics, and no others, need a threshold."""
    metric = METRICS[name]
    perfect = LABELS.astype(np.float64)
    found, outcome = pixel_metrics(MASKS.astype(np.float32), MASKS), confusion(perfect, LABELS, 0.5)
    values = {
        "image_auroc": auroc(perfect, LABELS),
        "image_auprc": average_precision(perfect, LABELS),
        "image_f1": outcome.f1,
        "image_accuracy": outcome.accuracy,
        "image_precision": outcome.precision,
        "image_recall": outcome.recall,
        "image_fpr": outcome.false_positive_rate,
        "image_fnr": outcome.false_negative_rate,
        "pixel_auroc": found.auroc,
        "pixel_auprc": found.auprc,
        "pixel_f1": found.best_f1.f1,
        "pixel_aupimo": aupimo(CLEAR, CLEAR > 0, np.array([False, True])),
        "pixel_aupro": found.aupro,
        "pixel_spro": auspro(CLEAR, [SaturatedRegion(1, CLEAR[1] > 0, 2.0)]),
        "pixel_aupro_005": found.aupro_005,
    }
    assert values[name.removeprefix("val_")] == (metric.high if metric.better == "higher" else metric.low)
    assert metric.needs_threshold == name.endswith(("_f1", "_accuracy", "_precision", "_recall", "_fpr", "_fnr"))


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_entry_is_whole(metric: Metric) -> None:
    """An entry has its key as name, an MLflow name of legal characters, a range and every text."""
    assert METRICS[metric.name] is metric
    assert re.fullmatch(r"(image|pixel|val|threshold|cost|promise)/[a-z0-9_]+", metric.mlflow_name)
    assert metric.low < metric.high
    undefined = math.nan
    assert undefined not in metric
    texts = [getattr(metric, field.name) for field in dataclasses.fields(metric) if field.name != "unit"]
    assert all(text != "" for text in texts)


def test_mlflow_names_are_distinct() -> None:
    """No two entries share an MLflow name or a title."""
    assert len({metric.mlflow_name for metric in METRICS.values()}) == len(METRICS)
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize(
    ("name", "mlflow_name"),
    [
        ("image_auroc", "image/auroc"),
        ("pixel_aupro", "pixel/aupro"),
        ("val_image_auroc", "val/image_auroc"),
        ("threshold", "threshold/image"),
        ("pixel_threshold", "threshold/pixel"),
        ("pixel_aupimo", "pixel/aupimo"),
        ("pixel_spro", "pixel/spro"),
        ("fit_s", "cost/fit_s"),
    ],
)
def test_mlflow_names_are_the_contracts(name: str, mlflow_name: str) -> None:
    """The names that the contract spells out."""
    assert METRICS[name].mlflow_name == mlflow_name


def test_validation_metrics_say_that_they_are_no_final_figures() -> None:
    """Every entry of the validation part warns of its use for choices."""
    validation = [metric for name, metric in METRICS.items() if name.startswith("val_")]
    assert all("not" not in m.definition and m.is_not.startswith("a final figure") for m in validation)
    assert all(m.part == "validation" for m in validation)
