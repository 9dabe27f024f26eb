"""The record of a run beside one that was written again: figures, every image's score, curves and pictures."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from adloc.metrics.registry import METRICS
from adloc.record.audit import AUDIT, is_noted
from adloc.verify.bits import difference, is_time
from adloc.verify.compared import Compared, listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adloc.record.records import Records, RunRecord

_OF_THE_MOMENT = {"started", "seconds", "environment", "files"}


def compare_record(run_id: str, kept: Records, made: Records) -> list[Compared]:
    """The record's own figures, then its files, by name; nothing is compared with a file that is damaged."""
    before, again = kept.get(run_id), made.get(run_id)
    if again is None:
        raise FileNotFoundError(made.path(run_id))
    if before is None:
        return [Compared("record: record.json", "damaged", "it is not what was written")]
    one, other = _figures(before), _figures(again)
    found = [Compared.of("record: record.json", difference(one, other, [name for name in one if name in other]))]
    damaged = kept.damaged_files(before)
    folders = kept.path(run_id), made.path(run_id)
    for name in sorted(before.files or _files(folders[0])):
        what = f"record: {name}"
        if name in damaged:
            found.append(Compared(what, "damaged", "it is not what was written"))
        elif name == AUDIT and not is_noted(folders[0] / name):
            found.append(Compared(what, "absent", "written when results did not say yet what they had read"))
        elif not (folders[1] / name).exists():
            found.append(Compared(what, "differs", "nothing of that name was written again"))
        else:
            found.append(_compare_file(what, folders[0] / name, folders[1] / name))
    more = sorted(_files(folders[1]) - {*before.files, AUDIT}) if before.files else []
    if more:
        found.append(Compared("record", "differs", f"only written again: {listed(tuple(more))}"))
    return found


def _compare_file(what: str, kept: Path, made: Path) -> Compared:
    """By its content where its bytes differ: another library may compress the same pixels otherwise."""
    if kept.read_bytes() == made.read_bytes():
        return Compared(what, "equal")
    one, other = _content(kept), _content(made)
    return Compared.of(what, difference(one, other, dict.fromkeys([*one, *other])))


def _content(path: Path) -> dict[str, object]:
    """What a file of a record holds, by name."""
    match path.suffix:
        case ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            return {name: _column([row[name] for row in rows]) for name in (rows[0] if rows else {})}
        case ".json":
            return dict(_leaves(json.loads(path.read_text(encoding="utf-8"))))
        case ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        case _:
            return {"pixels": np.asarray(Image.open(path))}


def _column(cells: list[str]) -> object:
    """Numbers where all cells are."""
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        return tuple(cells)


def _figures(record: RunRecord) -> dict[str, object]:
    """What a record says, by dotted name; costs and what is of the moment left out, and what its version lacked."""
    said = record.model_dump(mode="json", include=record.model_fields_set - _OF_THE_MOMENT)
    costs = {f"metrics.{name}" for name, metric in METRICS.items() if metric.level == "cost"}
    return {name: value for name, value in _leaves(said) if name not in costs and not is_time(name)}


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Leaves of JSON by dotted name; a list of numbers is an array."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(type(each) in (int, float) for each in value):
        yield path, np.array(value)
    else:
        yield path, value


def _files(folder: Path) -> set[str]:
    """Names of a record's files, its own left out."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"record.json"}
