"""Which charts a report has, and of what."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.answer.compared import rank_leads
from adloc.answer.comparisons import identity
from adloc.answer.material import REGIME_TITLES, number, title_of
from adloc.answer.results import WHOLE
from adloc.metrics.registry import METRICS
from adloc.report.charts.choices import choice_charts, pivot_charts
from adloc.report.charts.figure import Figure
from adloc.report.charts.figure import safe as _safe
from adloc.report.charts.grids import matrix_chart, rank_chart
from adloc.report.charts.lines import (
    Axis,
    Estimate,
    Mark,
    Scores,
    Series,
    interval_chart,
    line_chart,
    scatter_chart,
    score_chart,
)
from adloc.report.charts.sweeps import sweep_charts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material
    from adloc.answer.results import Cell, Row

MOST_CATEGORIES = 15  # with charts of their own
MOST_ESTIMATES = 14


def overview(material: Material) -> Iterator[Figure]:
    """Macro figures with their intervals in the first regime, one chart a metric."""
    for regime in material.regimes[:1]:
        settings = [s for s in material.shown if material.row(s, regime)][:MOST_ESTIMATES]
        for metric in ("image_auroc", "pixel_aupro"):
            estimates = []
            for setting in settings:
                between = material.interval(setting, regime, metric)
                value = material.macro(setting, regime, metric)
                if not math.isnan(value):
                    estimates.append(Estimate(setting.label, value, between.low, between.high, setting.index))
            if estimates:
                title = f"{title_of(metric)}, {REGIME_TITLES[regime]}, mean of categories"
                axis = Axis(f"{title_of(metric)}, with 95 % interval")
                yield Figure(f"overview_{metric}", interval_chart(title, axis, estimates), key=True)


def ranks(material: Material) -> Iterator[Figure]:
    """Critical-difference plots."""
    for regime in material.regimes[:1]:
        for metric in ("image_auroc", "pixel_aupro"):
            ranked = rank_leads(material, regime, metric)
            if ranked is not None:
                settings, found, values = ranked
                title = f"Average ranks, {title_of(metric)}, {values.shape[1]} categories"
                names = [s.label for s in settings]
                yield Figure(
                    f"ranks_{metric}", rank_chart(title, names, found.average, found.critical_difference), key=True
                )


def robustness(material: Material) -> Iterator[Figure]:
    """Each metric over the regimes, a line a setting."""
    if len(material.regimes) < 2:  # noqa: PLR2004  nothing to compare
        return
    ticks = tuple((float(i), REGIME_TITLES[r].replace(" ", " ")) for i, r in enumerate(material.regimes))
    for metric in ("image_auroc", "image_f1", "pixel_aupro", "image_fpr", "image_fnr"):
        lines = []
        for setting in material.leads:
            there = [r for r in material.regimes if not math.isnan(material.macro(setting, r, metric))]
            between = [material.interval(setting, r, metric) for r in there]
            lines.append(
                Series(
                    setting.label,
                    [float(material.regimes.index(r)) for r in there],
                    [material.macro(setting, r, metric) for r in there],
                    [b.low for b in between],
                    [b.high for b in between],
                    setting.index,
                )
            )
        lines = [s for s in lines if s.x]
        if lines:
            title = f"{METRICS[metric].title} over the regimes"
            axis = Axis("", -0.35, len(material.regimes) - 0.65, ticks=ticks)
            yield Figure(
                f"robustness_{metric}",
                line_chart(title, axis, Axis(METRICS[metric].title), lines),
                key=metric in ("image_auroc", "image_f1"),
            )


def distributions(material: Material) -> Iterator[Figure]:
    """Scores of every image, a chart a category and lead."""
    for category in material.categories[:MOST_CATEGORIES]:
        for setting in material.leads:
            rows = list(_score_rows(material, setting, category))
            if rows:
                name = f"scores_{category}_{setting.method}_{setting.scope}_{setting.threshold_scope}"
                yield Figure(_safe(name), score_chart(f"{category}: {setting.label}", rows))


def curves(material: Material) -> Iterator[Figure]:
    """ROC, precision-recall and PRO curves of a category, a line a lead and regime."""
    kinds = (
        ("roc", "ROC", Axis("false-positive rate", 0, 1), Axis("true-positive rate", 0, 1)),
        ("precision_recall", "Precision and recall", Axis("recall", 0, 1), Axis("precision", 0, 1)),
        ("pro", "Per-region overlap", Axis("false-positive rate of pixels", 0, 0.3), Axis("mean overlap", 0, 1)),
    )
    for category in material.categories[:MOST_CATEGORIES]:
        findings = [f for s, r in material.lines(material.leads) if (f := material.get(s, r, category)) is not None]
        findings = [f for f in findings if not _repeats_test(f, findings)]
        for kind, title, x_axis, y_axis in kinds:
            lines = [
                Series(
                    f"{f.setting.label}, {_test_title(f.record.regime, material.shifted)}",
                    *_thinned(*_up_to(x_axis.high or 1.0, f.curves[kind]["x"], f.curves[kind]["y"])),
                    colour=f.setting.index,
                    dash=material.regimes.index(f.record.regime),
                    marks=False,
                )
                for f in findings
                if kind in f.curves and all(map(math.isfinite, f.curves[kind]["y"]))
            ]
            if lines:
                yield Figure(_safe(f"{kind}_{category}"), line_chart(f"{title}: {category}", x_axis, y_axis, lines))


def trade_offs(material: Material) -> Iterator[Figure]:
    """Accuracy against size and time of every setting, in the first regime."""
    if len(material.settings) < 2:  # noqa: PLR2004  no trade to make
        return
    for regime in material.regimes[:1]:
        methods = list(dict.fromkeys(s.method for s in material.settings))
        for metric in ("image_auroc", "pixel_aupro"):
            for cost in ("model_mb", "score_ms_per_image"):
                marks = [
                    Mark(s.label, x, y, methods.index(s.method), material.validated(s))
                    for s in material.shown
                    for x, y in [(material.macro(s, regime, cost), material.macro(s, regime, metric))]
                    if x > 0 and math.isfinite(y)
                ]
                if len(marks) > 1:
                    wide = max(m.x for m in marks) / min(m.x for m in marks) > 4  # noqa: PLR2004
                    of = "all categories" if cost in WHOLE else "mean of categories"
                    axis = Axis(f"{METRICS[cost].title}, {METRICS[cost].unit}, {of}", log=wide)
                    title = f"{title_of(metric)} against {METRICS[cost].title}"
                    yield Figure(
                        f"trade_off_{metric}_{cost}",
                        scatter_chart(title, axis, Axis(title_of(metric)), marks, methods),
                        key=cost == "model_mb",
                    )


def ablations(material: Material) -> Iterator[Figure]:
    """Every swept parameter against accuracy and cost, the others at the lead's values; pairs as heatmaps."""
    for lead in material.leads:
        yield from sweep_charts(material, lead)
        yield from choice_charts(material, lead)
        yield from pivot_charts(material, lead)


def shortcut(material: Material) -> Iterator[Figure]:
    """The identical-shortcut matrix of every unified model."""
    labels = {f.record.run_id: f.setting.label for f in material.findings}
    of = {identity(r, "category"): labels[str(r["run_id"])] for r in material.answer.rows if r["run_id"] in labels}
    models: dict[tuple[Cell, ...], list[Row]] = {}
    for row in material.answer.identical_shortcut:
        models.setdefault(identity(row), []).append(row)
    for index, (model, rows) in enumerate(models.items()):
        images = list(dict.fromkeys(str(r["images_of"]) for r in rows))
        thresholds = list(dict.fromkeys(str(r["threshold_of"]) for r in rows))
        share = {(str(r["images_of"]), str(r["threshold_of"])): r["flagged"] for r in rows}
        values = [[number(share.get((a, b))) for b in thresholds] for a in images]
        regime, repeat = str(rows[0]["regime"]), rows[0]["repeat"]
        name = of.get(model, str(rows[0]["method"]))
        title = f"{name}, {REGIME_TITLES.get(regime, regime)}" + (f", repeat {repeat}" if repeat else "")
        heads = ("images of", "flagged by the threshold of")
        yield Figure(f"shortcut_{index}", matrix_chart(title, images, thresholds, values, heads, span=(0, 1)))


def _score_rows(material: Material, setting: Setting, category: str) -> Iterator[Scores]:
    """Validation and test part before the shift, after it, and after adaptation."""
    clean = material.get(setting, "clean", category)
    carried = material.get(setting, "no_adaptation", category)
    moved = material.get(setting, "threshold_only", category)
    adapted = material.get(setting, "full_adaptation", category)
    before = clean or carried
    if before is not None and "validation" in before.images:
        yield _scores(before, "validation", "validation, clean")
    if clean is not None:
        yield _scores(clean, "test", "test, clean")
    if moved is not None:
        if "validation" in moved.images:
            yield _scores(moved, "validation", f"validation, {material.shifted}")
        old = carried or clean
        second = ("clean", old.record.threshold) if old is not None and old.record.threshold is not None else None
        yield _scores(moved, "test", f"test, {material.shifted}", second)
    elif carried is not None:
        yield _scores(carried, "test", f"test, {material.shifted}")
    if adapted is not None:
        yield _scores(adapted, "test", f"test, {material.shifted}, fitted on such images")


def _scores(finding: Finding, part: str, label: str, second: tuple[str, float] | None = None) -> Scores:
    images = finding.images[part]
    return Scores(label, images.scores[~images.labels], images.scores[images.labels], finding.record.threshold, second)


def _repeats_test(finding: Finding, findings: list[Finding]) -> bool:
    """Without adaptation and with a threshold of its own, the test scores are the same: one curve is enough."""
    return finding.record.regime == "threshold_only" and any(
        f.setting is finding.setting and f.record.regime == "no_adaptation" for f in findings
    )


def _test_title(regime: str, shifted: str) -> str:
    return {"clean": "clean", "full_adaptation": f"{shifted}, adapted"}.get(regime, shifted)


def _up_to(limit: float, x: list[float], y: list[float]) -> tuple[list[float], list[float]]:
    """The curve from its start to x = limit, where it ends on the line to the next point."""
    inside = sum(v <= limit for v in x)
    if inside in (0, len(x)):
        return x, y
    x0, x1, y0, y1 = x[inside - 1], x[inside], y[inside - 1], y[inside]
    return [*x[:inside], limit], [*y[:inside], y0 + (y1 - y0) * (limit - x0) / (x1 - x0)]


def _thinned(x: list[float], y: list[float], most: int = 140) -> tuple[list[float], list[float]]:
    """Every so many points; the ends stay."""
    if len(x) <= most:
        return x, y
    kept = sorted({round(i * (len(x) - 1) / (most - 1)) for i in range(most)})
    return [x[i] for i in kept], [y[i] for i in kept]
