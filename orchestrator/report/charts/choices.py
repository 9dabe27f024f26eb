"""Charts of ablations over choices: a matrix for two parameters, intervals for one that is no number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.answer.material import REGIME_TITLES, title_of
from adloc.answer.varied import pivots, setting_with, varied
from adloc.report.charts.figure import Figure, safe
from adloc.report.charts.grids import matrix_chart
from adloc.report.charts.lines import Axis, Estimate, interval_chart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.answer.varied import Varied

METRICS_SHOWN = ("image_auroc", "pixel_aupro")


def kind_of(lead: Setting) -> str:
    """The method, and its scope where that is not a model for each category."""
    own = lead.scope == "category" and lead.threshold_scope == "category"
    return lead.method if own else f"{lead.method}, {lead.scope}, {lead.threshold_scope} threshold"


def suffix_of(lead: Setting) -> str:
    """Tells the files of a method's leads apart; "" for a model and a threshold for each category."""
    own = lead.scope == "category" and lead.threshold_scope == "category"
    return "" if own else f"_{lead.scope}_{lead.threshold_scope}"


def pivot_charts(material: Material, lead: Setting) -> Iterator[Figure]:
    """Two parameters against each other; the cell that the validation part chose is ringed."""
    for pivot in pivots(material, lead):
        for metric in METRICS_SHOWN:
            cells = pivot.figures(material, metric)
            if not any(v is not None for row in cells for v in row):
                continue
            title = f"{kind_of(lead)}: {title_of(metric)}, {REGIME_TITLES[material.regimes[0]]}"
            chosen = (pivot.chosen.row, pivot.chosen.column) if pivot.chosen else None
            heads = (pivot.rows.name, pivot.columns.name)
            chart = matrix_chart(title, pivot.rows.words, pivot.columns.words, cells, heads, ringed=chosen)
            name = f"grid_{lead.method}_{pivot.rows.name}_{pivot.columns.name}_{metric}{suffix_of(lead)}"
            yield Figure(safe(name), chart, key=metric == "image_auroc" and not suffix_of(lead))


def choice_charts(material: Material, lead: Setting) -> Iterator[Figure]:
    """A parameter that is no number, the others as the lead has them: one row a value."""
    for parameter in varied(material, lead.method):
        if not parameter.numeric:
            for metric in METRICS_SHOWN:
                estimates = _estimates(material, lead, parameter, metric)
                if len(estimates) > 1:
                    title = f"{kind_of(lead)}: {title_of(metric)} over {parameter.name}"
                    axis = Axis(f"{title_of(metric)}, with 95 % interval")
                    name = f"ablation_{lead.method}_{parameter.name}_{metric}{suffix_of(lead)}"
                    key = metric == "image_auroc" and not suffix_of(lead)
                    yield Figure(safe(name), interval_chart(title, axis, estimates), key=key)


def _estimates(material: Material, lead: Setting, parameter: Varied, metric: str) -> list[Estimate]:
    found: list[Estimate] = []
    for index, (value, word) in enumerate(zip(parameter.values, parameter.words, strict=True)):
        setting = setting_with(material, lead, {parameter.name: value})
        figure = material.macro(setting, material.regimes[0], metric) if setting else math.nan
        if setting is None or math.isnan(figure):
            continue
        between = material.interval(setting, material.regimes[0], metric)
        validated = setting is lead and not math.isnan(material.validated(lead))
        found.append(Estimate(f"{word} (chosen)" if validated else word, figure, between.low, between.high, index))
    return found
