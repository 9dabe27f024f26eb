"""Metrics at one threshold: what happens to the items of a part when score >= threshold is flagged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adloc.metrics.ranking import checked

if TYPE_CHECKING:
    from adloc.metrics.ranking import Labels, Scores


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of the four outcomes, and the rates made of them.

    Conventions where a denominator is 0: a rate is nan when the class that it speaks of is missing (recall,
    FNR, precision and F1 without anomalous items, FPR without normal ones, accuracy without items); precision
    is 0 when there are anomalous items but none of the items is flagged.

    Attributes:
        true_positives: anomalous and flagged: hits.
        false_positives: normal and flagged: false alarms.
        true_negatives: normal, not flagged: correct rejections.
        false_negatives: anomalous, not flagged: misses.
    """

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    def __add__(self, other: Confusion) -> Confusion:
        """The counts of both."""
        return Confusion(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.true_negatives + other.true_negatives,
            self.false_negatives + other.false_negatives,
        )

    @property
    def n_anomalous(self) -> int:
        """Anomalous items."""
        return self.true_positives + self.false_negatives

    @property
    def n_normal(self) -> int:
        """Normal items."""
        return self.true_negatives + self.false_positives

    @property
    def accuracy(self) -> float:
        """The share of items judged rightly. Not a fair figure when one class is rare."""
        return _ratio(self.true_positives + self.true_negatives, self.n_anomalous + self.n_normal)

    @property
    def precision(self) -> float:
        """The share of flagged items that are anomalous; 0 when none is flagged."""
        if self.n_anomalous == 0:
            return math.nan
        return self.true_positives / max(1, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """The share of anomalous items that are flagged."""
        return _ratio(self.true_positives, self.n_anomalous)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN); 0 when nothing is hit."""
        if self.n_anomalous == 0:
            return math.nan
        return 2 * self.true_positives / (self.true_positives + self.false_positives + self.n_anomalous)

    @property
    def false_positive_rate(self) -> float:
        """The share of normal items that are flagged."""
        return _ratio(self.false_positives, self.n_normal)

    @property
    def false_negative_rate(self) -> float:
        """The share of anomalous items that are not flagged."""
        return _ratio(self.false_negatives, self.n_anomalous)


def confusion(scores: Scores, labels: Labels, threshold: float) -> Confusion:
    """Count the outcomes when an item is flagged if score >= threshold.

    Args:
        scores: N scores, of any shape.
        labels: of the same shape, True or 1 = anomalous.
        threshold: inf flags only scores that are inf.

    Raises:
        ValueError: the threshold is nan, or as in `adloc.metrics.ranking.rank`.

    Example:
        >>> import numpy as np
        >>> outcome = confusion(np.array([0.1, 0.4, 0.3, 2.0]), np.array([0, 0, 1, 1]), threshold=0.4)
        >>> outcome.precision, outcome.recall
        (0.5, 0.5)
    """
    scores, labels = checked(scores, labels)
    if math.isnan(threshold):
        message = "the threshold is nan; without a threshold there is nothing to count"
        raise ValueError(message)
    # A float64 scalar, not a Python float: that would be rounded to the float32 of the scores first, and a
    # threshold one step above a score would flag it.
    flagged = scores >= np.float64(threshold)
    return Confusion(
        true_positives=int(np.count_nonzero(flagged & labels)),
        false_positives=int(np.count_nonzero(flagged & ~labels)),
        true_negatives=int(np.count_nonzero(~flagged & ~labels)),
        false_negatives=int(np.count_nonzero(~flagged & labels)),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
