"""Threshold-free metrics of raw scores: ROC, precision-recall and the areas under them, exact under ties.

Only the order of the scores counts: any strictly increasing map of them leaves every figure the same to the
last bit. There is no normalisation, no clamping and no binning. Higher score = more anomalous, and an item is
flagged when score >= threshold.

Every metric here is a function of a few counts at each distinct score of an anomalous item (how many normal
items lie above it, how many tie with it). So the scores are sorted once, normal and anomalous ones apart, and
as values, which is several times faster than sorting all of them with their labels. 4.2 million pixels (83
maps of 224 x 224) take about 0.2 s on one core, and the memory needed is one copy of the normal scores, or of the
largest piece of them where they come in pieces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adloc.metrics.curve import Curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.floating]
    Labels = NDArray[np.bool_ | np.integer]


@dataclass(frozen=True, slots=True)
class BestF1:
    """The largest F1 of some items, and where it is reached: an item is flagged when score >= threshold."""

    threshold: float
    f1: float


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What ranks say about N scored items, at the M distinct scores of the anomalous ones.

    Attributes:
        scores: (M,) the distinct scores of anomalous items, descending; in the dtype of the scores.
        above: int64 (M,) normal items that score more.
        tied: int64 (M,) normal items that score the same.
        anomalous: int64 (M,) anomalous items with this score.
        weight: float64 (M,) their summed weights.
        next_above: (M,) the smallest observed score above, inf where there is none.
        lowest: the smallest score of all items; nan without items.
        n_normal: normal items.
        n_anomalous: anomalous items.
    """

    scores: Scores
    above: NDArray[np.int64]
    tied: NDArray[np.int64]
    anomalous: NDArray[np.int64]
    weight: NDArray[np.float64]
    next_above: Scores
    lowest: float
    n_normal: int
    n_anomalous: int

    @property
    def one_class(self) -> bool:
        """True when the normal or the anomalous items are missing: nothing can then be ranked."""
        return self.n_normal == 0 or self.n_anomalous == 0

    def auroc(self) -> float:
        """As the function `auroc`."""
        if self.one_class:
            return math.nan
        # Whole numbers up to the one division: 2 * n_normal * n_anomalous fits into int64 up to 4e9 items.
        below = self.n_normal - self.above - self.tied
        twice = int(np.sum(self.anomalous * (2 * below + self.tied)))
        return twice / (2 * self.n_normal * self.n_anomalous)

    def average_precision(self) -> float:
        """As the function `average_precision`."""
        if self.one_class:
            return math.nan
        true_positives = np.cumsum(self.anomalous)
        precision = true_positives / (true_positives + self.above + self.tied)
        # Rounding must not lift a perfect ranking above 1.
        return min(1.0, float(np.sum(self.anomalous * precision)) / self.n_anomalous)

    def largest_f1(self) -> BestF1:
        """The threshold with the largest F1, and that F1; both nan when a class is missing.

        F1 can be largest only at the score of an anomalous item, where one more hit comes in. Among equal F1 the
        lowest score is taken: in inspection a missed defect costs more than a false alarm.
        """
        if self.one_class:
            return BestF1(math.nan, math.nan)
        hits = np.cumsum(self.anomalous)
        f1 = 2 * hits / (hits + self.above + self.tied + self.n_anomalous)
        # Equal fractions of such whole numbers are equal floats, so the ties are exact. Scores descend.
        best = int(np.flatnonzero(f1 == f1.max())[-1])
        return BestF1(float(self.scores[best]), float(f1[best]))

    def roc_curve(self) -> Curve:
        """As the function `roc_curve`."""
        return self.curve(self.anomalous)

    def precision_recall_curve(self) -> Curve:
        """As the function `precision_recall_curve`."""
        if self.one_class:
            return _undefined()
        roc = self.roc_curve()
        true_positives = np.rint(roc.y * self.n_anomalous)
        flagged = true_positives + np.rint(roc.x * self.n_normal)
        precision = np.divide(true_positives, flagged, out=np.ones_like(flagged), where=flagged > 0)
        return Curve(x=roc.y, y=precision, thresholds=roc.thresholds)

    def curve(self, gain: NDArray[np.int64] | NDArray[np.float64]) -> Curve:
        """The share of a gain collected so far, over the false-positive rate.

        Args:
            gain: (M,) what is collected at each distinct anomalous score: `anomalous` for the ROC curve,
                `weight` for per-region overlap.

        Returns:
            The curve from (0, 0) to (1, 1), without the points inside its horizontal parts; one point of nan
            when a class is missing.
        """
        if self.one_class:
            return _undefined()
        collected = np.cumsum(gain)
        n_points = 2 * self.scores.size + 2
        false_positives = np.zeros(n_points, dtype=np.int64)
        share = np.zeros(n_points, dtype=np.float64)
        thresholds = np.full(n_points, math.inf)
        # Two corners a score: just above it, where the normal items in between have been flagged, and at it.
        false_positives[1:-1:2], false_positives[2:-1:2] = self.above, self.above + self.tied
        share[3:-1:2], share[2:-1:2] = collected[:-1], collected
        thresholds[1:-1:2], thresholds[2:-1:2] = self.next_above, self.scores
        false_positives[-1], share[-1], thresholds[-1] = self.n_normal, collected[-1], self.lowest
        new = np.ones(n_points, dtype=np.bool_)
        new[1:] = (np.diff(false_positives) > 0) | (np.diff(share) > 0)
        return Curve(
            x=false_positives[new] / self.n_normal,
            y=share[new] / collected[-1],
            thresholds=thresholds[new],
        )


class Ranker:
    """Ranks items of which the normal ones come in pieces, so that no more than a piece is held of them."""

    def __init__(self, anomalous: Scores, weights: NDArray[np.float64] | None = None) -> None:
        """Sort the anomalous items.

        Args:
            anomalous: the scores of all of them, without nan.
            weights: (n_anomalous,) above 0, in the same order; 1 each by default.
        """
        if weights is None:
            weights = np.ones(anomalous.size)
        # Stable: tied items keep their order, so that sums of weights do not depend on the sorting algorithm.
        order = np.argsort(anomalous, kind="stable")
        ordered = anomalous[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if ordered.size else order
        self._distinct = ordered[starts]
        self._anomalous = np.diff(starts, append=ordered.size)
        self._weight = np.add.reduceat(weights[order], starts) if ordered.size else np.zeros(0)
        self._below, self._up_to = (np.zeros(starts.size, dtype=np.int64) for _ in range(2))
        self._next_above = np.append(self._distinct[1:], np.full(min(1, ordered.size), math.inf, anomalous.dtype))
        self._lowest = float(ordered[0]) if ordered.size else math.inf
        self._n_normal, self._n_anomalous = 0, ordered.size

    def add(self, normal: Scores) -> None:
        """Count some normal items, whose scores hold no nan and are sorted in place."""
        if normal.size == 0:
            return
        normal.sort()
        self._below += np.searchsorted(normal, self._distinct, side="left")
        up_to = np.searchsorted(normal, self._distinct, side="right")
        self._up_to += up_to
        inside = up_to < normal.size
        self._next_above[inside] = np.minimum(self._next_above[inside], normal[up_to[inside]])
        self._lowest = min(self._lowest, float(normal[0]))
        self._n_normal += normal.size

    def ranking(self) -> Ranking:
        """The counts of all items so far."""
        return Ranking(
            scores=self._distinct[::-1],
            above=(self._n_normal - self._up_to)[::-1],
            tied=(self._up_to - self._below)[::-1],
            anomalous=self._anomalous[::-1],
            weight=self._weight[::-1],
            next_above=self._next_above[::-1],
            lowest=self._lowest if self._n_normal + self._n_anomalous else math.nan,
            n_normal=self._n_normal,
            n_anomalous=self._n_anomalous,
        )


def rank(scores: Scores, labels: Labels, weights: NDArray[np.float64] | None = None) -> Ranking:
    """Count what every metric of this module needs, with one sort.

    Args:
        scores: of any shape; float32 stays float32. inf and -inf are scores like others: only ranks count.
        labels: of the same shape, True or 1 = anomalous.
        weights: (n_anomalous,) above 0, in the order of `scores[labels]`; 1 each by default.

    Raises:
        ValueError: a score is nan, the shapes differ, or a label is neither 0 nor 1.
    """
    scores, labels = checked(scores, labels)
    ranker = Ranker(scores[labels], weights)
    ranker.add(scores[~labels])
    return ranker.ranking()


def auroc(scores: Scores, labels: Labels) -> float:
    """The area under the ROC curve: how often an anomalous item outscores a normal one; a tie counts half.

    Constant scores give 0.5. It is not the accuracy at any threshold, and it says nothing of how far apart
    the scores of the two classes are. Source: Fawcett, "An introduction to ROC analysis", 2006.

    Args:
        scores: N scores, of any shape.
        labels: of the same shape, True or 1 = anomalous.

    Returns:
        In [0, 1]; nan when one of the classes is missing, for there is then no pair to compare.

    Raises:
        ValueError: as in `rank`.

    Example:
        >>> import numpy as np
        >>> auroc(np.array([0.1, 0.4, 0.4, 2.0]), np.array([False, False, True, True]))
        0.875
    """
    return rank(scores, labels).auroc()


def average_precision(scores: Scores, labels: Labels) -> float:
    """The step-wise area under the precision-recall curve: the mean precision at the anomalous items.

    The sum over distinct scores of (gain of recall) x (precision there), without interpolation, as in
    scikit-learn. It depends on the share of anomalous items, so figures of two test sets do not compare, and
    it is not the trapezoidal area, which is too optimistic (Davis and Goadrich, 2006).

    Args:
        scores: N scores, of any shape.
        labels: of the same shape, True or 1 = anomalous.

    Returns:
        In [0, 1]; nan when one of the classes is missing (without normal items it would be 1 whatever the
        scores are).

    Raises:
        ValueError: as in `rank`.

    Example:
        >>> import numpy as np
        >>> average_precision(np.array([0.1, 0.4, 0.3, 2.0]), np.array([False, False, True, True]))
        0.8333333333333333
    """
    return rank(scores, labels).average_precision()


def roc_curve(scores: Scores, labels: Labels) -> Curve:
    """The true-positive rate (y) over the false-positive rate (x), from (0, 0) to (1, 1).

    The corners are exact; points inside a horizontal part (scores of normal items only) are left out.

    Returns:
        The curve; a single point of nan when one of the classes is missing.

    Raises:
        ValueError: as in `rank`.
    """
    return rank(scores, labels).roc_curve()


def precision_recall_curve(scores: Scores, labels: Labels) -> Curve:
    """Precision (y) over recall (x), beginning at recall 0 and precision 1 (nothing flagged, by convention).

    Points inside a vertical part (scores of normal items only) are left out.

    Returns:
        The curve; a single point of nan when one of the classes is missing.

    Raises:
        ValueError: as in `rank`.
    """
    return rank(scores, labels).precision_recall_curve()


def checked(scores: Scores, labels: Labels) -> tuple[Scores, NDArray[np.bool_]]:
    """The scores as an array of float32 or float64 and the labels as booleans, both flat.

    Raises:
        ValueError: a score is nan, the shapes differ, or a label is neither 0 nor 1.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.shape != labels.shape:
        message = f"scores have the shape {scores.shape} and labels {labels.shape}; they must be the same"
        raise ValueError(message)
    scores = ranked(scores)
    if labels.dtype != np.bool_ and not np.isin(labels, (0, 1)).all():
        message = "a label is neither 0 nor 1; 1 (or True) is anomalous, 0 (or False) is normal"
        raise ValueError(message)
    return scores.reshape(-1), labels.astype(np.bool_, copy=False).reshape(-1)


def ranked(scores: Scores) -> Scores:
    """The scores in float32 or float64.

    Raises:
        ValueError: a score is nan.
    """
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    # The minimum is nan when any score is; isnan of every score would need another array.
    if scores.size and np.isnan(scores.min()):
        n_nan = int(np.count_nonzero(np.isnan(scores)))
        message = (
            f"{n_nan} of {scores.size} scores are nan; a nan has no rank: find the method or the image that gives it"
        )
        raise ValueError(message)
    return scores


def _undefined() -> Curve:
    nan = np.full(1, math.nan)
    return Curve(x=nan, y=nan, thresholds=nan)
