"""The section on tuning, from the trial records of a study's searches; none where nothing was tuned."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from adloc.answer.gains import sought_there
from adloc.answer.results import MACRO
from adloc.metrics.registry import METRICS
from adloc.record.files import read_checked
from adloc.report.charts.figure import Figure
from adloc.report.charts.grids import bar_chart
from adloc.report.charts.lines import Axis, Series, line_chart
from adloc.report.section import Section
from adloc.report.tables import Table, count, figure, words

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.answer.material import Material
    from adloc.report.tables import Cell
    from adloc.tuning.state import SearchState


def tuning(searches: tuple[SearchState, ...], study_path: Path, material: Material) -> Section | None:
    """History, importance, the chosen setting, and validation against test."""
    begun = [state for state in searches if state.trials]
    if not begun:
        return None
    figures: list[Figure] = []
    chosen: list[tuple[Cell, ...]] = []
    for state in begun:
        figures += _history(state)
        figures += _importance(state, study_path)
        found = state.search.best(state.trials)
        if state.is_done and not found:
            chosen.append((words(state.search.name), *(words(text) for text in ("none", "-", "-", "-", state.outcome))))
        for trial in found:
            for name in state.search.config.objectives:
                first, best = state.trials[0].figures.get(name), trial.figures.get(name)
                setting = ", ".join(f"{k} {v}" for k, v in trial.params.items())
                chosen.append((words(state.search.name), count(trial.number), words(METRICS[name].title),
                               figure(first), figure(best), words(setting)))  # fmt: skip
    heads = ("search", "chosen trial", "objective", "untuned", "chosen", "setting")
    tables = [Table("tuning_chosen", "The chosen settings, with figures of the validation part", heads, tuple(chosen))]
    against = _against(material)
    if against:
        heads = ("setting", "regime", "metric", "validation", "test", "validation - test")
        caption = (
            "Validation against test: how much of the figure that was tuned for holds on images that chose nothing"
        )
        tables.append(Table("tuning_test", caption, heads, tuple(against)))
    n_trials = sum(len(state.trials) for state in begun)
    text = (
        f"{n_trials} trials in {len(begun)} search{'es' if len(begun) > 1 else ''}, on validation images only. "
        "A figure "
        "that was chosen as the largest of many is too good on the images that chose it: read it on the test part.",
    )
    return Section("tuning", "Tuning", text, tuple(tables), tuple(figures))


def _history(state: SearchState) -> list[Figure]:
    """Each trial and the best so far."""
    made = []
    for name, up in zip(state.search.config.objectives, state.search.higher_is_better, strict=True):
        done = [
            (t.number, float(v))
            for t in state.trials
            if t.state == "complete" and (v := t.figures.get(name)) is not None
        ]
        if len(done) < 2:  # noqa: PLR2004  no history yet
            continue
        x = [float(n) for n, _ in done]
        y = [v for _, v in done]
        lines = [Series("trial", x, y, colour=7, dash=2)]
        best = state.search.course(state.trials, name, higher=up)
        if best:
            lines.append(Series("best so far", [float(n) for n, _ in best], [v for _, v in best], marks=False))
        chart = line_chart(
            f"{state.search.name}: {METRICS[name].title}", Axis("trial"), Axis(METRICS[name].title), lines
        )
        made.append(Figure(f"tuning_{state.search.name}_{name}", chart, key=True))
    return made


def _importance(state: SearchState, study_path: Path) -> list[Figure]:
    """As the search's own file says, where it is."""
    importances = importances_of(state.search.name, study_path)
    if not importances:
        return []
    title = f"{state.search.name}: share of the spread explained"
    chart = bar_chart(title, list(importances), list(importances.values()))
    return [Figure(f"tuning_{state.search.name}_importance", chart)]


def importances_of(search: str, study_path: Path) -> dict[str, float]:
    """How much of the spread each parameter of a search explains; nothing where its file is not there or is damaged."""
    try:
        found = json.loads(read_checked(study_path / "tuning" / search / "best.json"))["importances"]
    except (OSError, ValueError, KeyError):
        return {}
    return {name: float(value) for name, value in found.items()}


def _against(material: Material) -> list[tuple[Cell, ...]]:
    """Validation and test figure of tuned settings and their defaults, first repeat, averaged."""
    rows: list[tuple[Cell, ...]] = []
    for row in material.answer.rows:
        if row["category"] != MACRO or not row.get("setting") or row["repeat"] != 0 or not sought_there(row):
            continue
        sought = (name.removeprefix("val_") for name in material.plan.spec.tuning.objectives)
        for name in dict.fromkeys([*sought, "image_auroc", "image_f1", "pixel_auroc"]):
            on_validation, on_test = row[f"val_{name}"], row.get(name)
            if isinstance(on_validation, float) and isinstance(on_test, float) and not math.isnan(on_test):
                gap = on_validation - on_test
                setting = words(f"{row['method']}, {row['setting']}")
                rows.append((setting, words(row["regime"]), words(METRICS[name].title),
                             figure(on_validation), figure(on_test), figure(gap, signed=True)))  # fmt: skip
    return rows
