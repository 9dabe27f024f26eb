"""One setting against another on the same test images: difference, interval, p and verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from adloc.answer.results import MACRO
from adloc.uncertainty.delong import compare_aurocs
from adloc.uncertainty.jackknife import influences, paired_test
from adloc.uncertainty.permutation import swap_p
from adloc.uncertainty.repeated import corrected_t
from adloc.uncertainty.resampling import Interval, bootstrap_p, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.influence import LeftOut
    from adloc.answer.material import Material

    Row = Mapping[str, Finding]

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
    material: Material, left_out: LeftOut, regime: str, category: str, metric: str, a: Setting, b: Setting
) -> Comparison | None:
    """Two settings on a category, or on the average of all; None where they were not tested on the same images.

    With two repeats and more that both have, it is the repeats that are compared, not the images of the first.
    """
    categories = list(material.plan.parts) if category == MACRO else [category]
    repeats = [
        pair
        for repeat in range(material.plan.spec.repeats)
        if (pair := _rows(material, regime, categories, metric, a, b, repeat)) is not None
    ]
    if not repeats:
        return None
    figures = frozenset(
        "".join(left_out.signature(f, metric) for pair in repeats for f in pair[side].values()) for side in (0, 1)
    )
    margin = material.plan.spec.comparison.margin
    if len(figures) == 1:
        none = Interval(0.0, 0.0)
        return Comparison(
            regime, category, metric, a, b, 0.0, none, none, margin, "same scores", 1.0, figures
        )  # fmt: skip
    found = _over_repeats(repeats, metric) if len(repeats) > 1 else _over_images(*repeats[0], metric, left_out)
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


def _rows(
    material: Material, regime: str, categories: Sequence[str], metric: str, a: Setting, b: Setting, repeat: int
) -> tuple[Row, Row] | None:
    """Runs of both by category, where every one is there, has the metric and is of the same images as its partner."""
    rows: tuple[dict[str, Finding], dict[str, Finding]] = ({}, {})
    for category in categories:
        pair = [material.get(s, regime, category, repeat) for s in (a, b)]
        for row, finding in zip(rows, pair, strict=True):
            if finding is None or finding.record.metrics.get(metric) is None:
                return None
            row[category] = finding
        if rows[0][category].test.names != rows[1][category].test.names:
            return None
    return rows


def _difference(one: Row, other: Row, metric: str) -> float:
    figures = [[f.record.metrics[metric] for f in row.values()] for row in (one, other)]
    first, second = (float(np.mean([v for v in values if v is not None])) for values in figures)
    return first - second


def _over_repeats(repeats: Sequence[tuple[Row, Row]], metric: str) -> _Tested:
    records = [f.record for one, _ in repeats for f in one.values()]
    n_test, n_train = (float(np.mean([getattr(r, name) for r in records])) for name in ("n_test", "n_train"))
    found = corrected_t([_difference(one, other, metric) for one, other in repeats], n_test, n_train)
    return _Tested(found.difference, found.interval(), found.interval(EQUIVALENCE_LEVEL), "repeats", found.p)


def _over_images(one: Row, other: Row, metric: str, left_out: LeftOut) -> _Tested | None:
    drawn = _drawn(one, other, metric)
    if drawn is None:
        return None
    labels = [f.test.labels for f in one.values()]
    n_images = min(sum(int((part == kind).sum()) for part in labels) for kind in (True, False))
    difference = _difference(one, other, metric)
    test, p = _p(one, other, metric, left_out, difference)
    if math.isnan(p):
        test, p = "bootstrap", bootstrap_p(drawn, n_images)
    interval, equivalence = (percentile_interval(drawn, n_images, level) for level in (1 - ALPHA, EQUIVALENCE_LEVEL))
    return _Tested(difference, interval, equivalence, test, p)


def _drawn(one: Row, other: Row, metric: str) -> NDArray[np.float64] | None:
    """The difference in every resample."""
    found: list[NDArray[np.float64]] = []
    for row in (one, other):
        arrays = [f.replicates[metric] for f in row.values() if metric in f.replicates]
        if len(arrays) < len(row):
            return None
        n = min(map(len, arrays))
        found.append(np.asarray(np.mean([values[:n] for values in arrays], axis=0, dtype=np.float64)))
    n = min(map(len, found))
    differences = np.asarray(found[0][:n] - found[1][:n], dtype=np.float64)
    differences[np.abs(differences) < _ROUNDING] = 0.0
    return differences if n else None


def _p(one: Row, other: Row, metric: str, left_out: LeftOut, difference: float) -> tuple[Test, float]:
    """By the test that fits; nan where none does."""
    fewest = min(int((f.test.labels == kind).sum()) for f in one.values() for kind in (True, False))
    if metric == "image_auroc" and len(one) == 1:
        (first,), (second,) = one.values(), other.values()
        scores, labels = (first.test.scores, second.test.scores), first.test.labels
        if fewest >= FEWEST_OF_CLASS:
            found = compare_aurocs(*scores, labels)
            if found.standard_error > 0:
                return "DeLong", found.p
        if fewest > 0:
            return "permutation", swap_p(*scores, labels)
    if fewest < FEWEST_OF_CLASS:
        return "jackknife", math.nan
    strata = []
    for first, second in zip(one.values(), other.values(), strict=True):
        figures = [left_out.replicates(f, metric) for f in (first, second)]
        if figures[0] is None or figures[1] is None:
            return "jackknife", math.nan
        labels = first.test.labels
        moved = influences(figures[0], labels) - influences(figures[1], labels)
        strata += [moved[labels], moved[~labels]]
    return "jackknife", paired_test(difference, strata, len(one)).p
