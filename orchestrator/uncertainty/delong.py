"""DeLong's test: whether two AUROCs on the same images differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class AurocTest:
    """What DeLong's test finds.

    Attributes:
        difference: AUROC of the first scores minus that of the second.
        standard_error: of the difference.
        p: two-sided; nan where the scores leave no variance and the AUROCs differ all the same.
    """

    difference: float
    standard_error: float
    p: float


def compare_aurocs(a: NDArray[np.floating], b: NDArray[np.floating], labels: NDArray[np.bool_]) -> AurocTest:
    """Test whether two detectors rank the same images equally well.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; by ranks as in Sun and Xu, IEEE Signal
    Processing Letters 21, 2014. The test is asymptotic: with a handful of images of a class, or an AUROC at 1,
    trust the bootstrap more.

    Args:
        a: (N,) scores of the first.
        b: (N,) scores of the second, of the same images in the same order.
        labels: (N,) True = anomalous.

    Raises:
        ValueError: fewer than two images of a class.
    """
    labels = np.asarray(labels, dtype=bool)
    if labels.sum() < 2 or (~labels).sum() < 2:  # noqa: PLR2004  a variance needs two
        raise ValueError("DeLong's test needs two images of each class")
    first, second = _placements(np.asarray(a), labels), _placements(np.asarray(b), labels)
    of_anomalous, of_normal = (first[0], second[0]), (first[1], second[1])
    aurocs = [float(values.mean()) for values in of_anomalous]
    difference = aurocs[0] - aurocs[1]
    variance = float(
        np.var(of_anomalous[0] - of_anomalous[1], ddof=1) / labels.sum()
        + np.var(of_normal[0] - of_normal[1], ddof=1) / (~labels).sum()
    )
    if variance <= 1e-18:  # noqa: PLR2004  rounding
        return AurocTest(difference, 0.0, 1.0 if abs(difference) < 1e-12 else math.nan)  # noqa: PLR2004
    error = math.sqrt(variance)
    return AurocTest(difference, error, math.erfc(abs(difference) / error / math.sqrt(2)))


def _placements(
    scores: NDArray[np.floating], labels: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each anomalous image the share of normal ones below it; for each normal one that of anomalous above."""
    anomalous, normal = scores[labels], scores[~labels]
    below = _shares_below(normal, anomalous)
    above = 1 - _shares_below(anomalous, normal)
    return below, above


def _shares_below(others: NDArray[np.floating], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each score the share of the others that lie below it, ties counted half."""
    ordered = np.sort(others)
    below, up_to = np.searchsorted(ordered, scores, side="left"), np.searchsorted(ordered, scores, side="right")
    return np.asarray((below + up_to) / (2 * ordered.size), dtype=np.float64)
