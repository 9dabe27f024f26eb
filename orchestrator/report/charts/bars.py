"""Bars of signed figures, one below the other, grouped under a word."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.report.charts.drawing import N_SERIES, Drawing, text_width
from adloc.report.charts.lines import WIDTH, cut

if TYPE_CHECKING:
    from collections.abc import Sequence

BAR, GAP, HEAD = 11.0, 9.0, 16.0  # heights in units of the page
ROOM = 48.0  # for the figure at the end of a bar


@dataclass(frozen=True, slots=True)
class BarGroup:
    """What stands under one word.

    Attributes:
        label: the word.
        values: one bar each, in the order of the series; nan leaves it out.
    """

    label: str
    values: Sequence[float]


def bar_chart(title: str, axis: str, groups: Sequence[BarGroup], series: Sequence[str]) -> Drawing:
    """Horizontal bars from a common zero, the figure written at the end of each.

    Args:
        title: what it shows.
        axis: of the figures, with the unit.
        groups: from top to bottom.
        series: names of the bars of a group, for the legend; left out where there is one.
    """
    legend = 18.0 if len(series) > 1 else 0.0
    top = 24 + legend
    block = HEAD + BAR * len(series) + GAP
    drawing = Drawing(WIDTH, top + block * len(groups) + 20, title)
    drawing.text(0, 12, cut(title, WIDTH, 12), colour="ink", size=12)
    x = 0.0
    for index, name in enumerate(series if legend else ()):
        drawing.rect(x, 22, 10, 10, f"s{index % N_SERIES}")
        drawing.text(x + 14, 31, name)
        x += 28 + text_width(name)
    known = [v for group in groups for v in group.values if math.isfinite(v)]
    low, high = min([0.0, *known]), max([0.0, *known])
    left = ROOM if low < 0 else 0.0
    unit = (WIDTH - left - ROOM) / ((high - low) or 1.0)
    zero = left - low * unit
    for number, group in enumerate(groups):
        y = top + block * number
        drawing.text(0, y + 11, group.label, colour="ink")
        for index, value in enumerate(group.values):
            if not math.isfinite(value):
                continue
            place = y + HEAD + BAR * index
            start, end = sorted((zero, zero + value * unit))
            drawing.rect(start, place, max(end - start, 0.5), BAR - 2, f"s{index % N_SERIES}")
            shown = f"{value:+.3f}"
            if value < 0:
                drawing.text(start - 4, place + 8, shown, "end", size=10)
            else:
                drawing.text(end + 4, place + 8, shown, size=10)
    drawing.line([(zero, top), (zero, top + block * len(groups))], "faint")
    drawing.text(WIDTH / 2, top + block * len(groups) + 14, axis, "middle")
    return drawing
