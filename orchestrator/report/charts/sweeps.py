"""Charts of ablations over numbers: every swept parameter against accuracy and cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.material import REGIME_TITLES
from adloc.answer.varied import setting_with
from adloc.metrics.registry import METRICS
from adloc.report.charts.choices import kind_of, suffix_of
from adloc.report.charts.figure import Figure, safe
from adloc.report.charts.lines import Axis, Series, line_chart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material

METRICS_SWEPT = ("image_auroc", "pixel_aupro", "pixel_auroc", "model_mb", "fit_s", "score_ms_per_image")
MOST_BANDS = 12  # points of a curve with an interval at each
MOST_TICKS = 6
MOST_RADII = 8  # categories in the chart of covering radii
WIDE = 5  # from the smallest value to the largest, above which the axis is logarithmic
MOVED = 1.02  # the largest cost over the smallest, below which it does not depend on the parameter


@dataclass(frozen=True, slots=True)
class _Sweep:
    """A parameter's values, the others as the lead has them.

    Attributes:
        material: of the report.
        lead: chosen on the validation part.
        name: of the parameter.
        along: the settings by value, ascending; two at least.
    """

    material: Material
    lead: Setting
    name: str
    along: dict[float, Setting]

    def figure(self, what: str, title: str, unit: str, lines: list[Series]) -> Figure:
        """The chart of lines over the parameter."""
        low, high = min(self.along), max(self.along)
        ticks = tuple((v, f"{v:g}") for v in self.along) if len(self.along) <= MOST_TICKS else ()
        x_axis = Axis(self.name, log=low > 0 and high / low > WIDE, ticks=ticks)
        y_axis = Axis(f"{title}, {unit}" if unit else title)
        suffix = suffix_of(self.lead)
        return Figure(
            safe(f"ablation_{self.lead.method}_{self.name}_{what}") + suffix,
            line_chart(f"{kind_of(self.lead)}: {title} over {self.name}", x_axis, y_axis, lines),
            key=what == "image_auroc" and not suffix,
        )


def sweep_charts(material: Material, lead: Setting) -> Iterator[Figure]:
    """A chart a swept parameter and metric, and of the covering radius where there are coresets."""
    for name, values in material.swept.get(lead.method, {}).items():
        along = {v: s for v in values if (s := setting_with(material, lead, {name: v})) is not None}
        if len(along) < 2:  # noqa: PLR2004  one point is no curve
            continue
        sweep = _Sweep(material, lead, name, along)
        for metric in METRICS_SWEPT:
            lines = _over_regimes(sweep, metric)
            if lines:
                yield sweep.figure(metric, METRICS[metric].title, METRICS[metric].unit, lines)
        radii = _covering_radii(sweep)
        if radii:
            yield sweep.figure("covering_radius", "covering radius", "projected units", radii)


def _over_regimes(sweep: _Sweep, metric: str) -> list[Series]:
    """A line a regime; of a cost that of the first regime, where it depends on the parameter."""
    lines = [_in_regime(sweep, metric, regime) for regime in sweep.material.regimes]
    lines = [s for s in lines if len(s.x) > 1]
    if METRICS[metric].level == "cost":
        return [s for s in lines[:1] if max(s.y) > MOVED * min(s.y)]
    return lines


def _in_regime(sweep: _Sweep, metric: str, regime: str) -> Series:
    """The averages over categories that are known, with their intervals where the points are few."""
    material = sweep.material
    figures = {v: material.macro(s, regime, metric) for v, s in sweep.along.items()}
    points = {v: y for v, y in figures.items() if math.isfinite(y)}
    few = points if len(points) <= MOST_BANDS else {}
    between = [material.interval(sweep.along[v], regime, metric) for v in few]
    if not all(math.isfinite(b.low) for b in between):
        between = []
    return Series(
        REGIME_TITLES[regime],
        list(points),
        list(points.values()),
        [b.low for b in between],
        [b.high for b in between],
        material.regimes.index(regime),
    )


def _covering_radii(sweep: _Sweep) -> list[Series]:
    """A line a category, in the first regime; none where no radius depends on the parameter."""
    material = sweep.material
    lines: list[Series] = []
    for category in material.categories:
        found = [(v, material.get(s, material.regimes[0], category)) for v, s in sweep.along.items()]
        facts = [(v, f.record.facts) for v, f in found if f]
        points = {v: of["covering_radius"] for v, of in facts if "covering_radius" in of}
        if len(points) > 1:
            lines.append(Series(category, list(points), list(points.values()), colour=len(lines)))
    return lines[:MOST_RADII] if any(len(set(s.y)) > 1 for s in lines) else []
