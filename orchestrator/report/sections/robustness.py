"""What the regimes do to every metric."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from adloc.answer.material import REGIME_TITLES, title_of
from adloc.answer.results import MACRO
from adloc.answer.verdict_words import shift_words
from adloc.report.charts import figures as charts
from adloc.report.charts.figure import safe
from adloc.report.section import NOISE, SHOWN, Section, each_who, who
from adloc.report.tables import Table, figure, words
from adloc.study_file.regimes import SHIFT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material
    from adloc.report.tables import Cell

COMPARED = (*SHOWN, "image_fpr", "image_fnr")


def robustness(material: Material) -> list[Section]:
    """Metrics across the regimes, a section for each domain that the study shifts to; none with a single regime."""
    blocks = (_block(material.at(domain)) for domain in material.domains)
    return [block for block in blocks if block is not None]


def _block(material: Material) -> Section | None:
    """The regimes in one domain; what of it could not be run."""
    absent = tuple(f"Not run: {each}." for each in material.plan.absent if each.domain == material.domain)
    compared = len(material.regimes) > 1 and any(f.record.domain == material.domain for f in material.findings)
    several = len(material.domains) > 1
    suffix = "" if material.domain == material.domains[0] else f"_{safe(material.domain)}"
    name, title = f"robustness{suffix}", f"Robustness: {material.shifted}" if several else "Robustness"
    if not compared:
        return Section(name, title, absent) if absent else None
    notes = (
        "The relative drop averages (clean - regime) / clean over the metrics where higher is better. Under no "
        "adaptation, "
        "the error rates are those of the threshold carried over from clean images. False alarms: share of "
        "normal images that are "
        "flagged; misses: share of anomalous images that are not.",
        NOISE,
    )
    figures = tuple(replace(each, name=each.name + suffix) for each in charts.robustness(material))
    return Section(name, title, (_what_changes(material), *absent), (_table(material, name),), figures, notes)


def _table(material: Material, name: str) -> Table:
    rows = tuple(_rows(material))
    bold = frozenset(i for i, row in enumerate(rows) if row[0].text == MACRO)
    titles = {"image_fpr": "false alarms", "image_fnr": "misses"}
    heads = ("category", "setting", "regime", *(titles.get(n, title_of(n)) for n in COMPARED), "relative drop, %")
    caption = "Metrics across the regimes, with what is lost against clean"
    caption += "" if material.domain == SHIFT else f"; shifted to {material.domain}"
    return Table(name, caption, heads, rows, ("category", "setting"), bold=bold)


def _rows(material: Material) -> Iterator[tuple[Cell, ...]]:
    """The averages, then each category: a row a lead and regime that has a run."""
    lost = material.answer.regime_drops
    drops = {(of, r["regime"]): r["relative_drop"] for of, r in zip(each_who(lost), lost, strict=True)}
    row_of = {r["run_id"]: r for r in material.answer.rows}
    averaged = (MACRO,) if len(material.plan.parts) > 1 else ()  # of one category it is the category
    for category in (*averaged, *material.categories):
        of = None if category == MACRO else category
        for setting, regime in material.lines(material.leads):
            run = _run_of(material, setting, regime, of)
            if run is None:
                continue
            cells = [
                figure(material.value(setting, regime, n, of), 3, material.interval(setting, regime, n, of))
                for n in COMPARED
            ]
            row = row_of.get(run.record.run_id)
            drop = drops.get((who({**row, "category": category}), regime)) if row else None
            share = figure(100 * float(drop), 1, signed=True) if isinstance(drop, int | float) else words("")
            yield (words(category), words(setting.label), words(REGIME_TITLES[regime]), *cells, share)


def _run_of(material: Material, setting: Setting, regime: str, category: str | None) -> Finding | None:
    """The run of a category, or any that an average is made of; None where one is not done."""
    if category is None:
        return next(iter(material.row(setting, regime).values()), None)
    return material.get(setting, regime, category)


def _what_changes(material: Material) -> str:
    transforms = material.plan.spec.shift.transforms
    if material.domain != SHIFT or transforms is None:
        return (
            f"In the regimes other than clean, shifted images are real ones, of {material.domain}: its normals are "
            "fitted on, its validation images calibrate thresholds, and its test images are tested on."
        )
    text = f"The shift changes {shift_words(transforms)}."
    if transforms.fill == "reflect" and "pose" in shift_words(transforms):
        text += (
            " What comes into the picture from outside is mirrored, so a second part or defect may appear at its "
            "edge; shift.fill: constant shows how much of the loss that is."
        )
    return text
