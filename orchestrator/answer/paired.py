"""One setting against another on the same test images: difference, interval, p and verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from adloc.uncertainty.delong import compare_aurocs
from adloc.uncertainty.jackknife import paired_test
from adloc.uncertainty.permutation import swap_p
from adloc.uncertainty.repeated import corrected_t
from adloc.uncertainty.resampling import Interval, bootstrap_p, percentile_intervals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.answer.sides import Side, Sides

ALPHA = 0.05
EQUIVALENCE_LEVEL = 1 - 2 * ALPHA  # an interval at 90 % inside the margin is two one-sided tests at 5 %
FEWEST_OF_CLASS = 5  # images: below it no normal approximation is trusted
_ROUNDING = 1e-7  # of float32: nearer is no difference

Test = Literal["DeLong", "permutation", "jackknife", "bootstrap", "repeats", "same scores"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One setting against another on the same test images.

    Attributes:
        regime: in which both were evaluated.
        category: or "macro".
        metric: result column.
        first: setting.
        second: setting.
        difference: first minus second; the mean over repeats where there are several.
        interval: of the difference, by the paired bootstrap; over repeats by the corrected t.
        equivalence: the same at 90 %.
        margin: differences within it do not matter.
        test: that gave p.
        p: of "no difference", not corrected: never to be shown.
        figures: what was compared; equal for comparisons that are the same by construction, one for the same scores.
        p_holm: `p` corrected for all distinct comparisons of this metric on the same level (macro, categories).
    """

    regime: str
    category: str
    metric: str
    first: Setting
    second: Setting
    difference: float
    interval: Interval
    equivalence: Interval
    margin: float
    test: Test
    p: float
    figures: frozenset[str]
    p_holm: float = math.nan

    @property
    def verdict(self) -> str:
        """In words: equal where the difference surely does not matter, better where there surely is one."""
        if self.test == "same scores" or (
            self.equivalence.low < self.equivalence.high
            and -self.margin <= self.equivalence.low
            and self.equivalence.high <= self.margin
        ):
            return f"equal within {self.margin:g}"
        if math.isnan(self.p_holm):
            return "not tested"
        if self.p_holm >= ALPHA:
            return "not told apart"
        return "first better" if self.difference > 0 else "second better"


def compare_pair(
    material: Material, sides: Sides, regime: str, category: str, metric: str, a: Setting, b: Setting
) -> Comparison | None:
    """Two settings on a category, or on the average of all; None where they were not tested on the same images.

    With two repeats and more that both have, it is the repeats that are compared, not the images of the first.
    """
    repeats: list[tuple[Side, Side]] = []
    for repeat in range(material.plan.spec.repeats):
        one, other = (sides.get(s, regime, category, metric, repeat) for s in (a, b))
        if one is not None and other is not None and one.names == other.names:
            repeats.append((one, other))
    if not repeats:
        return None
    figures = frozenset("".join(pair[side].signature for pair in repeats) for side in (0, 1))
    margin = material.plan.spec.comparison.margin
    if len(figures) == 1:
        none = Interval(0.0, 0.0)
        return Comparison(
            regime, category, metric, a, b, 0.0, none, none, margin, "same scores", 1.0, figures
        )  # fmt: skip
    found = _over_repeats(repeats) if len(repeats) > 1 else _over_images(*repeats[0])
    if found is None:
        return None
    return Comparison(
        regime, category, metric, a, b, found.difference, found.interval, found.equivalence, margin, found.test,
        found.p, figures,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Tested:
    difference: float
    interval: Interval
    equivalence: Interval
    test: Test
    p: float


def _over_repeats(repeats: Sequence[tuple[Side, Side]]) -> _Tested:
    records = [f.record for one, _ in repeats for f in one.findings]
    n_test, n_train = (float(np.mean([getattr(r, name) for r in records])) for name in ("n_test", "n_train"))
    found = corrected_t([one.figure - other.figure for one, other in repeats], n_test, n_train)
    return _Tested(found.difference, found.interval(), found.interval(EQUIVALENCE_LEVEL), "repeats", found.p)


def _over_images(one: Side, other: Side) -> _Tested | None:
    drawn = _drawn(one, other)
    if drawn is None:
        return None
    difference = one.figure - other.figure
    test, p = _p(one, other, difference)
    if math.isnan(p):
        test, p = "bootstrap", bootstrap_p(drawn, one.n_rarer)
    interval, equivalence = percentile_intervals(drawn, one.n_rarer, (1 - ALPHA, EQUIVALENCE_LEVEL))
    return _Tested(difference, interval, equivalence, test, p)


def _drawn(one: Side, other: Side) -> NDArray[np.float64] | None:
    """The difference in every resample."""
    if one.drawn is None or other.drawn is None:
        return None
    n = min(len(one.drawn), len(other.drawn))
    differences = np.asarray(one.drawn[:n] - other.drawn[:n], dtype=np.float64)
    differences[np.abs(differences) < _ROUNDING] = 0.0
    return differences if n else None


def _p(one: Side, other: Side, difference: float) -> tuple[Test, float]:
    """By the test that fits; nan where none does."""
    if one.metric == "image_auroc" and len(one.findings) == 1:
        scores = one.findings[0].test.scores, other.findings[0].test.scores
        labels = one.labels[0]
        if one.fewest >= FEWEST_OF_CLASS:
            found = compare_aurocs(*scores, labels)
            if found.standard_error > 0:
                return "DeLong", found.p
        if one.fewest > 0:
            return "permutation", swap_p(*scores, labels)
    if one.fewest < FEWEST_OF_CLASS or one.influences is None or other.influences is None:
        return "jackknife", math.nan
    strata = []
    for first, second, labels in zip(one.influences, other.influences, one.labels, strict=True):
        moved = first - second
        strata += [moved[labels], moved[~labels]]
    return "jackknife", paired_test(difference, strata, len(one.findings)).p
