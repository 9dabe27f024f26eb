"""The tables of a paper's results: thresholds, every metric, what adapting recovers, costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.calibrated import find_costs, find_thresholds, separate_twin
from adloc.answer.material import regime_title, title_of
from adloc.answer.recovered import find_recoveries
from adloc.answer.results import MACRO
from adloc.report.charts.figure import safe
from adloc.report.section import Section
from adloc.report.sections.paper_setup import caption, hyperparameters, limitations, pivot_tables, shortcut_tables
from adloc.report.tables import Table, count, figure, significant, words
from adloc.study_file.conditions import has_real_domains
from adloc.study_file.regimes import SHIFT, evaluated_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.material import Material
    from adloc.report.tables import Cell

IMAGE_METRICS = (
    "image_auroc", "image_auprc", "image_f1", "image_accuracy", "image_precision", "image_recall", "image_fpr",
    "image_fnr",
)  # fmt: skip
PIXEL_METRICS = ("pixel_auroc", "pixel_aupro", "pixel_aupro_005")
SHORT_TITLES = {"image_fpr": "false alarms", "image_fnr": "misses"}


def paper(material: Material) -> Section | None:
    """What the results and the set-up of a paper need, a table each; folded, for it is long."""
    if not material.findings:
        return None
    made = (
        thresholds(material),
        *metrics(material),
        recovered(material),
        costs(material),
        unified_costs(material),
        *pivot_tables(material),
        *shortcut_tables(material),
        hyperparameters(material),
        limitations(material),
    )
    text = (
        "Tables for a paper, as CSV and as LaTeX with captions that name study, images and seeds. Those of methods "
        "show the setting of each that was chosen on the validation part; no test figure chose anything.",
    )
    notes = (
        "Lost is how much worse a figure is under no adaptation than clean: positive is worse, whichever direction of "
        "the metric is better. The share recovered is what an adapted regime wins back of it: 1 is all, above 1 "
        "better than clean, negative worse than without adaptation, empty where nothing was lost. A share of a small "
        "loss says little: read the loss first. Recalibration moves the threshold alone, so it recovers 0 of every "
        "metric that has none.",
    )
    return Section("paper", "For a paper", text, tuple(t for t in made if t is not None), notes=notes)


def thresholds(material: Material) -> Table | None:
    """The value of every threshold, what it was calibrated on, and its errors there and on the test part."""
    objective = material.plan.spec.thresholds.words
    rows: list[tuple[Cell, ...]] = []
    of_domains = [found for each in material.each_domain() for found in find_thresholds(each)]
    for found in {found.finding.record.run_id: found for found in of_domains}.values():
        record, setting = found.finding.record, found.finding.setting
        regime = words(regime_title(record.regime, record.domain))
        rates = (record.metrics.get(n) for n in ("val_image_fpr", "val_image_fnr", "image_fpr", "image_fnr"))
        rows.append(
            (words(record.category), words(setting.label), regime, count(record.repeat),
             figure(record.threshold, 4), words(objective), count(found.n_normal), count(found.n_anomalous),
             *(figure(rate) for rate in rates))
        )  # fmt: skip
    if not rows:
        return None
    heads: tuple[str, ...] = ("category", "setting", "regime", "repeat", "threshold", "objective", "validation normal",
             "validation anomalous", "validation false alarms", "validation misses", "test false alarms",
             "test misses")  # fmt: skip
    shown = "Thresholds, the validation images that each was calibrated on, its error rates there and on the test part"
    if all(row[3].value == 0 for row in rows):
        heads, rows = heads[:3] + heads[4:], [row[:3] + row[4:] for row in rows]
    filters = ("category", "setting", "regime")
    return Table("paper_thresholds", caption(material, shown), heads, tuple(rows), filters, long=True)


def metrics(material: Material) -> Iterator[Table]:
    """Every metric of the leads, averages first: two tables a regime, of images and of pixels."""
    for each in material.each_domain():
        is_base = each.domain == material.domain
        for regime in each.regimes:
            if is_base or evaluated_in(regime) == SHIFT:
                yield from _metrics(each, regime, "" if is_base else f"_{safe(each.domain)}")


def _metrics(material: Material, regime: str, suffix: str) -> Iterator[Table]:
    several = len(material.plan.parts) > 1
    for level, names in (("image", IMAGE_METRICS), ("pixel", PIXEL_METRICS)):
        rows: list[tuple[Cell, ...]] = []
        for category in (*([None] if several else []), *material.categories):
            for setting in material.leads:
                cells = [
                    figure(
                        material.value(setting, regime, n, category),
                        3,
                        material.interval(setting, regime, n, category) if level == "pixel" else None,
                    )
                    for n in names
                ]
                if any(c.value is not None for c in cells):
                    rows.append((words(category or MACRO), words(setting.label), *cells))
        if rows:
            shown = f"All {level} metrics, {regime_title(regime, material.domain)}"
            shown += ", the average first" if several else ""
            shown += ", with 95 % intervals" if level == "pixel" else ""
            heads = ("category", "setting", *(SHORT_TITLES.get(n, title_of(n)) for n in names))
            bold = frozenset(i for i, row in enumerate(rows) if row[0].text == MACRO)
            name = f"paper_metrics_{level}_{regime}{suffix}"
            yield Table(name, caption(material, shown), heads, tuple(rows), ("category",), long=True, bold=bold)


def recovered(material: Material) -> Table | None:
    """What recalibrating and refitting win back of what the shift took, false alarms and misses first."""
    real = has_real_domains(material.plan.spec)
    rows = tuple(
        (*([words(each.shifted)] if real else []), words(r.category or MACRO), words(r.setting.label),
         words(SHORT_TITLES.get(r.metric, title_of(r.metric))), figure(r.clean), figure(r.shifted),
         figure(r.lost, 3, signed=True), figure(r.recalibrated, 2, signed=True), figure(r.refitted, 2, signed=True))
        for each in material.each_domain()
        for r in find_recoveries(each)
    )  # fmt: skip
    if not rows:
        return None
    where = ("domain",) if real else ()
    heads = (*where, "category", "setting", "metric", "clean", "no adaptation", "lost", "recalibrated", "refitted")
    shown = "Share of what the shift took that recalibration and refitting win back; empty where nothing was lost"
    bold = frozenset(i for i, row in enumerate(rows) if row[len(where)].text == MACRO)
    filters = (*where, "category", "setting", "metric")
    return Table("paper_recovered", caption(material, shown), heads, rows, filters, long=True, bold=bold)


def costs(material: Material) -> Table | None:
    """Seconds, milliseconds and megabytes of every setting shown."""
    found = [c for s in material.shown if (c := find_costs(material, s)) is not None]
    if not found:
        return None
    rows = tuple(
        (words(c.setting.label), count(c.n_models), significant(c.fit_s), significant(c.score_ms_per_image),
         significant(c.model_mb), significant(c.peak_memory_mb))
        for c in found
    )  # fmt: skip
    heads = ("setting", "models", "fit of all, s", "score per image, ms", "models together, MB", "peak memory, MB")
    shown = "Costs of the models that serve all categories together, without the backbone"
    return Table("paper_costs", caption(material, shown), heads, rows, long=True)


def unified_costs(material: Material) -> Table | None:
    """One model for all beside the sum of the separate ones; None without a pair of them."""
    rows: list[tuple[Cell, ...]] = []
    for setting in material.settings:
        twin = separate_twin(material, setting) if setting.scope == "unified" else None
        one, many = find_costs(material, setting), find_costs(material, twin) if twin else None
        if one is None or many is None or twin is None or setting.threshold_scope == "global":
            continue  # a threshold for all is of the same model
        rows.append(
            (words(twin.label), significant(one.model_mb), significant(many.model_mb),
             figure(one.model_mb / many.model_mb if many.model_mb else None, 2), significant(one.fit_s),
             significant(many.fit_s))
        )  # fmt: skip
    if not rows:
        return None
    heads = ("setting", "unified, MB", "separate together, MB", "ratio", "unified fit, s", "separate fits together, s")
    shown = f"One model for all {len(material.plan.parts)} categories beside the sum of a model for each"
    return Table("paper_unified_costs", caption(material, shown), heads, tuple(rows), long=True)
