"""Thresholds from validation scores, against brute force and scikit-learn."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn import metrics as reference

from adloc.errors import UserError
from adloc.metrics.classification import confusion
from adloc.thresholds import Objective, ThresholdConfig, calibrate, normal_quantile

Scored = tuple[NDArray[np.floating], NDArray[np.bool_]]

SCORES = st.sampled_from([-2.5, -1.0, 0.0, 0.125, 1.0, 3.0]) | st.floats(-1e6, 1e6, width=32)
F1 = ThresholdConfig()
MAXIMUM = ThresholdConfig(objective="normal_max")


@st.composite
def scored(draw: st.DrawFn, dtype: type[np.floating] = np.float32) -> Scored:
    """A validation part with at least one image of each class."""
    labels = [True, False, *draw(st.lists(st.booleans(), max_size=30))]
    scores = draw(st.lists(SCORES, min_size=len(labels), max_size=len(labels)))
    return np.asarray(scores, dtype=dtype), np.asarray(labels)


@given(scored())
def test_no_threshold_has_a_larger_f1(part: Scored) -> None:
    """No observed score, midpoint or infinity gives a larger F1 than the calibrated threshold."""
    scores, labels = part
    distinct = np.unique(scores).astype(np.float64)
    candidates = [-math.inf, math.inf, *distinct, *(distinct[1:] + distinct[:-1]) / 2]
    best = max(confusion(scores, labels, candidate).f1 for candidate in candidates)
    assert confusion(scores, labels, calibrate(scores, labels, F1)).f1 == best


@given(scored())
def test_f1_is_the_largest_on_scikit_learns_curve(part: Scored) -> None:
    """The threshold's F1 is the largest that scikit-learn's precision-recall curve holds."""
    scores, labels = part
    precision, recall, _ = reference.precision_recall_curve(labels, scores)
    with np.errstate(invalid="ignore"):
        curve = np.nan_to_num(2 * precision * recall / (precision + recall))
    flagged = scores >= calibrate(scores, labels, F1)
    assert reference.f1_score(labels, flagged) == pytest.approx(curve.max())


@given(scored())
def test_among_equal_f1_the_lowest_anomalous_score_is_taken(part: Scored) -> None:
    """The threshold is the lowest of the anomalous images' scores with the largest F1."""
    scores, labels = part
    threshold = calibrate(scores, labels, F1)
    best = confusion(scores, labels, threshold).f1
    equal = [s for s in scores[labels].tolist() if confusion(scores, labels, s).f1 == best]
    assert threshold == min(equal)


def test_separable_scores_are_separated() -> None:
    """Where a threshold divides the classes, it is the lowest score of an anomalous image."""
    assert calibrate(np.array([1.0, 2.0, 5.0, 7.0]), np.array([0, 0, 1, 1]), F1) == 5.0


@given(scored(), st.floats(0.001, 0.999))
def test_quantile_keeps_the_false_positive_rate(part: Scored, fpr: float) -> None:
    """The threshold is the smallest: the false-positive rate is at most `fpr`, and one step lower more."""
    scores, labels = part
    threshold = calibrate(scores, labels, ThresholdConfig(objective="normal_quantile", fpr=fpr))
    lower = float(np.nextafter(np.float32(threshold), np.float32(-math.inf)))
    assert confusion(scores, labels, threshold).false_positive_rate <= fpr
    assert confusion(scores, labels, lower).false_positive_rate > fpr


@pytest.mark.parametrize("n_allowed", range(1, 100))
def test_quantile_is_not_off_by_one_in_floating_point(n_allowed: int) -> None:
    """Of 100 distinct normal scores exactly n may be flagged at the rate n / 100 (0.29 * 100 is below 29)."""
    scores = np.arange(100, dtype=np.float32)
    assert np.count_nonzero(scores >= normal_quantile(scores, n_allowed / 100)) == n_allowed


@given(scored())
def test_maximum_flags_no_normal_image(part: Scored) -> None:
    """Just above the maximum of the normal scores: none is flagged, and one step lower one is."""
    scores, labels = part
    threshold = calibrate(scores, labels, MAXIMUM)
    assert confusion(scores, labels, threshold).false_positives == 0
    assert threshold == np.nextafter(scores[~labels].max(), np.float32(math.inf))


@given(scored())
def test_maximum_holds_in_float32_and_float64(part: Scored) -> None:
    """A threshold from float32 scores is itself a float32, so no rounding moves it onto a normal score."""
    scores, labels = part
    threshold = calibrate(scores, labels, MAXIMUM)
    normal = scores[~labels]
    assert not (normal >= threshold).any()
    assert not (normal.astype(np.float64) >= threshold).any()


@given(scored(np.float64))
def test_anomalous_scores_do_not_move_a_normal_threshold(part: Scored) -> None:
    """Normal-only objectives read no anomalous score: another one gives the same threshold."""
    scores, labels = part
    moved = np.where(labels, scores + 100, scores)
    for config in (MAXIMUM, ThresholdConfig(objective="normal_quantile", fpr=0.2)):
        assert calibrate(scores, labels, config) == calibrate(moved, labels, config)


def test_f1_without_anomalous_images_is_refused_with_the_remedy() -> None:
    """Without anomalous validation images f1 is an error that names the normal-only objectives."""
    with pytest.raises(UserError, match=r"3 normal images and no anomalous one[\s\S]*normal_quantile"):
        calibrate(np.arange(3.0), np.zeros(3, dtype=bool), F1)


@pytest.mark.parametrize("objective", ["normal_quantile", "normal_max"])
def test_normal_only_objectives_need_no_anomalous_images(objective: Objective) -> None:
    """A part of normal images alone gives a threshold."""
    threshold = calibrate(np.arange(3.0), np.zeros(3, dtype=bool), ThresholdConfig(objective=objective))
    assert threshold == math.nextafter(2.0, math.inf)


@pytest.mark.parametrize("objective", ["f1", "normal_quantile", "normal_max"])
@pytest.mark.parametrize(("labels", "found"), [([], "is empty"), ([1, 1], "no normal one")])
def test_a_part_that_calibrates_nothing_is_refused(objective: Objective, labels: list[int], found: str) -> None:
    """An empty part, or one of anomalous images alone, is an error whatever the objective."""
    with pytest.raises(UserError, match=found):
        calibrate(np.arange(len(labels)) + 0.5, np.array(labels, dtype=int), ThresholdConfig(objective=objective))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    """A threshold is never placed beside a nan or an infinite score."""
    with pytest.raises(UserError, match="1 of 2 validation scores"):
        calibrate(np.array([value, 1.0]), np.array([0, 1]), MAXIMUM)


@pytest.mark.parametrize(
    "values",
    [
        {"objective": "f2"},
        {"scope": "image"},
        {"fpr": 0.0, "objective": "normal_quantile"},
        {"fpr": 1.0, "objective": "normal_quantile"},
        {"objectiv": "f1"},
    ],
)
def test_a_wrong_configuration_is_refused(values: dict[str, object]) -> None:
    """Unknown keys and choices, and rates that flag nothing or everything, do not validate."""
    with pytest.raises(ValidationError):
        ThresholdConfig.model_validate(values)


@pytest.mark.parametrize("objective", ["f1", "normal_max"])
def test_a_rate_that_nothing_reads_is_refused(objective: Objective) -> None:
    """`fpr` beside an objective that ignores it is a mistake, not a silent no-op."""
    with pytest.raises(ValidationError, match="does not read fpr"):
        ThresholdConfig.model_validate({"objective": objective, "fpr": 0.05})


@pytest.mark.parametrize("objective", ["f1", "normal_quantile", "normal_max"])
def test_a_resolved_configuration_reads_again(objective: Objective) -> None:
    """What a configuration writes, defaults included, gives the same configuration."""
    config = ThresholdConfig(objective=objective)
    assert ThresholdConfig.model_validate(config.model_dump()) == config


def test_the_configuration_imports_no_numpy() -> None:
    """`adloc --help` reads the configuration class; it must not pay for numpy."""
    code = "import sys, adloc.thresholds, adloc.metrics.registry; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
