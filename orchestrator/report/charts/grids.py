"""Charts without a plot area: matrices, bars, ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.report.charts.drawing import N_SERIES, Drawing, text_width
from adloc.report.charts.lines import WIDTH, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def matrix_chart(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    heads: tuple[str, str] = ("", ""),
    form: Callable[[float], str] = "{:.3f}".format,
    span: tuple[float, float] | None = None,
    ringed: tuple[int, int] | None = None,
) -> Drawing:
    """A grid of numbers on colours, from pale to deep.

    Args:
        title: what it shows.
        rows: names of the rows.
        columns: names of the columns.
        values: (rows, columns); None leaves a cell empty.
        heads: what rows and columns are.
        form: writes a value.
        span: values of the palest and the deepest colour; the extremes by default.
        ringed: row and column of the cell that the validation part chose.
    """
    left = min(150, 12 + max(text_width(r) for r in (*rows, heads[0])))
    cell = max(30.0, min(84.0, (WIDTH - left - 8) / len(columns)))
    drawing = Drawing(max(WIDTH, left + cell * len(columns) + 8), 62 + 30 * len(rows) + (24 if ringed else 6), title)
    drawing.text(0, 12, title, colour="ink", size=12)
    known = [v for row in values for v in row if v is not None]
    low, high = span or (min(known, default=0), max(known, default=1))
    drawing.text(left, 32, heads[1])
    drawing.text(0, 52, heads[0])
    for j, name in enumerate(columns):
        drawing.text(left + cell * (j + 0.5), 52, cut(name, cell), "middle")
    for i, name in enumerate(rows):
        top = 60 + 30 * i
        drawing.text(0, top + 19, cut(name, left - 6), colour="ink")
        for j, value in enumerate(values[i]):
            if value is None:
                continue
            depth = (value - low) / (high - low) if high > low else 0.0
            drawing.rect(left + cell * j + 1, top + 1, cell - 2, 28, _blue(depth))
            ink = "#ffffff" if depth > 0.5 else "#1d2128"  # noqa: PLR2004
            drawing.text(left + cell * (j + 0.5), top + 19, form(value), "middle", ink, 11 if cell > 40 else 9)  # noqa: PLR2004
    if ringed is not None:
        x, y = left + cell * ringed[1] + 2, 62 + 30 * ringed[0]
        corners = [(x, y), (x + cell - 4, y), (x + cell - 4, y + 26), (x, y + 26), (x, y)]
        drawing.line(corners, "anomalous", 3)
        drawing.text(0, 62 + 30 * len(rows) + 16, "framed: chosen on the validation part")
    return drawing


def bar_chart(title: str, names: Sequence[str], values: Sequence[float], unit: str = "") -> Drawing:
    """Lengths beside names, the first on top."""
    drawing = Drawing(WIDTH, 30 + 32 * len(names), title)
    drawing.text(0, 12, title, colour="ink", size=12)
    longest = max([*values, 1e-12])
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        top = 24 + 32 * number
        drawing.text(0, top + 10, name, colour="ink")
        drawing.rect(0, top + 14, max(1.0, (WIDTH - 60) * value / longest), 9, "s0")
        drawing.text((WIDTH - 60) * value / longest + 6, top + 23, f"{value:.2f}{unit}")
    return drawing


def rank_chart(title: str, names: Sequence[str], ranks: Sequence[float], critical: float) -> Drawing:
    """A critical-difference plot: average ranks on a line, those that are not told apart joined (Demsar 2006)."""
    order = sorted(range(len(names)), key=lambda i: ranks[i])
    groups: list[tuple[int, int]] = []
    for first in range(len(order)):
        last = max(j for j in range(first, len(order)) if ranks[order[j]] - ranks[order[first]] <= critical)
        if last > first and not any(a <= first and last <= b for a, b in groups):
            groups.append((first, last))
    top = 84 + 9 * len(groups)
    drawing = Drawing(WIDTH, top + 20 * len(names) + 6, title)
    drawing.text(0, 12, title, colour="ink", size=12)

    def at(rank: float) -> float:
        return 16 + (rank - 1) / max(1, len(names) - 1) * (WIDTH - 32)

    drawing.line([(16, 30), (min(WIDTH - 16, 16 + at(1 + critical) - at(1)), 30)], "ink", 2)
    drawing.text(16, 45, f"critical difference {critical:.2f}")
    drawing.line([(16, 66), (WIDTH - 16, 66)], "faint")
    for tick in range(1, len(names) + 1):
        drawing.line([(at(tick), 63), (at(tick), 69)], "faint")
        drawing.text(at(tick), 60, str(tick), "middle")
    for number, (first, last) in enumerate(groups):
        y = 76 + 9 * number
        drawing.line([(at(ranks[order[first]]) - 4, y), (at(ranks[order[last]]) + 4, y)], "ink", 3)
    for place, index in enumerate(order):
        x, y = at(ranks[index]), top + 20 * place + 8
        colour = f"s{index % N_SERIES}"
        drawing.line([(x, 66), (x, y - 4)], colour)
        label = f"{names[index]} {ranks[index]:.2f}"
        right = x + text_width(label) + 8 > WIDTH
        drawing.text(x - 5 if right else x + 5, y, label, "end" if right else "start", colour)
        drawing.dot(x, 66, colour, 3.4)
    return drawing


def _blue(depth: float) -> str:
    depth = min(1.0, max(0.0, depth))
    pale, deep = (232, 239, 248), (24, 66, 122)
    return "#" + "".join(f"{round(a + (b - a) * depth):02x}" for a, b in zip(pale, deep, strict=True))
