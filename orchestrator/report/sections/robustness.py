"""What the regimes do to every metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.claims import shift_words
from adloc.answer.material import REGIME_TITLES, title_of
from adloc.answer.results import MACRO
from adloc.report.charts import figures as charts
from adloc.report.section import NOISE, SHOWN, Section, who
from adloc.report.tables import Table, figure, words

if TYPE_CHECKING:
    from adloc.answer.material import Material
    from adloc.report.tables import Cell


def robustness(material: Material) -> Section | None:
    """Metrics across the regimes; none with a single one."""
    if len(material.regimes) < 2:  # noqa: PLR2004  nothing to compare
        return None
    metrics = (*SHOWN, "image_fpr", "image_fnr")
    names = {"image_fpr": "false alarms", "image_fnr": "misses"}
    heads = ("category", "setting", "regime", *(names.get(n, title_of(n)) for n in metrics), "relative drop, %")
    drops = {(who(r), r["regime"]): r["relative_drop"] for r in material.answer.regime_drops}
    rows: list[tuple[Cell, ...]] = []
    averaged = (MACRO,) if len(material.plan.parts) > 1 else ()  # of one category it is the category
    for category in (*averaged, *material.categories):
        for setting, regime in material.lines(material.leads):
            finding = None if category == MACRO else material.get(setting, regime, category)
            if category == MACRO and not material.row(setting, regime):
                continue
            if category != MACRO and finding is None:
                continue
            of = None if category == MACRO else category
            cells = [
                figure(material.value(setting, regime, n, of), 3, material.interval(setting, regime, n, of))
                for n in metrics
            ]
            sample = finding or next(iter(material.row(setting, regime).values()))
            row = next((r for r in material.answer.rows if r["run_id"] == sample.record.run_id), None)
            drop = drops.get((who({**row, "category": category}), regime)) if row else None
            share = figure(100 * float(drop), 1, signed=True) if isinstance(drop, int | float) else words("")
            rows.append((words(category), words(setting.label), words(REGIME_TITLES[regime]), *cells, share))
    bold = frozenset(i for i, row in enumerate(rows) if row[0].text == MACRO)
    table = Table("robustness", "Metrics across the regimes, with what is lost against clean", heads, tuple(rows),
                  ("category", "setting"), bold=bold)  # fmt: skip
    shift = material.plan.spec.shift
    text = f"The shift changes {shift_words(shift)}."
    if shift.fill == "reflect" and "pose" in shift_words(shift):
        text += (
            " What comes into the picture from outside is mirrored, so a second part or defect may appear at its "
            "edge; shift.fill: constant shows how much of the loss that is."
        )
    notes = (
        "The relative drop averages (clean - regime) / clean over the metrics where higher is better. Under no "
        "adaptation, "
        "the error rates are those of the threshold carried over from clean images. False alarms: share of "
        "normal images that are "
        "flagged; misses: share of anomalous images that are not.",
        NOISE,
    )
    return Section("robustness", "Robustness", (text,), (table,), tuple(charts.robustness(material)), notes)
