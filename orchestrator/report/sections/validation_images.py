"""How many validation images: what a threshold from few of them costs in false alarms and misses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.axes import PLATEAU_MARGIN
from adloc.answer.validation_curves import N_DRAWS, OUTER, enough, validation_curve
from adloc.report.charts.figure import Figure
from adloc.report.charts.lines import Axis, Series, line_chart
from adloc.report.tables import Table, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.answer.validation_curves import Draws, Of
    from adloc.report.tables import Cell

NAMES: Mapping[Of, str] = {"normals": "normal validation images", "defects": "anomalous validation images"}
RATES = (("false_alarms", "false alarms"), ("misses", "misses"))
NOTE = (
    f"Thresholds from fewer validation images: {N_DRAWS} draws without replacement of the recorded scores, bands from "
    f"{OUTER[0]:.0%} to {OUTER[1]:.0%} of the draws; error rates are of the test part. A number is enough when no "
    f"larger one gains more than {PLATEAU_MARGIN:g} in mean F1 of the whole validation part. Near the whole part the "
    "draws resemble each other and their spread is too small."
)


def validation_curves(material: Material) -> dict[tuple[Setting, Of], list[Draws]]:
    """Of each lead and class, where there is more than one number of images."""
    found = {(s, of): validation_curve(material, s, of) for s in material.leads for of in NAMES}
    return {key: points for key, points in found.items() if len(points) > 1}


def told(curves: Mapping[tuple[Setting, Of], Sequence[Draws]]) -> Iterator[str]:
    """A sentence a curve: how few are enough, and what the fewest cost."""
    for (setting, of), points in curves.items():
        first, last, there = points[0], points[-1], enough(points, PLATEAU_MARGIN)
        text = (
            f"{setting.label}: a threshold from {_count(first)} {NAMES[of]} a category raises {_range(first)}, one from"
            f" {'all ' if last.n == 'all' else ''}{_count(last)} {_range(last)}"
        )
        if there is not None and there is not last:
            text += f"; {_count(there)} are enough ({_range(there)})"
        elif there is last:
            text += "; each step up still gains, so more may help"
        yield f"{text}."


def table(curves: Mapping[tuple[Setting, Of], Sequence[Draws]]) -> Table:
    """Mean and band of both error rates at each number of images."""
    rows: list[tuple[Cell, ...]] = []
    for (setting, of), points in curves.items():
        for point in points:
            cells = (words(_spread(getattr(point, rate))) for rate, _ in RATES)
            f1 = float(point.f1.mean())
            validated = words("" if np.isnan(f1) else f"{f1:.3f}")
            rows.append((words(setting.label), words(NAMES[of]), words(_count(point)), *cells, validated))
    heads = ("setting", "of", "images", *(name for _, name in RATES), "validation F1")
    title = "Thresholds from fewer validation images: mean and band over draws"
    return Table("axis_validation_images", title, heads, tuple(rows), ("setting", "of", "images"))


def figures(curves: Mapping[tuple[Setting, Of], Sequence[Draws]]) -> Iterator[Figure]:
    """Both error rates by number of images, a line a lead."""
    for of, name in NAMES.items():
        lines = [(setting, points) for (setting, asked), points in curves.items() if asked == of]
        for rate, title in RATES if lines else ():
            series = []
            for setting, points in lines:
                values = [getattr(p, rate) for p in points]
                low, high = (tuple(float(np.quantile(v, share)) for v in values) for share in OUTER)
                means = [float(v.mean()) for v in values]
                series.append(Series(setting.label, [p.n_images for p in points], means, low, high, setting.index))
            places = sorted({x for s in series for x in s.x})
            x_axis = Axis(f"{name}, a category", log=True, ticks=tuple((x, f"{x:g}") for x in places))
            y_axis = Axis(f"{title}, share of test images", low=0)
            drawing = line_chart(f"{title.capitalize()} by number of {name}", x_axis, y_axis, series)
            yield Figure(f"axis_validation_{of}_{rate}", drawing)


def _count(point: Draws) -> str:
    return f"{point.n_images:g}"


def _range(point: Draws) -> str:
    return " and ".join(f"{_spread(getattr(point, rate))} {name}" for rate, name in RATES)


def _spread(values: NDArray[np.float64]) -> str:
    mean = f"{values.mean():.1%}"
    if len(values) == 1:
        return mean
    low, high = np.quantile(values, OUTER)
    return f"{mean} ({low:.1%} to {high:.1%})"
