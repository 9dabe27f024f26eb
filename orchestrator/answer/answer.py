"""The answer of a study: its results and what they say together, from the records alone."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adloc.answer.comparisons import HEADLINE, identical_shortcut, regime_drops, repeat_statistics, scope_drops
from adloc.answer.gains import masked, searched, tuning_gains
from adloc.answer.results import MACRO, recorded, table, varying, write
from adloc.garbage import rarely_collected
from adloc.metrics.registry import METRICS
from adloc.record.beside import read_beside, write_beside
from adloc.record.files import write_whole
from adloc.study_file.conditions import described

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from adloc.answer.results import Row
    from adloc.planning.plan import Plan
    from adloc.record.records import Records, RunRecord
    from adloc.study_file.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Answer:
    """Every table of a study; one that the study has no data for is empty.

    Attributes:
        rows: the results, macro rows last.
        regime_drops: what each regime loses against clean.
        scope_drops: what the unified model loses against separate ones.
        identical_shortcut: share of one category's normal images that another's threshold flags.
        repeats: mean, spread and interval over seeds.
        tuning_gains: what tuned settings gain over untuned ones, on the validation part and on the test part.
    """

    rows: list[Row]
    regime_drops: list[Row]
    scope_drops: list[Row]
    identical_shortcut: list[Row]
    repeats: list[Row]
    tuning_gains: list[Row] = field(default_factory=list)

    def tables(self) -> dict[str, list[Row]]:
        """The tables that have rows, by name."""
        named = {
            "results": self.rows,
            "regime_drops": self.regime_drops,
            "scope_drops": self.scope_drops,
            "identical_shortcut": self.identical_shortcut,
            "repeats": self.repeats,
            "tuning_gains": self.tuning_gains,
        }
        return {name: rows for name, rows in named.items() if rows}

    def key_figures(self) -> dict[str, float]:
        """What the study's parent run shows: macro figures over repeats, or of the one repeat there is."""
        params = [n for n in varying(self.rows) if n.startswith("params.")] if self.rows else []
        figures: dict[str, float] = {}
        for row in self.repeats:
            if row["category"] == MACRO and row["metric"] in HEADLINE:
                for name in ("mean", "std", "ci95_low", "ci95_high"):
                    figures[f"{_label(row, params)}/{row['metric']}/{name}"] = float(row[name] or 0.0)
        if figures:
            return figures
        return {
            f"{_label(row, params)}/{name}": float(row[name] or 0.0)
            for row in self.rows
            if row["category"] == MACRO
            for name in HEADLINE
            if row[name] is not None
        }


@rarely_collected()
def find_answer(plan: Plan, records: Records) -> Answer:
    """All tables of what has been recorded so far of a plan's runs."""
    return answer_of(plan, recorded(plan, records), records)


def answer_of(plan: Plan, found: Sequence[RunRecord], records: Records) -> Answer:
    """All tables of these records of a plan's runs, as `recorded` finds them."""
    return _answer_of(table(plan, found), plan.spec, records)


def kept_answer(spec: StudySpec, records: Records, folder: Path) -> Answer | None:
    """The tables as `write_answer` last wrote them, without a plan: needs no images.

    None before there are any, or where they are damaged.
    """
    try:
        rows = json.loads(read_beside(folder / "results.json"))
    except (FileNotFoundError, ValueError):
        return None
    newer: Row = dict.fromkeys(name for name in METRICS if rows and name not in rows[0])
    return _answer_of([row | newer for row in rows], spec, records)


def _answer_of(rows: list[Row], spec: StudySpec, records: Records) -> Answer:
    columns = searched(spec)
    done = (row for row in rows if row["category"] != MACRO and row["status"] == "done")
    unified = [str(row["run_id"]) for row in done if row["scope"] == "unified"]
    normal = {i: [s.score for s in records.image_scores(i, "test") if not s.anomalous] for i in unified}
    return Answer(
        rows,
        regime_drops(rows),
        scope_drops(rows),
        identical_shortcut(rows, normal),
        repeat_statistics(masked(rows, columns)) if spec.repeats > 1 else [],
        tuning_gains(rows, columns, spec.tuning.objectives),
    )


def write_answer(answer: Answer, folder: Path) -> None:
    """Write every table as CSV under `tables/`, and the results beside it as results.csv and results.json."""
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    texts = {name: write(rows, "csv") for name, rows in answer.tables().items()}
    for name, text in texts.items():
        write_whole(tables / f"{name}.csv", text.encode())
    write_whole(folder / "results.csv", texts.get("results", "").encode())
    write_beside(folder / "results.json", write(answer.rows, "json"))


def _label(row: Row, params: list[str]) -> str:
    """Method, setting, regime, condition and scope, in the letters that MLflow allows."""
    setting = [f"{n.removeprefix('params.')} {row[n]}" for n in params if row.get(n) is not None]
    scope = "" if row["scope"] == "category" else f"unified {row['threshold_scope']} threshold"
    parts = [str(row["method"]), str(row["setting"]), *setting, str(row["regime"]), *described(row), scope]
    return re.sub(r"[^\w\-.:/ ]", "-", "/".join(p for p in parts if p))
