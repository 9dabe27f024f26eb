"""The first section: what the study found, in a few sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.claims import answer_in_three
from adloc.report.charts import figures as charts
from adloc.report.section import Section

if TYPE_CHECKING:
    from adloc.answer.compared import Comparison
    from adloc.answer.material import Material


def answer(material: Material, comparisons: list[Comparison]) -> Section | None:
    """What the study found."""
    if not material.findings:
        return None
    return Section(
        "answer", "The answer", answer_in_three(material, comparisons), figures=tuple(charts.overview(material))
    )
