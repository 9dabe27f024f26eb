"""How small a difference of two AUROCs a study can see, and how many images a wanted one takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import ndtri, owens_t

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.05
POWER = 0.8
CORRELATION = 0.5  # of two detectors' AUROCs on the same images, where nothing is known
AUROC = 0.9  # about which two detectors differ, where nothing is known
MOST_IMAGES = 100_000


@dataclass(frozen=True, slots=True)
class Counts:
    """Test images of one category.

    Attributes:
        normal: of them, at least one.
        anomalous: of them, at least one.
    """

    normal: int
    anomalous: int


def auroc_variance(auroc: float, counts: Counts) -> float:
    """Of an AUROC over samples of images: Hanley and McNeil, Radiology 143, 1982, equation 1.

    Their chance that two images of a class both rank rightly against one of the other is that of normal scores of
    equal variance, exact by Owen's T; their own shortcut for it gave a fifth less variance than simulation.
    """
    z = float(ndtri(auroc))
    both = auroc - 2 * float(owens_t(z, 1 / math.sqrt(3)))
    found = auroc * (1 - auroc) + (counts.anomalous - 1) * (both - auroc**2) + (counts.normal - 1) * (both - auroc**2)
    return found / (counts.normal * counts.anomalous)


def difference_error(
    difference: float, counts: Sequence[Counts], auroc: float = AUROC, correlation: float = CORRELATION
) -> float:
    """Standard error of the macro difference of two detectors that lie as far apart, about `auroc`.

    Source: Obuchowski and McClish, Statistics in Medicine 16, 1997: var(a) + var(b) - 2 r sd(a) sd(b).
    """
    top = min(auroc + difference / 2, 1 - 1e-9)
    both = (top, max(top - difference, 1e-9))
    total = 0.0
    for category in counts:
        one, other = (auroc_variance(value, category) for value in both)
        total += one + other - 2 * correlation * math.sqrt(one * other)
    return math.sqrt(total) / len(counts)


def smallest_difference(
    counts: Sequence[Counts], auroc: float = AUROC, correlation: float = CORRELATION, power: float = POWER
) -> float:
    """The smallest macro AUROC difference that a test at 5 %, two-sided, finds with this power; 1 if none.

    Args:
        counts: of each category.
        auroc: about which the two differ.
        correlation: of their AUROCs over samples of images.
        power: chance of finding it.
    """
    reach = float(ndtri(1 - LEVEL / 2) + ndtri(power))
    low, high = 0.0, auroc
    if high < reach * difference_error(high, counts, auroc, correlation):
        return 1.0
    for _ in range(60):  # halvings
        middle = (low + high) / 2
        seen = middle >= reach * difference_error(middle, counts, auroc, correlation)
        low, high = (low, middle) if seen else (middle, high)
    return high


def images_needed(
    difference: float, counts: Sequence[Counts], auroc: float = AUROC, correlation: float = CORRELATION
) -> list[Counts] | None:
    """As few images as see this difference at 80 % power, every category grown in its proportions; None if too many."""

    def grown(factor: float) -> list[Counts]:
        return [Counts(math.ceil(c.normal * factor), math.ceil(c.anomalous * factor)) for c in counts]

    def enough(factor: float) -> bool:
        return smallest_difference(grown(factor), auroc, correlation) <= difference

    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, 2 * high
        if high * max(c.normal + c.anomalous for c in counts) > MOST_IMAGES:
            return None
    for _ in range(20):  # to a millionth
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return grown(high)
