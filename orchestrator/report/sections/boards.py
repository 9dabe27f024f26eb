"""The sections made of one long table each: leaderboard, hardest images, defect types."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.comparisons import identity
from adloc.answer.material import REGIME_TITLES, title_of
from adloc.answer.results import MACRO
from adloc.metrics.ranking import auroc
from adloc.metrics.registry import METRICS
from adloc.report.section import COSTS, NOISE, SHOWN, Section, each_who
from adloc.report.tables import Table, count, figure, significant, words
from adloc.uncertainty.resampling import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material
    from adloc.answer.results import Row
    from adloc.report.tables import Cell


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the results, and the label of its setting."""

    row: Row
    label: str


@dataclass(frozen=True, slots=True)
class _Figures:
    """Figures of a row with what is known of their spread.

    Attributes:
        material: of the report.
        repeated: mean and interval over the repeats, by row and metric; empty without repeats.
        findings: of the rows of one category, by run_id.
        averaged: settings that have an average, by label and regime.
    """

    material: Material
    repeated: dict[tuple[tuple[object, ...], str], Row]
    findings: dict[str, Finding]
    averaged: dict[tuple[str, str], Setting]

    def cell(self, line: _Line, name: str) -> Cell:
        over = self.repeated.get((identity(line.row, "repeat"), name)) if self.repeated else None
        if over is not None:
            return figure(over["mean"], 3, Interval(float(over["ci95_low"] or 0), float(over["ci95_high"] or 0)))
        return figure(line.row[name], 3, self._interval(line, name))

    def _interval(self, line: _Line, name: str) -> Interval | None:
        finding = self.findings.get(str(line.row["run_id"]))
        if finding is not None:
            return finding.interval(name)
        regime = str(line.row["regime"])
        setting = self.averaged.get((line.label, regime))
        return self.material.interval(setting, regime, name) if setting else None


def leaderboard(material: Material) -> Section | None:
    """Method x regime, averages first, then each category."""
    done = [r for r in material.answer.rows if r["status"] == "done"]
    if not done:
        return None
    table = _board(material, _lines(material, done))
    macros = tuple(table.rows[i][1:-1] for i in sorted(table.bold))
    short = Table("leaderboard_macro", "Averages over the categories, with 95 % intervals", table.heads[1:-1], macros)
    several = material.plan.spec.repeats > 1
    source = "Means and 95 % t intervals over the repeats; costs are of the first." if several else NOISE
    costs = (
        "Times are wall seconds on the machine named under Provenance; sizes are of the fitted model without "
        "the backbone. In averages over categories, fit and model are what all categories take together: the sum of "
        "their own models, or the one unified model. Simulating the shift is in no time."
    )
    notes = (source, costs, *_left_out(material))
    return Section("leaderboard", "Leaderboard", (), (table, short) if macros else (table,), notes=notes)


def _lines(material: Material, done: list[Row]) -> Iterator[_Line]:
    """The rows of the settings that are shown, averages first; of repeats the first, which stands for all."""
    ordered = sorted(done, key=lambda r: r["category"] != MACRO)
    groups = [of[1:] for of in each_who(ordered)]
    of_run = {f.record.run_id: f.setting.label for f in material.findings}
    # an average is no run: its label is that of the runs that it averages
    labels = {g: of_run[i] for g, r in zip(groups, ordered, strict=True) if (i := str(r["run_id"])) in of_run}
    unseen = {s.label for s in material.settings} - {s.label for s in material.shown}
    several, alone = material.plan.spec.repeats > 1, _alone(material)
    for row, group in zip(ordered, groups, strict=True):
        line = _Line(row, labels.get(group, str(row["method"])))
        told = (several and row["repeat"] != 0) or (alone and row["category"] == MACRO)
        if not told and line.label not in unseen:
            yield line


def _board(material: Material, lines: Iterable[_Line]) -> Table:
    figures = _Figures(
        material,
        {(identity(r, "repeat"), str(r["metric"])): r for r in material.answer.repeats},
        {f.record.run_id: f for f in material.findings},
        {(s.label, r): s for s in material.shown for r in material.regimes if material.row(s, r)},
    )
    chosen = material.chosen.label if material.chosen else None
    rows = tuple(
        (words(line.row["category"]), replace(words(line.label), best=line.label == chosen),
         words(REGIME_TITLES[str(line.row["regime"])]), *(figures.cell(line, n) for n in SHOWN),
         *(significant(line.row[n]) for n in COSTS), figure(line.row["threshold"], 4))
        for line in lines
    )  # fmt: skip
    heads = ("category", "setting", "regime", *(title_of(n) for n in SHOWN),
             *(f"{title_of(n)}, {METRICS[n].unit}" for n in COSTS), "threshold")  # fmt: skip
    first = "" if _alone(material) else ", the macro average first"
    which = "Every setting" if len(material.shown) == len(material.settings) else "The best settings"
    caption = f"{which} in every regime{first}; bold: chosen on the validation part"
    bold = frozenset(i for i, row in enumerate(rows) if row[0].text == MACRO)
    return Table("leaderboard", caption, heads, rows, ("category", "regime", "setting"), bold=bold)


def _alone(material: Material) -> bool:
    """Whether there is one category, which is the average then."""
    return len(material.plan.parts) == 1


def _left_out(material: Material) -> tuple[str, ...]:
    """How many settings are not shown, and where they are."""
    n_shown, n = len(material.shown), len(material.settings)
    if n_shown == n:
        return ()
    return (
        f"Of {n} settings the {n_shown} with the best validation figure are shown, compared with each other and drawn; "
        "results.csv, beside this page, has all of them.",
    )


def hardest(material: Material) -> Section | None:
    """The images that most runs judge wrongly, and among equals those scored worst."""
    wrong: dict[str, list[str]] = {}
    shown: Counter[str] = Counter()
    margins: dict[str, list[float]] = {}
    what: dict[str, tuple[str, str]] = {}
    for setting, regime in material.lines(material.leads):
        for category in material.categories:
            finding = material.get(setting, regime, category)
            if finding is None or finding.record.threshold is None:
                continue
            spread = float(np.std(finding.test.scores)) or 1.0
            test = finding.test
            for name, defect, label, score in zip(test.names, test.defects, test.labels, test.scores, strict=True):
                margin = (float(score) - finding.record.threshold) / spread * (1 if label else -1)
                shown[name] += 1
                what[name] = (category, defect)
                margins.setdefault(name, []).append(margin)
                if (score >= finding.record.threshold) != label:
                    wrong.setdefault(name, []).append(f"{setting.label}, {REGIME_TITLES[regime]}")
    worst = sorted(wrong, key=lambda n: (-len(wrong[n]) / shown[n], float(np.mean(margins[n]))))[:20]
    if not worst:
        return None
    rows = tuple(
        (words(what[n][0]), words(n.partition("/")[2]), words(what[n][1]),
         words("miss" if what[n][1] != "good" else "false alarm", "bad"),
         count(len(wrong[n])), count(shown[n]), figure(float(np.mean(margins[n])), 2, signed=True))
        for n in worst
    )  # fmt: skip
    heads = ("category", "image", "defect", "judged", "wrong in runs", "of", "mean margin")
    caption = "Images that most of the shown runs judge wrongly"
    note = "Margin: distance to the threshold on the right side, in standard deviations of the run's test scores."
    return Section("hardest", "Hardest images", (), (Table("hardest", caption, heads, rows),), notes=(note,))


def defect_types(material: Material) -> Section | None:
    """Recall and AUROC of each defect type, a row a category, setting and regime."""
    rows: list[tuple[Cell, ...]] = []
    for category in material.categories:
        for setting, regime in material.lines(material.leads):
            finding = material.get(setting, regime, category)
            if finding is None:
                continue
            test, threshold = finding.test, finding.record.threshold
            for defect in sorted({d for d, label in zip(test.defects, test.labels, strict=True) if label}):
                chosen = np.array([d == defect for d in test.defects])
                with_normal = chosen | ~test.labels
                area = auroc(test.scores[with_normal], test.labels[with_normal])
                found = float((test.scores[chosen] >= threshold).mean()) if threshold is not None else math.nan
                n_missed = int((test.scores[chosen] < threshold).sum()) if threshold is not None else 0
                missed = count(n_missed) if threshold is not None else words("")
                rows.append((words(category), words(defect), words(setting.label), words(REGIME_TITLES[regime]),
                             count(int(chosen.sum())), missed, figure(found), figure(area)))  # fmt: skip
    if not rows:
        return None
    heads = ("category", "defect type", "setting", "regime", "images", "missed", "recall", "image AUROC")
    caption = "Each defect type against the normal test images; recall at the run's threshold"
    table = Table("defect_types", caption, heads, tuple(rows), ("category", "defect type", "setting", "regime"))
    note = "With a handful of images of a type, one image moves the recall by a lot: read the counts first."
    return Section("defect-types", "Defect types", (), (table,), notes=(note,))
