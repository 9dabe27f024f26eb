"""What n normal validation scores promise about false alarms, whatever distribution they are from.

Notation: n normal scores, k of them allowed to be flagged; the threshold lies just above the (n-k)-th smallest,
and an image is flagged when score >= threshold. FPR is the share of *all* normal images that this threshold flags.
If the n images and those to come are exchangeable and scores are continuous, the distribution function takes the
(n-k)-th smallest of n uniform numbers at that score, so

    FPR ~ Beta(k + 1, n - k),   E[FPR] = (k + 1) / (n + 1),   P(FPR > p) = P(Binomial(n, p) <= k)

With ties FPR can only be smaller. For k = 0 the last is (1 - p)^n. Source: Wilks, Determination of sample sizes for
setting tolerance limits, Annals of Mathematical Statistics 12, 1941; Vovk, Conditional validity of inductive conformal
predictors, 2012.

A k that was chosen with the scores in view (where F1 or the cost is best) is covered by none of this: then the bounds
must hold for every k at once. Source: Bates et al., Testing for outliers with conformal p-values, Annals of
Statistics 51, 2023, section 3.

Importing this module imports neither numpy nor scipy: the study file is checked with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95
MOST_SIMULATED = 2000  # normals; above, the inequality of Dvoretzky, Kiefer and Wolfowitz loses little
_N_DRAWS = 20_000
_MOST_VALUES = 4_000_000  # of all draws together: 32 MB
_SEED = 20230251


@dataclass(frozen=True, slots=True)
class Promise:
    """What a threshold promises.

    Attributes:
        expected: the expected false-positive rate is at most this.
        upper: the false-positive rate is at most this in a share `confidence` of calibrations; never below `expected`.
        confidence: of `upper`.
        n_normal: normal validation images that it rests on.
        chosen: whether the rank was chosen with the scores in view, so that it holds for every rank at once.
    """

    expected: float
    upper: float
    confidence: float
    n_normal: int
    chosen: bool


def upper_bound(n: int, k: int, confidence: float = CONFIDENCE) -> float:
    """The p with P(FPR > p) = 1 - confidence, for a k that was fixed beforehand; 1 where all may be flagged.

    Args:
        n: normal images, at least one.
        k: how many of them may be flagged, 0 to n.
        confidence: in (0, 1).

    >>> [round(upper_bound(n, 0), 3) for n in (12, 56, 299)]
    [0.221, 0.052, 0.01]
    """
    _check(n, k)
    if k == n:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(k + 1, n - k, confidence))


def expected_bound(n: int, k: int) -> float:
    """The expected false-positive rate, for a k that was fixed beforehand: (k + 1) / (n + 1)."""
    _check(n, k)
    return (k + 1) / (n + 1)


def largest_rank(n: int, fpr: float, confidence: float = CONFIDENCE) -> int | None:
    """The most of n normal images that may be flagged with P(FPR > fpr) <= 1 - confidence; None where not even 0."""
    if not _keeps(n, 0, fpr, confidence):
        return None
    low, high = 0, n  # kept, not kept: with all flagged nothing is promised
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _keeps(n, middle, fpr, confidence) else (low, middle)
    return low


def least_normals(fpr: float, confidence: float = CONFIDENCE) -> int:
    """The fewest normal images that can promise P(FPR > fpr) <= 1 - confidence: (1 - fpr)^n <= 1 - confidence.

    >>> least_normals(0.01, 0.95), least_normals(0.05, 0.90)
    (299, 45)
    """
    n = max(1, math.ceil(math.log(1 - confidence) / math.log1p(-fpr)) - 1)
    while not _keeps(n, 0, fpr, confidence):  # the logarithms may be off by one
        n += 1
    return n


def promise(n: int, k: int, *, chosen: bool, confidence: float = CONFIDENCE) -> Promise:
    """What a threshold promises that lets k of n normal validation images be flagged.

    Args:
        n: normal validation images, at least one.
        k: how many of them may be flagged; with `chosen`, how many are.
        chosen: whether k was found with the scores in view.
        confidence: of the upper bound.
    """
    if not chosen:
        return Promise(expected_bound(n, k), upper_bound(n, k, confidence), confidence, n, chosen)
    expected = min(1.0, expected_bound(n, k) + expected_excess(n))
    # Where almost all are flagged the first reaches 1 before the second does; a bound may be raised, never lowered.
    upper = max(expected, simultaneous_bound(n, k, confidence))
    return Promise(expected, upper, confidence, n, chosen)


def simultaneous_bound(n: int, k: int, confidence: float = CONFIDENCE) -> float:
    """A bound on FPR that holds for every k at once with the probability `confidence`: k may depend on the scores.

    Up to 2,000 images the Beta quantiles of every k at one common level, which is calibrated by simulating uniform
    order statistics so that all hold together; two standard errors of the simulation are added. Above, k / n +
    sqrt(log(1 / (1 - confidence)) / 2n) (Massart, Annals of Probability 18, 1990).
    """
    _check(n, k)
    if k == n:
        return 1.0
    if n > MOST_SIMULATED:
        return min(1.0, k / n + math.sqrt(math.log(1 / (1 - confidence)) / (2 * n)))
    return upper_bound(n, k, _common_level(n, confidence))


@lru_cache(maxsize=256)
def expected_excess(n: int) -> float:
    """What choosing k can add to the expected rate, at most: the e with E[max over k of FPR - bound(k)] = 0.

    bound(k) = min(1, (k + 1) / (n + 1) + e), so that E[FPR] <= E[bound(K)] for any way of choosing K. Up to 2,000
    images by simulation, two standard errors added; above, 0.74 / sqrt(n), the integral of Massart's bound of the
    largest deviation.
    """
    import numpy as np

    if n > MOST_SIMULATED:
        return 0.74 / math.sqrt(n)
    rates, fixed = _rates(n), np.arange(1, n + 1) / (n + 1)
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        over = (rates - np.minimum(1, fixed + middle)).max(axis=1)
        enough = over.mean() + 2 * over.std() / math.sqrt(len(over)) <= 0
        low, high = (low, middle) if enough else (middle, high)
    return high


@lru_cache(maxsize=256)
def _common_level(n: int, confidence: float) -> float:
    """The level at which every rank's Beta quantile is taken, by bisection: all hold together with `confidence`."""
    import numpy as np
    from scipy.special import betaincinv

    rates, k = _rates(n), np.arange(n)
    # the simulated share is itself uncertain, and must not make the bound too small
    wanted = min(confidence + 2 * math.sqrt(confidence * (1 - confidence) / len(rates)), 1 - 1 / len(rates))
    low, high = confidence, 1 - (1 - confidence) / n  # one rank alone; Bonferroni over all n
    for _ in range(14):
        middle = 1 - math.sqrt((1 - low) * (1 - high))
        held = np.mean((rates <= betaincinv(k + 1, n - k, middle)).all(axis=1))
        low, high = (low, middle) if held >= wanted else (middle, high)
    return high


def _rates(n: int) -> NDArray[np.float64]:
    """FPR for k = 0 .. n - 1 in simulated calibrations: (n_draws, n), ascending in each."""
    import numpy as np

    n_draws = max(1, min(_N_DRAWS, _MOST_VALUES // n))
    return np.sort(np.random.default_rng([_SEED, n]).random((n_draws, n)), axis=1)


def _keeps(n: int, k: int, fpr: float, confidence: float) -> bool:
    """Whether P(Binomial(n, fpr) <= k) <= 1 - confidence, up to rounding."""
    if k >= n:
        return False
    if k == 0:
        return n * math.log1p(-fpr) <= math.log(1 - confidence) + 1e-12
    from scipy.special import betainc

    return bool(1 - betainc(k + 1, n - k, fpr) <= 1 - confidence)


def _check(n: int, k: int) -> None:
    if not 0 <= k <= n or n < 1:
        message = f"{k} of {n} normal images cannot be flagged: both are counts, and n is at least 1"
        raise ValueError(message)
