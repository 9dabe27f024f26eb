"""Paired comparisons of settings, and whether their differences are more than noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.answer.compared import ALPHA, METRICS_COMPARED, MOST_PAIRS, rank_leads
from adloc.answer.material import REGIME_TITLES, title_of
from adloc.answer.paired import FEWEST_OF_CLASS
from adloc.answer.results import MACRO
from adloc.report.charts import figures as charts
from adloc.report.section import Section
from adloc.report.tables import Table, figure, words
from adloc.uncertainty.multiple import wilcoxon_p
from adloc.uncertainty.resampling import N_RESAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.compared import Comparison
    from adloc.answer.material import Material
    from adloc.report.tables import Cell


def compared(material: Material, comparisons: Sequence[Comparison]) -> Section | None:
    """Paired differences, corrected for their number."""
    if not comparisons:
        return None
    heads = ("category", "regime", "metric", "first", "second", "difference", "test",
             "p, Holm", "verdict")  # fmt: skip
    rows = [
        (
            words(c.category), words(REGIME_TITLES[c.regime]), words(title_of(c.metric)), words(c.first.label),
            words(c.second.label), figure(c.difference, 3, c.interval, signed=True), words(c.test), _p(c.p_holm),
            words(c.verdict, "" if c.verdict in ("not told apart", "not tested") else "good"),
        )
        for c in sorted(comparisons, key=lambda c: c.category != MACRO)
    ]  # fmt: skip
    margin = comparisons[0].margin
    n_apart, n_equal, n_open = (
        sum(c.verdict.endswith(end) for c in comparisons) for end in ("better", f"within {margin:g}", "told apart")
    )
    text = [
        f"{len(comparisons)} paired comparisons on the same test images: in {n_apart} one setting is better (corrected "
        f"p below {ALPHA:g}), in {n_equal} both are equal within {margin:g}, in {n_open} they are not told apart: "
        "that is no sign of equality, only too few images to say."
    ]
    notes = [
        f"Interval by a paired bootstrap ({N_RESAMPLES} resamples). p by DeLong's test for AUROC, by a paired "
        f"permutation where a class has fewer than {FEWEST_OF_CLASS} images, else by the jackknife over images; with "
        "repeats, interval and p are of the differences between repeats (corrected resampled t test). Holm's "
        "correction is for all distinct comparisons of a metric, averages and single categories apart; comparisons "
        "that are the same by construction count once. Equal: the 90 % interval lies within the margin (two one-sided "
        "tests at 5 %); the margin stands in the study file. A setting is compared with the lead of its method and "
        f"leads with each other, at most {MOST_PAIRS} pairs a regime; the lead is the setting with the best "
        "validation figure."
    ]
    for regime in material.regimes[:1]:
        for metric in METRICS_COMPARED:
            ranked = rank_leads(material, regime, metric)
            if ranked is None:
                continue
            settings, found, values = ranked
            named = ", ".join(f"{s.label} {r:.2f}" for s, r in zip(settings, found.average, strict=True))
            if len(settings) == 2:  # noqa: PLR2004  Wilcoxon's test is for two
                text.append(f"Over {values.shape[1]} categories, {title_of(metric)}: Wilcoxon p "
                            f"{wilcoxon_p(*values):.3g}; "
                            f"average ranks {named}.")  # fmt: skip
            else:
                text.append(f"Over {values.shape[1]} categories, {title_of(metric)}: Friedman p "
                            f"{found.friedman_p:.3g}; "
                            f"average ranks {named}; critical difference {found.critical_difference:.2f}.")  # fmt: skip
    table = Table("comparisons", "Paired comparisons of settings, on the same images", heads, tuple(rows),
                  ("category", "regime", "metric", "verdict"))  # fmt: skip
    return Section(
        "comparisons", "Differences and noise", tuple(text), (table,), tuple(charts.ranks(material)), tuple(notes)
    )


def _p(value: float) -> Cell:
    if math.isnan(value):
        return words("")
    cell = figure(value, 3)
    return figure(value, 4) if value < 0.01 else cell  # noqa: PLR2004
