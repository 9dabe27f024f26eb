"""Metrics of image scores, against scikit-learn and their definitions, and unchanged by monotone maps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference

from adloc.metrics.classification import confusion
from adloc.metrics.curve import Curve, thin
from adloc.metrics.ranking import auroc, average_precision, precision_recall_curve, rank, roc_curve

if TYPE_CHECKING:
    from collections.abc import Callable

Array = NDArray[np.generic]
Scored = tuple[NDArray[np.float32], NDArray[np.bool_]]

# Few distinct values, so that most draws have ties within and between the classes.
TIED = st.sampled_from([-2.5, -1.0, 0.0, 0.125, 1.0, 3.0])
UNTIED = st.floats(-1e6, 1e6, width=32)
ANY = TIED | UNTIED
INFINITE = st.sampled_from([-math.inf, -1.0, 0.0, 2.0, math.inf])


@st.composite
def scored(draw: st.DrawFn, values: st.SearchStrategy[float] = ANY) -> Scored:
    """Scores with at least one item of each class."""
    labels = [True, False, *draw(st.lists(st.booleans(), max_size=40))]
    scores = draw(st.lists(values, min_size=len(labels), max_size=len(labels)))
    return np.asarray(scores, dtype=np.float32), np.asarray(labels)


@given(scored())
def test_auroc_is_scikit_learns(items: Scored) -> None:
    """AUROC equals scikit-learn's, ties included."""
    scores, labels = items
    assert auroc(scores, labels) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)


@given(scored())
def test_average_precision_is_scikit_learns(items: Scored) -> None:
    """Average precision equals scikit-learn's, ties included."""
    scores, labels = items
    assert average_precision(scores, labels) == pytest.approx(
        reference.average_precision_score(labels, scores), abs=1e-12
    )


@given(scored(INFINITE | TIED))
def test_auroc_is_the_share_of_pairs_in_order(items: Scored) -> None:
    """AUROC is, by definition, the share of (anomalous, normal) pairs in order; a tie counts half."""
    scores, labels = items
    pairs = [
        1.0 if anomalous > normal else 0.5 if anomalous == normal else 0.0
        for anomalous in scores[labels]
        for normal in scores[~labels]
    ]
    assert auroc(scores, labels) == sum(pairs) / len(pairs)


@given(scored())
def test_roc_points_are_scikit_learns(items: Scored) -> None:
    """Every point of the ROC curve, with its threshold, is one of scikit-learn's."""
    scores, labels = items
    theirs = set(zip(*_rounded(*reference.roc_curve(labels, scores, drop_intermediate=False)), strict=True))
    ours = roc_curve(scores, labels)
    assert set(zip(*_rounded(ours.x, ours.y, ours.thresholds), strict=True)) <= theirs


@given(scored())
def test_roc_curve_passes_through_all_of_scikit_learns_points(items: Scored) -> None:
    """The points that the ROC curve leaves out lie inside its horizontal parts."""
    scores, labels = items
    x, y, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    ours = roc_curve(scores, labels)
    for point in zip(x, y, strict=True):
        assert _distance(ours, *point) < 1e-12


@given(scored())
def test_precision_recall_points_are_scikit_learns(items: Scored) -> None:
    """Every point of the precision-recall curve at a threshold is one of scikit-learn's."""
    scores, labels = items
    precision, recall, thresholds = reference.precision_recall_curve(labels, scores)
    theirs = set(zip(*_rounded(recall[:-1], precision[:-1], thresholds), strict=True))
    ours = precision_recall_curve(scores, labels)
    assert (ours.x[0], ours.y[0]) == (recall[-1], precision[-1])
    assert set(zip(*_rounded(ours.x[1:], ours.y[1:], ours.thresholds[1:]), strict=True)) <= theirs


@given(scored(INFINITE | TIED))
def test_a_curves_threshold_gives_its_point(items: Scored) -> None:
    """Flagging score >= threshold gives the rates that the ROC curve shows at that threshold."""
    scores, labels = items
    curve = roc_curve(scores, labels)
    for x, y, threshold in zip(curve.x[1:], curve.y[1:], curve.thresholds[1:], strict=True):
        outcome = confusion(scores, labels, float(threshold))
        assert (outcome.false_positive_rate, outcome.recall) == (x, y)


@given(scored(INFINITE | UNTIED | TIED))
def test_only_ranks_count(items: Scored) -> None:
    """A strictly increasing map of the scores changes no metric and no curve, to the last bit."""
    scores, labels = items
    _, ranks = np.unique(scores, return_inverse=True)
    mapped = (np.exp(ranks / 7) - 40).astype(np.float64)
    assert auroc(scores, labels) == auroc(mapped, labels)
    assert average_precision(scores, labels) == average_precision(mapped, labels)
    for curve in (roc_curve, precision_recall_curve):
        assert np.array_equal(curve(scores, labels).x, curve(mapped, labels).x)
        assert np.array_equal(curve(scores, labels).y, curve(mapped, labels).y)


@given(scored())
def test_scores_outside_0_to_1_are_taken_as_they_are(items: Scored) -> None:
    """No sigmoid and no clamping: scores far above 1 give the figures of the same ranks near 0."""
    scores, labels = items
    small = rank(np.unique(scores, return_inverse=True)[1] / 1000, labels)
    large = rank(np.unique(scores, return_inverse=True)[1] + 1e6, labels)
    assert small.auroc() == large.auroc()
    assert small.average_precision() == large.average_precision()


def test_constant_scores_give_half() -> None:
    """Constant scores have AUROC 0.5 and, as average precision, the share of anomalous items."""
    scores, labels = np.full(10, 3.25, dtype=np.float32), np.arange(10) < 3
    assert auroc(scores, labels) == 0.5
    assert average_precision(scores, labels) == 0.3


@pytest.mark.parametrize("value", [False, True], ids=["only normal", "only anomalous"])
def test_one_class_has_no_ranking(*, value: bool) -> None:
    """With one class missing, areas are nan and curves are a point of nan."""
    scores, labels = np.arange(4.0), np.full(4, fill_value=value)
    assert math.isnan(auroc(scores, labels))
    assert math.isnan(average_precision(scores, labels))
    assert np.isnan(roc_curve(scores, labels).x).tolist() == [True]
    assert np.isnan(precision_recall_curve(scores, labels).y).tolist() == [True]


def test_no_items_at_all() -> None:
    """Without items there is nothing to rank: nan, and no error."""
    assert math.isnan(auroc(np.zeros(0), np.zeros(0, dtype=bool)))


@pytest.mark.parametrize("metric", [auroc, average_precision, roc_curve, precision_recall_curve])
def test_nan_is_refused(metric: Callable[..., object]) -> None:
    """A nan score is an error that says how many there are."""
    with pytest.raises(ValueError, match="2 of 3 scores are nan"):
        metric(np.array([math.nan, -math.inf, math.nan]), np.array([True, False, False]))


def test_shapes_must_agree() -> None:
    """Scores and labels of different shapes are refused, also where numpy could broadcast them."""
    with pytest.raises(ValueError, match="must be the same"):
        auroc(np.zeros((3, 1)), np.zeros(3, dtype=bool))


def test_labels_must_be_binary() -> None:
    """A label such as 2 is refused instead of being read as anomalous."""
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        auroc(np.zeros(3), np.array([0, 1, 2]))


def test_the_inputs_are_left_alone() -> None:
    """Ranking sorts copies."""
    scores, labels = np.array([3.0, 1.0, 2.0]), np.array([False, True, False])
    rank(scores, labels)
    assert scores.tolist() == [3.0, 1.0, 2.0]
    assert labels.tolist() == [False, True, False]


@given(scored(TIED | UNTIED), TIED | UNTIED)
def test_rates_at_a_threshold_are_scikit_learns(items: Scored, threshold: float) -> None:
    """F1, accuracy, precision and recall at a threshold equal scikit-learn's for score >= threshold."""
    scores, labels = items
    outcome, flagged = confusion(scores, labels, threshold), scores >= threshold
    assert outcome.f1 == pytest.approx(reference.f1_score(labels, flagged, zero_division=0.0))
    assert outcome.accuracy == pytest.approx(reference.accuracy_score(labels, flagged))
    assert outcome.precision == pytest.approx(reference.precision_score(labels, flagged, zero_division=0.0))
    assert outcome.recall == pytest.approx(reference.recall_score(labels, flagged))
    assert outcome.false_positive_rate == pytest.approx(1 - reference.recall_score(~labels, ~flagged))
    assert outcome.false_negative_rate == pytest.approx(1 - outcome.recall)


def test_a_score_equal_to_the_threshold_is_flagged() -> None:
    """An item is anomalous when score >= threshold, equality included."""
    assert confusion(np.array([1.0, 2.0]), np.array([0, 1]), 2.0).recall == 1.0


def test_thresholds_between_two_float32_scores_count() -> None:
    """A float64 threshold is not rounded to float32, so one just above a score does not flag it."""
    scores = np.array([0.5, 1.0], dtype=np.float32)
    outcome = confusion(scores, np.array([0, 1]), math.nextafter(0.5, 1.0))
    assert outcome.false_positives == 0


def test_conventions_without_anomalous_items() -> None:
    """Without anomalous items recall, precision, F1 and FNR are nan; accuracy and FPR are defined."""
    outcome = confusion(np.array([0.0, 1.0]), np.array([0, 0]), 0.5)
    undefined = (outcome.recall, outcome.precision, outcome.f1, outcome.false_negative_rate)
    assert all(math.isnan(value) for value in undefined)
    assert (outcome.accuracy, outcome.false_positive_rate) == (0.5, 0.5)


def test_conventions_without_normal_items_or_any() -> None:
    """Without normal items FPR is nan; without items accuracy is nan as well."""
    assert math.isnan(confusion(np.array([1.0]), np.array([1]), 0.5).false_positive_rate)
    assert math.isnan(confusion(np.zeros(0), np.zeros(0, dtype=bool), 0.5).accuracy)


def test_a_nan_threshold_is_refused() -> None:
    """A missing threshold never counts as one that flags nothing."""
    with pytest.raises(ValueError, match="the threshold is nan"):
        confusion(np.array([1.0]), np.array([1]), math.nan)


@given(scored(UNTIED), st.integers(2, 12))
def test_thinning_keeps_points_and_ends(items: Scored, n_points: int) -> None:
    """A thinned curve has at most the points asked for, all of them the curve's, both ends among them."""
    curve = roc_curve(*items)
    thinned = thin(curve, n_points)
    points = set(zip(curve.x, curve.y, curve.thresholds, strict=True))
    assert thinned.x.size <= max(n_points, 2)
    assert set(zip(thinned.x, thinned.y, thinned.thresholds, strict=True)) <= points
    assert (thinned.x[0], thinned.y[0], thinned.x[-1], thinned.y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert (np.diff(thinned.thresholds) <= 0).all()


def test_thinning_keeps_the_shape() -> None:
    """500 points stay within 1/500 of a curve of tens of thousands: a pixel of a plot."""
    rng = np.random.default_rng(3)
    labels = np.arange(80_000) < 20_000
    scores = rng.normal(size=80_000) + labels
    scores[:2000] += 10  # a corner: 10 % of the curve's height at a false-positive rate of 0
    curve = roc_curve(scores, labels)
    thinned = thin(curve, 500)
    points = zip(curve.x[::40], curve.y[::40], strict=True)
    assert curve.x.size > 20_000
    assert thinned.x.size == 500
    assert max(_distance(thinned, x, y) for x, y in points) < 1 / 500


def test_thinning_drops_points_on_a_line() -> None:
    """Points exactly between their neighbours are left out even when more would be allowed."""
    line = np.arange(9.0)
    thinned = thin(Curve(x=line, y=2 * line, thresholds=-line), 5)
    assert thinned.x.tolist() == [0.0, 8.0]


def test_thinning_to_fewer_than_two_points_is_refused() -> None:
    """A curve has two ends."""
    with pytest.raises(ValueError, match="at least 2"):
        thin(roc_curve(np.arange(3.0), np.array([0, 1, 0])), 1)


def _rounded(*columns: Array) -> list[list[float]]:
    return [np.round(column.astype(np.float64), 9).tolist() for column in columns]


def _distance(curve: Curve, x: float, y: float) -> float:
    """Distance of a point from a polyline."""
    ends = np.stack([curve.x, curve.y], axis=1)
    start, along = ends[:-1], np.diff(ends, axis=0)
    offset = np.array([x, y]) - start
    share = np.clip(np.sum(offset * along, axis=1) / np.sum(along**2, axis=1), 0, 1)
    return float(np.min(np.linalg.norm(offset - share[:, None] * along, axis=1)))
