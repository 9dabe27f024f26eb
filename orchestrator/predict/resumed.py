"""A file of rows that an earlier call has begun: which images stand in it, and its torn last line cut back."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from adloc.datasets.json_text import parse_json
from adloc.errors import Complaint, UserError
from adloc.predict.output import TEXT_SUFFIXES
from adloc.predict.places import is_there
from adloc.predict.row import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_BEGUN = {"csv": (",".join(FIELDS) + "\n").encode(), "jsonl": b'{"path": "'}


def resume(path: Path) -> set[str]:
    """The paths of a file's rows; a row that was not written to its end is cut off.

    Args:
        path: a CSV or JSON lines file; nothing is listed where there is none.

    Raises:
        UserError: it is none that `adloc predict` wrote.
    """
    if not is_there(path):
        return set()
    kind = TEXT_SUFFIXES[path.suffix.lower()]
    try:
        whole = _whole_end(path, quoted=kind == "csv")
        paths = set(_csv_paths(path, whole) if kind == "csv" else _json_paths(path, whole))
        if whole == 0:
            _check_begun(path, _BEGUN[kind])
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        rule = f"--watch goes on in a file of its own rows: {', '.join(FIELDS)}"
        remedy = "name a new file by --output, or move this one away"
        raise UserError(Complaint(f"{path}: {error}", rule, remedy)) from None
    if whole < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(whole)
    return paths


def _whole_end(path: Path, *, quoted: bool) -> int:
    """Where the last whole row ends; a line feed between quotation marks ends none."""
    end = at = n_quotes = 0
    with path.open("rb") as file:
        for line in file:
            at += len(line)
            n_quotes += line.count(b'"') if quoted else 0
            if line.endswith(b"\n") and n_quotes % 2 == 0:
                end = at
    return end


def _check_begun(path: Path, start: bytes) -> None:
    """Refuse a file of a single torn line that does not begin as ours do: it is somebody else's."""
    with path.open("rb") as file:
        found = file.read(len(start))
    if not start.startswith(found):
        message = f"it begins with {found!r}"
        raise ValueError(message)


def _rows(path: Path, end: int) -> Iterator[str]:
    with path.open("rb") as file:
        at = 0
        for line in file:
            at += len(line)
            if at > end:
                return
            yield line.decode()


def _csv_paths(path: Path, end: int) -> Iterator[str]:
    rows = csv.reader(_rows(path, end), strict=True)
    head = next(rows, list(FIELDS))
    if tuple(head) != FIELDS:
        message = f"its columns are {', '.join(head)}"
        raise ValueError(message)
    for row in rows:
        if len(row) != len(FIELDS):
            message = f"a row has {len(row)} values"
            raise ValueError(message)
        yield row[0]


def _json_paths(path: Path, end: int) -> Iterator[str]:
    for line in _rows(path, end):
        row = parse_json(line)
        if tuple(row) != FIELDS:
            message = f"a row has the keys {', '.join(row)}"
            raise ValueError(message)
        yield str(row["path"])
