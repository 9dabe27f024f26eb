"""The sections made of charts: score distributions, curves, trade-offs."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from adloc.report.charts import figures as charts
from adloc.report.section import Section

if TYPE_CHECKING:
    from adloc.answer.material import Material


def distributions(material: Material) -> Section | None:
    """The score of every image, with the thresholds."""
    made = tuple(charts.distributions(material))
    if not made:
        return None
    text = (
        "Each dot is an image. A threshold serves where it parts the two clouds, in the part it was not chosen on too."
    )
    return Section("scores", "Score distributions", (text,), figures=made, notes=_left_out(material))


def curves(material: Material) -> Section | None:
    """ROC, precision-recall and PRO curves."""
    made = tuple(charts.curves(material))
    return Section("curves", "Curves", (), figures=made, notes=_left_out(material)) if made else None


def trade_offs(material: Material) -> Section | None:
    """Accuracy against cost, and ablations."""
    made = (*charts.trade_offs(material), *islice(charts.ablations(material), 60))
    if not made:
        return None
    text = (
        "Ringed points: no other setting is both cheaper and better on the validation part. Curves of a swept "
        "parameter hold the others at the setting with the best validation figure; their bands are 95 % intervals."
    )
    return Section("trade-offs", "Trade-offs and ablations", (text,), figures=made)


def _left_out(material: Material) -> tuple[str, ...]:
    if len(material.categories) <= charts.MOST_CATEGORIES and len(material.settings) == len(material.leads):
        return ()
    return (
        f"Charts show the leads (of each method the setting with the best validation figure) in at most "
        f"{charts.MOST_CATEGORIES} categories; the tables have everything.",
    )
