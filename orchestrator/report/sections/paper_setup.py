"""The tables of a paper's set-up: hyperparameters, the identical-shortcut matrix, limitations; and its captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.comparisons import identity
from adloc.answer.limitations import find_limitations
from adloc.answer.material import REGIME_TITLES, title_of
from adloc.answer.varied import Place, as_words, pivots
from adloc.report.charts.choices import METRICS_SHOWN, kind_of, suffix_of
from adloc.report.charts.figure import safe
from adloc.report.tables import Table, figure, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.report.tables import Cell


def caption(material: Material, shown: str) -> str:
    """What a table shows, with the study, its test images, its repeats and its seeds."""
    spec = material.plan.spec
    tests = [parts.test for parts in material.plan.parts.values()]
    n_images, n_anomalous = sum(map(len, tests)), sum(s.label for part in tests for s in part.samples)
    repeats = "1 repeat" if spec.repeats == 1 else f"{spec.repeats} repeats"
    n_categories = "1 category" if len(tests) == 1 else f"{len(tests)} categories"
    return (
        f"{shown}. Study {spec.study}: n = {n_images} test images, {n_anomalous} of them anomalous, in "
        f"{n_categories}; {repeats}, split seed {spec.split.seed}, method seed {spec.seed}."
    )


def hyperparameters(material: Material) -> Table | None:
    """Every parameter of every lead, a column a lead."""
    leads = material.leads
    names = list(dict.fromkeys(name for lead in leads for name in lead.params))
    if not names:
        return None
    rows = [
        (words(name), *(words(_value(material, lead, name) if name in lead.params else "") for lead in leads))
        for name in names
    ]
    heads = ("parameter", *(lead.label for lead in leads))
    shown = "Hyperparameters of the setting of each method that was chosen on the validation part"
    return Table("paper_hyperparameters", caption(material, shown), heads, tuple(rows), long=True)


def pivot_tables(material: Material) -> Iterator[Table]:
    """Two parameters against each other, a table a pair and lead; the cell that the validation part chose is bold."""
    for lead in material.leads:
        for pivot in pivots(material, lead):
            rows: list[tuple[Cell, ...]] = []
            for metric in METRICS_SHOWN:
                for i, (word, values) in enumerate(zip(pivot.rows.words, pivot.figures(material, metric), strict=True)):
                    cells = [figure(v, best=Place(i, j) == pivot.chosen) for j, v in enumerate(values)]
                    rows.append((words(title_of(metric)), words(word), *cells))
            heads = ("metric", pivot.rows.name, *(f"{pivot.columns.name} {w}" for w in pivot.columns.words))
            name = f"paper_pivot_{lead.method}_{pivot.rows.name}_{pivot.columns.name}{suffix_of(lead)}"
            shown = (
                f"{kind_of(lead)}: {pivot.rows.name} against {pivot.columns.name}, {REGIME_TITLES[material.regimes[0]]}"
            )
            shown += "; bold: chosen on the validation part" if pivot.chosen else ""
            yield Table(safe(name), caption(material, shown), heads, tuple(rows), long=True)


def shortcut_tables(material: Material) -> Iterator[Table]:
    """The identical-shortcut matrix of the unified leads, a row a model, regime and category of images."""
    if not material.answer.identical_shortcut:
        return
    settings = {f.record.run_id: f.setting for f in material.findings}
    who = {
        identity(row, "category"): settings[str(row["run_id"])]
        for row in material.answer.rows
        if str(row["run_id"]) in settings
    }
    found = [(who.get(identity(row)), row) for row in material.answer.identical_shortcut if row["repeat"] == 0]
    share = {
        (s.key, str(r["regime"]), str(r["images_of"]), str(r["threshold_of"])): r["flagged"] for s, r in found if s
    }
    rows: list[tuple[Cell, ...]] = []
    for setting, regime in material.lines(s for s in material.leads if s.scope == "unified"):
        for a in material.categories:
            cells = [figure(share.get((setting.key, regime, a, b))) for b in material.categories]
            if any(c.value is not None for c in cells):
                rows.append((words(setting.label), words(REGIME_TITLES[regime]), words(a), *cells))
    if rows:
        heads = ("setting", "regime", "normal images of", *(f"threshold of {c}" for c in material.categories))
        shown = (
            "Identical shortcut: share of a category's normal test images that each category's threshold flags under "
            "one unified model"
        )
        yield Table("paper_shortcut", caption(material, shown), heads, tuple(rows), ("setting", "regime"), long=True)


def limitations(material: Material) -> Table:
    """What the set-up does not allow to be said."""
    rows = tuple((words(found.matter), words(found.text)) for found in find_limitations(material))
    return Table("paper_limitations", caption(material, "Limitations"), ("matter", "limitation"), rows, long=True)


def _value(material: Material, lead: Setting, name: str) -> str:
    """A parameter's value; what was tuned for each category by itself has several."""
    records = [f.record for f in material.findings if f.setting is lead]
    values = list(dict.fromkeys(as_words(r.params.get(name)) for r in records))
    return values[0] if len(values) == 1 else "per category: " + ", ".join(values)
