"""The results table: one row a run, and a macro row for each average over categories."""

from __future__ import annotations

import math
from contextlib import nullcontext
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

import numpy as np
from pydantic_core import to_json

from adloc.meanwhile import meanwhile
from adloc.metrics.registry import METRICS
from adloc.printed import csv_lines, escape_latex
from adloc.record.diagnosed import marks
from adloc.study_file.conditions import AXES
from adloc.study_file.regimes import CLEAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from adloc.planning.plan import Plan
    from adloc.record.records import Records, RunRecord

Cell = str | int | float | None
Row = dict[str, Cell]
WHO = ("study", "category", "method", "regime", "scope", "threshold_scope", "repeat", "run_id", "status", "setting")
SIZES = ("n_train", "n_val", "n_test")
MACRO = "macro"
MODEL = "params.model"  # of a method that stands for many models: which one
WARNINGS = "warnings"  # a column of studies that have any
MANY_KEYS = 1000  # runs whose keys take longer than a fork
_WHO_OF, _SIZES_OF = attrgetter(*WHO, "domain"), attrgetter(*SIZES)
_FIGURES_OF = itemgetter(*METRICS)
_PLACES = {name: place for place, name in enumerate(METRICS)}
WHOLE = ("model_mb", "fit_s")  # of which a macro row has that of all categories together


def recorded(plan: Plan, records: Records) -> list[RunRecord]:
    """The records of the plan's runs that are of its present data, weights and settings, in its order."""

    def keys_of() -> list[str]:
        return [run.key for run in plan.runs]

    with meanwhile(keys_of) if len(plan.runs) >= MANY_KEYS else nullcontext(keys_of) as keys:
        read = {record.run_id: record for record in records.all()}
        found = zip((read.get(run.run_id) for run in plan.runs), keys(), strict=True)
    return [record for record, key in found if record is not None and record.key == key]


def table(plan: Plan, records: Sequence[RunRecord]) -> list[Row]:
    """One row a record, then one macro row for each variant, regime, condition, scope and repeat; same columns in all.

    What the plan has for some of its categories alone (the best of a search of their own, say) has no macro row.

    Args:
        plan: of the study: what a macro row is the average of.
        records: of its runs, as many as there are.
    """
    conditions = {run.condition for run in plan.runs}
    axes = [name for name in AXES if name != "domain" and any(name in each.values() for each in conditions)]
    rows = dict(zip((record.run_id for record in records), rows_of(records, axes), strict=True))
    columns = [name for name in next(iter(rows.values()), {}) if name.startswith("params.")]
    _warn(rows, plan, records)
    groups: dict[str, list[str]] = {}
    for run in plan.runs:
        groups.setdefault(run.group, []).append(run.run_id)
    whole = {
        group: [rows[i] for i in run_ids if i in rows]
        for group, run_ids in groups.items()
        if len(run_ids) == len(plan.parts) and not rows.keys().isdisjoint(run_ids)
    }
    return [*rows.values(), *_macros(whole, columns, len(plan.parts))]


def rows_of(records: Sequence[RunRecord], axes: Sequence[str] = ()) -> list[Row]:
    """One row a record, with a column for every parameter that any of them has."""
    names = list(dict.fromkeys(name for record in records for name in record.params))
    columns = [f"params.{name}" for name in names]
    return [_row(record, names, columns, axes) for record in records]


def _row(record: RunRecord, param_names: Sequence[str], param_columns: Sequence[str], axes: Sequence[str]) -> Row:
    row: Row = dict(zip((*WHO, "domain"), _WHO_OF(record), strict=True))
    for name in axes:
        row[name] = _plain(record.condition.get(name))
    row |= zip(param_columns, map(_plain, map(record.params.get, param_names)), strict=True)
    row |= zip(SIZES, _SIZES_OF(record), strict=True)
    row |= zip(METRICS, map(record.metrics.get, METRICS), strict=True)
    row["threshold"] = record.threshold
    return row


def _warn(rows: Mapping[str, Row], plan: Plan, records: Sequence[RunRecord]) -> None:
    """Say which parameter ranks which run's validation part clearly worse than plain scores, where one does."""
    diagnosed = [record for record in records if record.diagnosis]
    found = {r.run_id: marks(r.diagnosis, plan.spec.comparison.margin) for r in diagnosed}
    if any(found.values()):
        for run_id, row in rows.items():
            row[WARNINGS] = found.get(run_id) or None


def _macros(groups: Mapping[str, Sequence[Row]], param_columns: Sequence[str], n_categories: int) -> Iterator[Row]:
    """What `over_categories` makes of every figure of each group; empty where a run failed or is still to come."""
    done = {
        group: rows
        for group, rows in groups.items()
        if len(rows) == n_categories and all(row["status"] == "done" for row in rows)
    }
    figures = dict(zip(done, averages(list(done.values())), strict=True))
    for group, rows in groups.items():
        row = _macro(rows, param_columns)
        row |= {"category": MACRO, "run_id": f"{MACRO}-{row['method']}-{group[:12]}"}
        row["status"] = "done" if group in done else "incomplete"
        row |= dict.fromkeys(METRICS) | figures.get(group, {})
        yield row


def _macro(rows: Sequence[Row], param_columns: Sequence[str]) -> Row:
    """What a group's rows are of."""
    first = rows[0]
    row: Row = dict(first)
    for name in param_columns:  # what was tuned for each category by itself
        row[name] = first[name] if all(r[name] == first[name] for r in rows) else None
    for name in SIZES:
        row[name] = sum([int(r[name] or 0) for r in rows])
    if first["scope"] == "unified":  # one model, fitted once on the train parts of all
        row["n_train"] = first["n_train"]
    if WARNINGS in row:
        row[WARNINGS] = _warnings(rows)
    return row


def averages(groups: Sequence[Sequence[Row]]) -> Iterator[dict[str, float]]:
    """Of each group of rows, as many in all: what every category has, but those whose average says nothing.

    They are what `over_categories` makes of each, to the bit; in a fraction of the time where there are many.
    """
    figures = np.array([list(zip(*map(_FIGURES_OF, rows), strict=True)) for rows in groups], dtype=np.float64)
    means = figures.mean(axis=2).tolist() if groups else []  # (groups, metrics, categories); nan where one lacks it
    for rows, values, of_group in zip(groups, figures, means, strict=True):
        scope, found = str(rows[0]["scope"]), dict(zip(METRICS, of_group, strict=True))
        found |= {name: over_categories(name, values[_PLACES[name]].tolist(), scope) for name in WHOLE}
        # An average of 95 % bounds is no 95 % bound; one threshold for all has the same in every category.
        single = {"threshold", "pixel_threshold"} | ({"upper_fpr"} if rows[0]["threshold_scope"] != "global" else set())
        yield {name: value for name, value in found.items() if name not in single and not math.isnan(value)}


def _warnings(rows: Sequence[Row]) -> str | None:
    """Each warning once, with its categories."""
    categories: dict[str, list[str]] = {}
    for row in rows:
        if row[WARNINGS]:
            categories.setdefault(str(row[WARNINGS]), []).append(str(row["category"]))
    return "; ".join(f"{text} ({', '.join(of)})" for text, of in categories.items()) or None


def over_categories(name: str, values: Sequence[float], scope: str) -> float:
    """One figure for all categories: the mean, but of what is fitted and shipped the whole.

    The models of single categories are all needed, so their sizes and fit times add up; a unified model is one,
    and every category's record tells its size and fit time.

    Args:
        name: a metric.
        values: of each category, one at least.
        scope: "category" or "unified".

    Example:
        >>> over_categories("model_mb", [1.5, 2.0], "category")
        3.5
        >>> over_categories("model_mb", [3.5, 3.5], "unified")
        3.5
    """
    if name in WHOLE:
        return float(values[0]) if scope == "unified" else float(sum(values))
    return mean(values)


def mean(values: Sequence[float]) -> float:
    """NumPy's mean of some numbers, to the bit, in half its time, most of which it takes to prepare for any array."""
    return float(np.add.reduce(values) / len(values))


def write(rows: Sequence[Row], form: str) -> str:
    """The table as text: csv, json or latex.

    Numbers are written in full in csv and json, so that they read back the same.
    """
    if form == "csv":
        return csv_lines([rows[0], *map(itemgetter(*rows[0]), rows)]) if rows else ""  # of several columns
    if form == "json":
        return to_json(rows, indent=1).decode()  # an eighth of the time of Python's json, which reads the same
    return _latex(rows)


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """The table as a parquet file, numbers as numbers."""
    import pandas as pd

    frame = pd.DataFrame(rows)
    for name in frame.columns:  # a parameter that is a number for one method and a word for another
        if frame[name].dtype == object and len({type(v) for v in frame[name].dropna()}) > 1:
            frame[name] = frame[name].map(lambda v: v if v is None else str(v))
    frame.to_parquet(path, index=False)


def brief(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells for people: what tells the rows apart, and the main figures."""
    if not rows:
        return [], []
    names = brief_columns(rows)
    return [n.removeprefix("params.") for n in names], [[cell(n, row[n]) for n in names] for row in rows]


def brief_columns(rows: Sequence[Row]) -> list[str]:
    """The columns that people read first: those that tell rows apart, and the main figures; at least one row."""
    apart = varying(rows)
    if any(row["status"] != "done" for row in rows):
        apart.append("status")
    warned = (WARNINGS,) if WARNINGS in rows[0] else ()  # before the costs: on a narrow terminal the last are left out
    return [*apart, "threshold", "image_auroc", "image_f1", "pixel_auroc", "pixel_aupro", *warned, "fit_s",
            "score_ms_per_image", "model_mb"]  # fmt: skip


def varying(rows: Sequence[Row]) -> list[str]:
    """The columns that tell rows apart: category and method always, others where they differ."""
    names = ["category", "method", "setting", "regime", "scope", "threshold_scope", "repeat"]
    names += [n for n in rows[0] if n in AXES or n.startswith("params.")]
    return [n for n in names if n in ("category", "method") or _varies(rows, n)]


def _varies(rows: Sequence[Row], name: str) -> bool:
    """Whether a column tells rows of one method apart (a parameter that only one method has does not).

    That shifted rows are of another domain than clean ones, their regime says.
    """
    if name == "domain":
        return len({row[name] for row in rows} - {CLEAN}) > 1
    if not name.startswith("params."):
        return len({row[name] for row in rows}) > 1
    return len({(row["method"], row[name]) for row in rows}) > len({row["method"] for row in rows})


def cell(name: str, value: Cell) -> str:
    """A value of a column as people read it; "-" where there is none."""
    if name == WARNINGS:  # which metrics, and of which category, the other forms say
        return "; ".join(dict.fromkeys(text.partition(":")[0] for text in str(value or "").split("; ")))
    if value is None or value == "":
        return "-"
    if not isinstance(value, float):
        return str(value)
    if name in AXES or name.startswith("params."):
        return f"{value:g}"
    if name in ("fit_s", "score_ms_per_image", "model_mb"):
        return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
    return f"{value:.4f}"


def _latex(rows: Sequence[Row]) -> str:
    """A booktabs table of the brief columns."""
    heads, cells = brief(rows)

    def line(values: Iterable[str]) -> str:
        return " & ".join(map(escape_latex, values)) + r" \\"

    body = "\n".join(line(row) for row in cells)
    return (
        f"\\begin{{tabular}}{{{'l' * len(heads)}}}\n\\toprule\n{line(heads)}\n\\midrule\n{body}\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def _plain(value: object) -> Cell:
    if value is None or isinstance(value, (str, int, float)):
        return value
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
