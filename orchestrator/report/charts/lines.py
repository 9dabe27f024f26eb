"""The charts of the report: figures in, a drawing out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from adloc.report.charts.drawing import DASHES, N_SERIES, Drawing, text_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_LINEAR = 30  # largest by smallest score that still share a linear axis
WIDTH = 380  # fits a phone without being scaled


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Attributes:
        label: for the legend.
        x: (n,) numbers.
        y: (n,) numbers; nan leaves a gap.
        low: (n,) lower ends of intervals, or none.
        high: (n,) upper ends.
        colour: number of the colour.
        dash: number of the dash.
        marks: whether every point has a dot.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int = 0
    dash: int = 0
    marks: bool = True


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Attributes:
        label: with the unit.
        low: None to fit the values.
        high: None to fit the values.
        log: in powers of ten.
        ticks: places and words; made up where empty.
    """

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = field(default_factory=tuple)


def line_chart(title: str, x_axis: Axis, y_axis: Axis, series: Sequence[Series], height: float = 250) -> Drawing:
    """Lines over a common axis, with intervals as bands where they are given."""
    legend = _legend_rows([s.label for s in series]) if len(series) > 1 else []
    frame = _Frame(title, height + 16 * len(legend), 22 + 16 * len(legend))
    _draw_legend(frame.drawing, legend, series)
    xs = [v for s in series for v in s.x if math.isfinite(v)]
    ys = [v for s in series for v in (*s.y, *s.low, *s.high) if math.isfinite(v)]
    frame.axes(x_axis, y_axis, xs, ys)
    for s in series:
        _draw_band(frame, s)
    for s in series:
        _draw_line(frame, s)
    return frame.drawing


def _draw_band(frame: _Frame, series: Series) -> None:
    """The intervals; none of a single point."""
    if not series.low or len(series.x) < 2:  # noqa: PLR2004
        return
    upper = _points(frame, series.x, series.high)
    if len(upper) > 1:
        lower = _points(frame, series.x, series.low)
        frame.drawing.area([*upper, *reversed(lower)], f"s{series.colour % N_SERIES}", 0.13)


def _draw_line(frame: _Frame, series: Series) -> None:
    points, colour = _points(frame, series.x, series.y), f"s{series.colour % N_SERIES}"
    frame.drawing.line(points, colour, 1.8, DASHES[series.dash % len(DASHES)])
    if series.marks:
        for (x, y), value in zip(points, filter(math.isfinite, series.y), strict=True):
            frame.drawing.dot(x, y, colour, 3.2, f"{series.label}: {value:.4g}")


def _points(frame: _Frame, xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """Where the finite ones are drawn."""
    return [frame.at(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a scatter chart.

    Attributes:
        label: shown when pointed at, and beside it where there is room.
        x: number.
        y: number.
        colour: number of the colour.
        validated: figure of the validation part, by which the front is drawn; nan leaves the point out of it.
    """

    label: str
    x: float
    y: float
    colour: int = 0
    validated: float = math.nan


def scatter_chart(
    title: str, x_axis: Axis, y_axis: Axis, marks: Sequence[Mark], names: Sequence[str], height: float = 260
) -> Drawing:
    """Points; those that nothing beats in x and on the validation part are ringed and joined.

    Args:
        title: what it shows.
        x_axis: lower is better.
        y_axis: higher is better.
        marks: the points.
        names: of the colours, for the legend.
        height: of the drawing.
    """
    keys = [Series(name, (), (), colour=i) for i, name in enumerate(names)]
    legend = _legend_rows(list(names)) if len(names) > 1 else []
    frame = _Frame(title, height + 16 * len(legend), 22 + 16 * len(legend))
    _draw_legend(frame.drawing, legend, keys)
    frame.axes(x_axis, y_axis, [m.x for m in marks], [m.y for m in marks])
    front = pareto_front(marks)
    steps: list[tuple[float, float]] = []
    for mark in front:
        x, y = frame.at(mark.x, mark.y)
        if steps:
            steps.append((x, steps[-1][1]))
        steps.append((x, y))
    frame.drawing.line(steps, "faint", 1, "3 3")
    for mark in front:
        frame.drawing.dot(*frame.at(mark.x, mark.y), "ink", 6.5, hollow=True)
    for mark in marks:
        hint = f"{mark.label}: {mark.x:.4g}, {mark.y:.4g}"
        frame.drawing.dot(*frame.at(mark.x, mark.y), f"s{mark.colour % N_SERIES}", 3.6, hint)
    return frame.drawing


def pareto_front(marks: Sequence[Mark]) -> list[Mark]:
    """Those that no other point beats: none is as low in x and higher on the validation part. In the order of x."""
    front: list[Mark] = []
    known = [m for m in marks if not math.isnan(m.validated)]
    for mark in sorted(known, key=lambda m: (m.x, -m.validated)):
        if not front or mark.validated > front[-1].validated:
            front.append(mark)
    return front


@dataclass(frozen=True, slots=True)
class Scores:
    """One row of a chart of score distributions.

    Attributes:
        label: which part.
        normal: (n,) scores of normal images.
        anomalous: (m,) scores of anomalous ones.
        threshold: drawn in; None without one.
        second: another threshold with its name, drawn dashed.
    """

    label: str
    normal: NDArray[np.floating]
    anomalous: NDArray[np.floating]
    threshold: float | None
    second: tuple[str, float] | None = None


def score_chart(title: str, rows: Sequence[Scores]) -> Drawing:
    """Every image as a dot at its score, normal ones above, anomalous ones below, thresholds as lines."""
    row_height = 74
    frame = _Frame(title, 82 + row_height * len(rows), 40, left=10)
    drawing = frame.drawing
    x = 10.0
    for name in ("normal", "anomalous"):
        drawing.dot(x + 4, 30, name, 3.4)
        drawing.text(x + 12, 34, name)
        x += 26 + text_width(name)
    drawing.line([(x + 2, 25), (x + 2, 35)], "ink", 1.6)
    drawing.text(x + 9, 34, "threshold")
    if any(row.second for row in rows):
        x += 24 + text_width("threshold")
        drawing.line([(x + 2, 25), (x + 2, 35)], "ink", 1.4, "2 2.5")
        drawing.text(x + 9, 34, "the clean threshold")
    every = [v for row in rows for v in (*row.normal.tolist(), *row.anomalous.tolist(), *_thresholds(row).values())]
    positive = min(every, default=1) > 0 and max(every, default=1) / max(min(every, default=1), 1e-12) > MOST_LINEAR
    frame.x_axis(Axis("image score, raw" + (", logarithmic" if positive else ""), log=positive), every)
    for number, row in enumerate(rows):
        top = frame.top + number * row_height
        drawing.line([(frame.left, top + row_height), (frame.right, top + row_height)], "grid")
        drawing.text(frame.left, top + 13, row.label, colour="ink")
        for scores, name, middle in ((row.normal, "normal", top + 30), (row.anomalous, "anomalous", top + 55)):
            spread = np.random.default_rng(0).uniform(-8, 8, scores.size)  # drawn apart, the same every time
            for value, offset in zip(scores.tolist(), spread.tolist(), strict=True):
                drawing.dot(frame.at_x(value), middle + offset, name, 2.1)
        for dash, value in _thresholds(row).items():
            drawing.line([(frame.at_x(value), top + 18), (frame.at_x(value), top + row_height - 4)], "ink", 1.6, dash)
    return drawing


def _thresholds(row: Scores) -> dict[str, float]:
    """Those that there are, by the dashes that they are drawn with."""
    named = {"": row.threshold, "3 3": row.second and row.second[1]}
    return {dash: value for dash, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        label: what of.
        value: the figure.
        low: lower end; nan without an interval.
        high: upper end.
        colour: number of the colour.
    """

    label: str
    value: float
    low: float
    high: float
    colour: int = 0


def interval_chart(title: str, axis: Axis, estimates: Sequence[Estimate], zero: float | None = None) -> Drawing:
    """Figures with their intervals, one below the other; a line at `zero` where that is no difference."""
    step = 32
    frame = _Frame(title, 22 + step * len(estimates) + 40, 22, left=10)
    values = [v for e in estimates for v in (e.value, e.low, e.high) if math.isfinite(v)]
    frame.x_axis(axis, values + ([] if zero is None else [zero]))
    if zero is not None:
        frame.drawing.line([(frame.at_x(zero), frame.top), (frame.at_x(zero), frame.bottom)], "faint", 1, "3 3")
    for number, e in enumerate(estimates):
        y = frame.top + number * step + 22
        colour = f"s{e.colour % N_SERIES}"
        frame.drawing.text(frame.left, y - 8, e.label, colour="ink")
        if math.isfinite(e.low):
            frame.drawing.line([(frame.at_x(e.low), y), (frame.at_x(e.high), y)], colour, 2)
        if math.isfinite(e.value):
            frame.drawing.dot(frame.at_x(e.value), y, colour, 4, f"{e.value:.4f} ({e.low:.4f} to {e.high:.4f})")
    return frame.drawing


class _Frame:
    """A plot area with axes."""

    def __init__(self, title: str, height: float, top: float, left: float = 56) -> None:
        self.drawing = Drawing(WIDTH, height, title)
        self.left, self.right, self.top, self.bottom = left, WIDTH - 10.0, top + 4, height - 38
        self.drawing.text(0, 12, cut(title, WIDTH, 12), colour="ink", size=12)
        self._x = self._y = (0.0, 1.0, False)

    def axes(self, x_axis: Axis, y_axis: Axis, xs: Sequence[float], ys: Sequence[float]) -> None:
        low, high = _limits(y_axis, ys)
        self._y = (low, high, y_axis.log)
        for value, word in y_axis.ticks or _ticks(low, high, log=y_axis.log):
            if low - 1e-9 <= value <= high + 1e-9:
                y = self.at_y(value)
                self.drawing.line([(self.left, y), (self.right, y)], "grid")
                self.drawing.text(self.left - 5, y + 4, word, "end", size=10.5)
        self.drawing.text(11, (self.top + self.bottom) / 2, y_axis.label, "middle", upright=True)
        self.x_axis(x_axis, xs)

    def x_axis(self, axis: Axis, values: Sequence[float]) -> None:
        low, high = _limits(axis, values)
        self._x = (low, high, axis.log)
        self.drawing.line([(self.left, self.bottom), (self.right, self.bottom)], "faint")
        for value, word in axis.ticks or _ticks(low, high, log=axis.log):
            if low - 1e-9 <= value <= high + 1e-9:
                x = self.at_x(value)
                self.drawing.line([(x, self.bottom), (x, self.bottom + 4)], "faint")
                half = text_width(word, 10.5) / 2
                self.drawing.text(min(max(x, half), WIDTH - half), self.bottom + 16, word, "middle", size=10.5)
        self.drawing.text((self.left + self.right) / 2, self.bottom + 32, axis.label, "middle")

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.at_x(x), self.at_y(y)

    def at_x(self, value: float) -> float:
        return self.left + _share(value, *self._x) * (self.right - self.left)

    def at_y(self, value: float) -> float:
        return self.bottom - _share(value, *self._y) * (self.bottom - self.top)


def _share(value: float, low: float, high: float, log: bool) -> float:  # noqa: FBT001
    if log:
        value, low, high = math.log(max(value, 1e-300)), math.log(low), math.log(high)
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _limits(axis: Axis, values: Sequence[float]) -> tuple[float, float]:
    """The axis' own, or around the values with a little room."""
    least, most = min(values, default=0.0), max(values, default=1.0)
    if axis.log:
        least = max(least, 1e-12)
        room = max((most / least) ** 0.06, 1.05)
        low, high = least / room, most * room
    else:
        room = (most - least) * 0.06 or max(abs(most) * 0.05, 0.01)
        low, high = least - room, most + room
    low, high = (axis.low if axis.low is not None else low), (axis.high if axis.high is not None else high)
    return low, high if high > low else low + 1


def _ticks(low: float, high: float, *, log: bool) -> list[tuple[float, str]]:
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        steps = (1,) if last - first > 3 else (1, 2, 5) if last - first > 1 else (1, 2, 3, 5, 7)  # noqa: PLR2004
        marks = [m * 10.0**e for e in range(first, last + 1) for m in steps]
        return [(v, f"{v:g}") for v in marks if low <= v <= high]
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough)
    digits = max(0, -math.floor(math.log10(step)) + (1 if step / 10 ** math.floor(math.log10(step)) == 2.5 else 0))  # noqa: PLR2004
    first = math.ceil(low / step - 1e-9)
    return [(k * step, f"{k * step:.{digits}f}") for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _legend_rows(labels: Sequence[str]) -> list[list[int]]:
    """Which labels stand in which row."""
    rows: list[list[int]] = []
    used = WIDTH + 1.0
    for index, label in enumerate(labels):
        width = 34 + text_width(label)
        if used + width > WIDTH:
            rows.append([])
            used = 0.0
        rows[-1].append(index)
        used += width
    return rows


def _draw_legend(drawing: Drawing, rows: list[list[int]], series: Sequence[Series]) -> None:
    for number, row in enumerate(rows):
        x, y = 0.0, 30 + 16 * number
        for index in row:
            s = series[index]
            drawing.line([(x, y - 4), (x + 20, y - 4)], f"s{s.colour % N_SERIES}", 2.2, DASHES[s.dash % len(DASHES)])
            drawing.text(x + 25, y, cut(s.label, WIDTH - 30))
            x += 34 + text_width(s.label)


def cut(text: str, width: float, size: float = 11) -> str:
    """The words, shortened to a width."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"
