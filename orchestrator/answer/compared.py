"""Every paired comparison of a study, corrected for how many distinct ones there are; and methods ranked."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.paired import ALPHA, Comparison, compare_pair
from adloc.answer.results import MACRO
from adloc.answer.sides import Sides
from adloc.uncertainty.multiple import Ranks, holm, rank_methods

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material

__all__ = ["ALPHA", "Comparison", "compare_settings", "rank_leads"]

METRICS_COMPARED = ("image_auroc", "image_f1", "pixel_auroc", "pixel_aupro")
MOST_PAIRS = 40
FEWEST_CATEGORIES = 5  # to rank methods over: below it no ranking can be told from chance


def compare_settings(material: Material) -> list[Comparison]:
    """Pairs of settings in every regime, macro first: all of the leads, and each setting with its method's lead.

    One family for each metric and level (macro, categories), over all regimes. Comparisons that are the same by
    construction count once in it: both kinds of threshold rank the same images by the same scores, and so does a
    model on shifted images before and after its threshold is calibrated again.
    """
    sides = Sides(material)
    pairs = {regime: list(_pairs(material, regime)) for regime in material.regimes}
    found: list[Comparison] = []
    for metric in METRICS_COMPARED:
        macro = _family(material, sides, metric, [MACRO], pairs)
        found += macro
        if len(material.categories) > 1 or not macro:
            found += _family(material, sides, metric, material.categories, pairs)
    order = {regime: place for place, regime in enumerate(material.regimes)}
    return sorted(found, key=lambda c: order[c.regime])


def _family(
    material: Material,
    sides: Sides,
    metric: str,
    categories: Sequence[str],
    pairs: dict[str, list[tuple[Setting, Setting]]],
) -> list[Comparison]:
    """Comparisons of one metric on one level, corrected for the number of distinct ones."""
    return correct(
        [
            c
            for regime, of_regime in pairs.items()
            for a, b in of_regime
            for category in categories
            if (c := compare_pair(material, sides, regime, category, metric, a, b)) is not None
        ]
    )


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """With Holm's p over the distinct comparisons; the same comparison has the same p wherever it stands."""
    distinct: dict[frozenset[str], float] = {}
    for c in comparisons:
        if c.test != "same scores":
            distinct.setdefault(c.figures, c.p)
    corrected = dict(zip(distinct, holm(list(distinct.values())), strict=True))
    return [replace(c, p_holm=corrected.get(c.figures, math.nan)) for c in comparisons]


def rank_leads(material: Material, regime: str, metric: str) -> tuple[list[Setting], Ranks, NDArray[np.float64]] | None:
    """The leads ranked over categories, with their figures => (settings, categories); None where these are too few."""
    settings = [s for s in material.leads if material.row(s, regime)]
    categories = list(material.plan.parts)
    if len(settings) < 2 or len(categories) < FEWEST_CATEGORIES:  # noqa: PLR2004  to compare
        return None
    values = np.array(
        [[material.row(s, regime)[c].record.metrics.get(metric) or math.nan for c in categories] for s in settings]
    )
    if np.isnan(values).any():
        return None
    return settings, rank_methods(values), values


def _pairs(material: Material, regime: str) -> Iterator[tuple[Setting, Setting]]:
    there = [s for s in material.shown if any(material.get(s, regime, c) for c in material.categories)]
    leads = [s for s in material.leads if s in there]
    pairs = list(itertools.combinations(leads, 2))
    for setting in there:
        lead = next((s for s in leads if s.method == setting.method and s.scope == setting.scope), None)
        if lead is not None and setting not in leads:
            pairs.append((lead, setting))
    yield from pairs[:MOST_PAIRS]
