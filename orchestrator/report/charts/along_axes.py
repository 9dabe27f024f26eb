"""The charts of a study's axes: lines over severity, images and contamination, bars of factors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.answer.axes import curves, interactions, setting_of
from adloc.answer.material import REGIME_TITLES
from adloc.answer.results import MACRO
from adloc.metrics.registry import METRICS
from adloc.report.charts.bars import BarGroup, bar_chart
from adloc.report.charts.figure import Figure
from adloc.report.charts.lines import Axis, Series, line_chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from adloc.answer.axes import Curve, Point, Who
    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.answer.results import Row

SHOWN = ("image_fpr", "image_fnr", "image_auroc", "pixel_aupro")
X_AXES = {
    "train_images": "normal images fitted on, a category",
    "contamination": "share of defects among the images fitted on",
    "severity": "severity of the shift",
}


def settings_of(material: Material) -> Mapping[Who, Setting]:
    """The lead settings by identity of their rows."""
    leads = set(material.leads)
    runs = {f.record.run_id: f.setting for f in (*material.findings, *material.conditioned) if f.setting in leads}
    return {setting_of(row): runs[str(row["run_id"])] for row in material.rows if str(row["run_id"]) in runs}


def along(material: Material, axis: str) -> Iterator[Figure]:
    """Errors and ranking metrics along an axis of numbers, a line a lead and regime, bands over draws and repeats."""
    settings = settings_of(material)
    for metric in SHOWN:
        found = [c for c in curves(material.rows, material.plan.spec, axis, metric) if c.who in settings]
        if not found:
            continue
        lines = [
            Series(
                _label(curve, settings, found),
                [x_of(p) for p in curve.points],
                [p.mean for p in curve.points],
                [p.low for p in curve.points] if _spread(curve) else (),
                [p.high for p in curve.points] if _spread(curve) else (),
                settings[curve.who].index,
                material.regimes.index(curve.regime),
            )
            for curve in found
        ]
        places = sorted({x_of(p) for c in found for p in c.points})
        ticks = tuple((x, f"{x:g}") for x in places)
        x_axis = Axis(X_AXES[axis], log=axis == "train_images", ticks=ticks)
        title = f"{METRICS[metric].title} by {axis.replace('_', ' ')}"
        y_axis = Axis(METRICS[metric].title, low=0 if metric in ("image_fpr", "image_fnr") else None)
        yield Figure(f"axis_{axis}_{metric}", line_chart(title, x_axis, y_axis, lines))


def factors(material: Material) -> Iterator[Figure]:
    """What each group of transforms costs alone, and all together: a chart a lead and regime."""
    settings, drops = settings_of(material), material.axis_drops
    by_metric = {
        metric: {(i.who, i.regime): i for i in interactions(drops, material.plan.spec, metric)}
        for metric in ("image_fpr", "image_fnr", "image_auroc")
    }
    names = ["false alarms", "misses", "image AUROC lost"]
    for who, regime in dict.fromkeys(key for found in by_metric.values() for key in found):
        if who not in settings:
            continue
        found = [by_metric[m].get((who, regime)) for m in by_metric]
        places = list(dict.fromkeys(p for i in found if i for p in i.alone))
        groups = [BarGroup(p, [i.alone.get(p, math.nan) if i else math.nan for i in found]) for p in places]
        groups.append(BarGroup("all together", [i.together if i else math.nan for i in found]))
        setting = settings[who]
        title = f"{setting.label}, {REGIME_TITLES[regime]}: lost against clean"
        name = f"factors_{setting.method}_{setting.index}_{setting.scope}_{setting.threshold_scope}_{regime}"
        yield Figure(name, bar_chart(title, "growth of the error rates, and loss of AUROC", groups, names))


def x_of(point: Point) -> float:
    """Where a point stands: its number, or for all images how many those are."""
    return point.n_train if isinstance(point.at, str) else float(point.at)


def _spread(curve: Curve) -> bool:
    return any(len(p.values) > 1 for p in curve.points)


def _label(curve: Curve, settings: Mapping[Who, Setting], found: list[Curve]) -> str:
    regime = f", {REGIME_TITLES[curve.regime]}" if len({c.regime for c in found}) > 1 else ""
    return f"{settings[curve.who].label}{regime}"


def has_axis(rows: Sequence[Row], axis: str) -> bool:
    """Whether macro rows stand at more than one place of an axis."""
    return len({row.get(axis) for row in rows if row["category"] == MACRO} - {None}) > 1
