"""Many comparisons: Holm's correction, and methods ranked over many categories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def holm(ps: Sequence[float]) -> list[float]:
    """The p values corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979).

    Those that are nan stay nan and are not counted.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
        [0.03, 0.06, 0.06, 0.02]
    """
    corrected = [math.nan] * len(ps)
    defined = sorted((p, index) for index, p in enumerate(ps) if not math.isnan(p))
    highest = 0.0
    for place, (p, index) in enumerate(defined):
        highest = max(highest, min(1.0, (len(defined) - place) * p))
        corrected[index] = highest
    return corrected


def wilcoxon_p(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test over categories; 1 when no category differs."""
    from scipy.stats import wilcoxon  # its import takes a second, and few studies have so many categories

    if not np.any(a != b):
        return 1.0
    return float(wilcoxon(a, b).pvalue)


@dataclass(frozen=True, slots=True)
class Ranks:
    """Methods ranked in each category, 1 = best, and averaged.

    Attributes:
        average: of each method, in the order given.
        friedman_p: of "all rank alike"; nan for two methods.
        critical_difference: average ranks that lie less apart are not told apart (Nemenyi, level 5 %).
    """

    average: tuple[float, ...]
    friedman_p: float
    critical_difference: float


def rank_methods(values: NDArray[np.floating]) -> Ranks:
    """Average ranks with Nemenyi's critical difference. Demsar, JMLR 7, 2006, section 3.2.

    Args:
        values: (methods, categories), higher is better; ties share their mean rank.
    """
    from scipy.stats import friedmanchisquare, rankdata

    n_methods, n_categories = values.shape
    ranks = np.apply_along_axis(rankdata, 0, -values)
    constant = bool((ranks == ranks[0]).all())
    friedman = math.nan
    if n_methods > 2:  # noqa: PLR2004  Friedman's test is for three and more
        friedman = 1.0 if constant else float(friedmanchisquare(*values).pvalue)
    return Ranks(tuple(float(v) for v in ranks.mean(axis=1)), friedman, critical_difference(n_methods, n_categories))


def critical_difference(n_methods: int, n_categories: int, level: float = 0.05) -> float:
    """Nemenyi's critical difference of average ranks."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - level, n_methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(n_methods * (n_methods + 1) / (6 * n_categories))
