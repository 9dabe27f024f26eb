"""What a study's settings are called: the method, and what tells its settings apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from adloc.answer.results import MODEL, rows_of, varying
from adloc.study_file.conditions import AXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from adloc.answer.results import Cell, Row
    from adloc.record.records import RunRecord

_KEYS = json.JSONEncoder(sort_keys=True)


def key_of(record: RunRecord, params: Mapping[str, object]) -> str:
    """Identity of a record's model with these of its parameters."""
    return _KEYS.encode([record.method, record.setting, params, record.scope, record.threshold_scope])


def labels_of(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """Of each record the `key_of` its model with all parameters, and what that is called."""
    keys = [key_of(record, record.params) for record in records]
    firsts: dict[str, RunRecord] = {}
    for key, record in zip(keys, records, strict=True):
        firsts.setdefault(key, record)
    labels = dict(zip(firsts, _labels(rows_of(list(firsts.values()))), strict=True))
    return [(key, labels[key]) for key in keys]


def _labels(rows: Sequence[Row]) -> Iterator[str]:
    """Of each: the method and what tells its settings apart; of a method that stands for many, the model first."""
    skipped = ("category", "method", "regime", "repeat", MODEL, *AXES)
    names = [n for n in varying(rows) if n not in skipped] if rows else []
    models = [(row["method"], row.get(MODEL)) for row in rows]
    values: dict[tuple[Cell, Cell], list[set[str]]] = {}  # of each column, by method and model
    for model, row in zip(models, rows, strict=True):
        for name, distinct in zip(names, values.setdefault(model, [set() for _ in names]), strict=True):
            distinct.add(str(row.get(name)))
    for model, row in zip(models, rows, strict=True):
        columns = zip(names, values[model], strict=True)
        apart = [_told(row, name, differs=len(distinct) > 1) for name, distinct in columns]
        head = " ".join(str(each) for each in model if each is not None)
        yield ", ".join([head, *(each for each in apart if each is not None)])


def _told(row: Row, name: str, *, differs: bool) -> str | None:
    """What a column says in a setting's label; None where the other settings of the model say the same, or nothing."""
    value = row.get(name)
    tuned = bool(row.get("setting")) and name.startswith("params.")  # the setting's name stands for what was tuned
    if value is None or tuned:
        return None
    if name == "scope":
        return None if value == "category" else str(value)
    if name == "threshold_scope":
        return f"{value} threshold" if row["scope"] == "unified" else None
    if name == "setting":
        return str(value) or None  # of a method that is not tuned, beside one that is
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{name.removeprefix('params.')} {shown}" if differs else None
