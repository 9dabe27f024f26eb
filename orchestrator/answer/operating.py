"""What a threshold means on the line: parts flagged and missed a shift, precision, cost, and whom a person looks at.

Pure, on scores and labels. Notation: N test images; a part is flagged when score >= threshold. A test part has far
more defects than a line, so every figure is made of the two error rates and the line's own prevalence. What is
chosen here (a threshold for a fixed rate, a band) is chosen on validation scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.uncertainty.resampling import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from adloc.study_file.operating import OperatingConfig

PER_PARTS = 10_000  # where no rates are given


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its exact interval; nan where it is not defined."""

    value: float
    interval: Interval

    def scaled(self, factor: float) -> Estimate:
        """In another unit."""
        return Estimate(factor * self.value, Interval(factor * self.interval.low, factor * self.interval.high))


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """At a threshold, on test images.

    Attributes:
        false_alarms: share of normal images flagged, with its 95 % Clopper-Pearson interval.
        misses: share of anomalous images that pass.
    """

    false_alarms: Estimate
    misses: Estimate


@dataclass(frozen=True, slots=True)
class OnTheLine:
    """A detector on the line. Intervals of figures made of both error rates combine two 97.5 % intervals.

    Attributes:
        false_rejects: good parts flagged, a shift.
        escapes: defective parts that pass, a shift.
        precision: share of the flagged parts that are defective; nan where none is flagged.
        cost: expected cost a shift.
    """

    false_rejects: Estimate
    escapes: Estimate
    precision: Estimate
    cost: Estimate


@dataclass(frozen=True, slots=True)
class AbstainBand:
    """Parts with low <= score < high go to a person, those from `high` upwards are rejected.

    Attributes:
        low: lower threshold, of the validation part.
        high: upper threshold, of the validation part.
        looked_at: expected share of the line's parts that a person looks at.
        false_alarms: share of normal test images rejected without a look.
        misses: share of anomalous test images that pass without a look.
    """

    low: float
    high: float
    looked_at: float
    false_alarms: Estimate
    misses: Estimate


def exact_share(n_hits: float, n: int, confidence: float = 0.95) -> Estimate:
    """A share with its exact interval (Clopper and Pearson, Biometrika 26, 1934); nan of nothing.

    Args:
        n_hits: 0 to n; a count, or the mean of several.
        n: images.
        confidence: of the interval.

    >>> found = exact_share(0, 12).interval
    >>> round(found.low, 3), round(found.high, 3)
    (0.0, 0.265)
    """
    from scipy.special import betaincinv

    if not n:
        return Estimate(math.nan, Interval(math.nan, math.nan))
    tail = (1 - confidence) / 2
    low = float(betaincinv(n_hits, n - n_hits + 1, tail)) if n_hits else 0.0
    high = float(betaincinv(n_hits + 1, n - n_hits, 1 - tail)) if n_hits < n else 1.0
    return Estimate(n_hits / n, Interval(low, high))


def mean_share(value: float, counts: Sequence[int]) -> Interval:
    """The interval of a share's mean over groups that weigh the same: at least 95 %, whatever the groups' shares are.

    That of as many images as the smallest group has in each: the mean is no less certain, because the variance of
    a share is concave in it and falls with the group's size. A bootstrap gives a share of which few or none were
    seen too narrow an interval: true shares of 2 % of three times 20 images are covered in 71 %.

    Args:
        value: the mean of the groups' shares.
        counts: images of each group.
    """
    n = len(counts) * min(counts)
    return exact_share(value * n, n).interval


def error_rates(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], threshold: float, confidence: float = 0.95
) -> ErrorRates:
    """Both error rates with exact intervals.

    Args:
        scores: (N,) raw.
        labels: (N,) True = anomalous.
        threshold: an image is flagged from there upwards.
        confidence: of each interval.
    """
    flagged = scores >= threshold
    n_normal, n_anomalous = int((~labels).sum()), int(labels.sum())
    return ErrorRates(
        exact_share(int(flagged[~labels].sum()), n_normal, confidence),
        exact_share(int((~flagged[labels]).sum()), n_anomalous, confidence),
    )


def on_the_line(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], threshold: float, rates: OperatingConfig
) -> OnTheLine:
    """False rejects, escapes, precision and cost at the line's rates, of test images.

    Args:
        scores: (N,) raw.
        labels: (N,) True = anomalous.
        threshold: an image is flagged from there upwards.
        rates: of the line.
    """
    each, both = error_rates(scores, labels, threshold), error_rates(scores, labels, threshold, 0.975)
    good, bad = (1 - rates.prevalence) * rates.parts_per_shift, rates.prevalence * rates.parts_per_shift
    fpr, fnr = both.false_alarms, both.misses

    def precision(false_alarms: float, misses: float) -> float:
        flagged = bad * (1 - misses) + good * false_alarms
        return math.nan if flagged == 0 else bad * (1 - misses) / flagged

    def cost(false_alarms: float, misses: float) -> float:
        return rates.cost_false_alarm * good * false_alarms + rates.cost_miss * bad * misses

    return OnTheLine(
        each.false_alarms.scaled(good),
        each.misses.scaled(bad),
        Estimate(
            precision(fpr.value, fnr.value),
            Interval(precision(fpr.interval.high, fnr.interval.high), precision(fpr.interval.low, fnr.interval.low)),
        ),
        Estimate(
            cost(fpr.value, fnr.value),
            Interval(cost(fpr.interval.low, fnr.interval.low), cost(fpr.interval.high, fnr.interval.high)),
        ),
    )


def abstain_band(
    scores: NDArray[np.floating],
    labels: NDArray[np.bool_],
    low: float,
    high: float,
    prevalence: float,
) -> AbstainBand | None:
    """What is left to a person, and which errors remain; None where the thresholds leave no band.

    Args:
        scores: (N,) of the test part, at least one image of each class.
        labels: (N,) True = anomalous.
        low: a threshold that the validation part gave.
        high: another, above it.
        prevalence: of defective parts on the line.
    """
    if not low < high or labels.all() or not labels.any():
        return None
    between = (scores >= low) & (scores < high)
    looked_at = (1 - prevalence) * between[~labels].mean() + prevalence * between[labels].mean()
    return AbstainBand(
        low,
        high,
        float(looked_at),
        error_rates(scores, labels, high).false_alarms,
        error_rates(scores, labels, low).misses,
    )
