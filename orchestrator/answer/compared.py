"""Paired comparisons: settings on the same images, corrected for their number; and over many categories."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.results import MACRO
from adloc.uncertainty.delong import compare_aurocs
from adloc.uncertainty.multiple import Ranks, holm, rank_methods
from adloc.uncertainty.resampling import Interval, bootstrap_p, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from adloc.answer.material import Finding, Material, Setting

METRICS_COMPARED = ("image_auroc", "image_f1", "pixel_auroc", "pixel_aupro")
ALPHA = 0.05
MOST_PAIRS = 40
FEWEST_CATEGORIES = 5  # to rank methods over: below it no ranking can be told from chance


@dataclass(frozen=True, slots=True)
class Comparison:
    """One setting against another on the same test images.

    Attributes:
        regime: in which both were evaluated.
        category: or "macro".
        metric: result column.
        first: setting.
        second: setting.
        difference: first minus second.
        interval: of the difference, by the paired bootstrap.
        p: of "no difference", by the paired bootstrap.
        p_delong: the same by DeLong's test; nan where it does not apply.
        p_holm: `p` corrected for all comparisons of this regime and metric on the same level (macro, categories).
    """

    regime: str
    category: str
    metric: str
    first: Setting
    second: Setting
    difference: float
    interval: Interval
    p: float
    p_delong: float
    p_holm: float = math.nan

    @property
    def verdict(self) -> str:
        """In words."""
        if math.isnan(self.p_holm):
            return "not tested"
        if self.p_holm >= ALPHA:
            return "inside the noise"
        return "first better" if self.difference > 0 else "second better"


def compare_settings(material: Material) -> list[Comparison]:
    """Pairs of settings in every regime, macro first: all of the leads, and each setting with its method's lead."""
    found: list[Comparison] = []
    for regime in material.regimes:
        pairs = list(_pairs(material, regime))
        for metric in METRICS_COMPARED:
            macro = [c for a, b in pairs if (c := compare_macro(material, regime, metric, a, b)) is not None]
            found += _corrected(macro)
            if len(material.categories) > 1 or not macro:
                single = [
                    c
                    for a, b in pairs
                    for category in material.categories
                    if (c := _single(material, regime, category, metric, a, b)) is not None
                ]
                found += _corrected(single)
    return found


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
    there = [s for s in material.settings if any(material.get(s, regime, c) for c in material.categories)]
    leads = [s for s in material.leads if s in there]
    pairs = list(itertools.combinations(leads, 2))
    for setting in there:
        lead = next((s for s in leads if s.method == setting.method and s.scope == setting.scope), None)
        if lead is not None and setting is not lead and setting not in leads:
            pairs.append((lead, setting))
    yield from pairs[:MOST_PAIRS]


def compare_macro(material: Material, regime: str, metric: str, a: Setting, b: Setting) -> Comparison | None:
    """One pair's averages over the categories, p not corrected; None where they were not tested on the same images."""
    if not _same_images(material.row(a, regime), material.row(b, regime)):
        return None
    drawn = [material.macro_replicates(s, regime, metric) for s in (a, b)]
    difference = material.macro(a, regime, metric) - material.macro(b, regime, metric)
    return _comparison(regime, MACRO, metric, a, b, difference, drawn, math.nan, material.n_images(a, regime))


def _single(material: Material, regime: str, category: str, metric: str, a: Setting, b: Setting) -> Comparison | None:
    one, other = material.get(a, regime, category), material.get(b, regime, category)
    if one is None or other is None or not _same_images({category: one}, {category: other}):
        return None
    values = [f.record.metrics.get(metric) for f in (one, other)]
    if values[0] is None or values[1] is None or metric not in one.replicates or metric not in other.replicates:
        return None
    p_delong = math.nan
    labels = one.test.labels
    if metric == "image_auroc" and min(labels.sum(), (~labels).sum()) > 1:
        p_delong = compare_aurocs(one.test.scores, other.test.scores, labels).p
    drawn = [f.replicates[metric] for f in (one, other)]
    return _comparison(regime, category, metric, a, b, values[0] - values[1], drawn, p_delong, one.n_images)


def _comparison(
    regime: str,
    category: str,
    metric: str,
    a: Setting,
    b: Setting,
    difference: float,
    drawn: list[NDArray[np.float32]],
    p_delong: float,
    n_images: int,
) -> Comparison | None:
    n = min(len(drawn[0]), len(drawn[1]))
    if n == 0 or math.isnan(difference):
        return None
    differences = (drawn[0][:n] - drawn[1][:n]).astype(np.float64)
    differences[np.abs(differences) < 1e-7] = 0.0  # noqa: PLR2004  rounding of float32 is no difference
    between, p = percentile_interval(differences, n_images), bootstrap_p(differences, n_images)
    return Comparison(regime, category, metric, a, b, difference, between, p, p_delong)


def _corrected(comparisons: list[Comparison]) -> list[Comparison]:
    corrected = holm([c.p for c in comparisons])
    return [replace(c, p_holm=p) for c, p in zip(comparisons, corrected, strict=True)]


def _same_images(a: dict[str, Finding], b: dict[str, Finding]) -> bool:
    return bool(a) and a.keys() == b.keys() and all(a[c].test.names == b[c].test.names for c in a)
