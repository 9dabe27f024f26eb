"""Rows as CSV, JSON lines or Parquet: the first two written as they come, the last whole or not at all."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

from adloc.errors import Complaint, UserError
from adloc.predict.places import is_folder
from adloc.predict.row import FIELDS, Row
from adloc.printed import csv_line, printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from pyarrow import Schema
    from pyarrow.parquet import ParquetWriter

TextFormat = Literal["csv", "jsonl"]
TEXT_SUFFIXES: dict[str, TextFormat] = {".csv": "csv", ".jsonl": "jsonl"}
PARQUET = ".parquet"
_GROUP = 8192  # rows of a Parquet group: smaller ones are slow to read


class Output(Protocol):
    """Where rows go."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write some more."""

    def finish(self) -> None:
        """Called when all rows are there."""

    def __enter__(self) -> Self:
        """Open."""

    def __exit__(self, *_: object) -> None:
        """Close; what is not finished and cannot stand alone is removed."""


def open_output(path: Path, *, append: bool) -> Output:
    """The file, by its suffix; one that is there is written anew unless it is appended to.

    Raises:
        UserError: another suffix, a folder that is not there, or Parquet where rows are to be appended.
    """
    check_output(path, append=append)
    if path.suffix.lower() == PARQUET:
        return ParquetOutput(path)
    try:
        begun = append and path.exists() and path.stat().st_size > 0
        stream = path.open("ab" if append else "wb")
    except OSError as error:
        raise _unwritable(path, error) from None
    return TextOutput(stream, TEXT_SUFFIXES[path.suffix.lower()], str(path), begun=begun, closes=True)


def check_output(path: Path, *, append: bool) -> None:
    """Refuse what cannot be written, before anything is computed.

    Raises:
        UserError: see `open_output`.
    """
    suffix = path.suffix.lower()
    if suffix not in (*TEXT_SUFFIXES, PARQUET):
        rule = "rows are written as .csv, .jsonl or .parquet, by the file's suffix"
        raise UserError(Complaint(f"--output is {path}", rule, f"use {path.with_suffix('.csv')}"))
    if append and suffix == PARQUET:
        rule = "a Parquet file is whole when it is there, and rows of a watched folder never end"
        raise UserError(Complaint(f"--output is {path}", rule, f"use {path.with_suffix('.csv')}"))
    if is_folder(path) or not is_folder(path.parent):
        what = "is a folder" if is_folder(path) else "its folder is not there"
        raise UserError(Complaint(f"--output is {path}: {what}", "rows go to a file", "name a file in a folder"))


class TextOutput:
    """CSV (`anomalous` as 0 or 1, nothing where there is no value) or JSON lines, flushed after every `write`."""

    def __init__(
        self, stream: BinaryIO, kind: TextFormat, name: str, *, begun: bool, closes: bool, is_seen: bool = False
    ) -> None:
        """Write to a stream.

        Args:
            stream: open.
            kind: of the rows.
            name: of the stream, for messages.
            begun: whether rows stand in it already.
            closes: whether the stream is closed at the end.
            is_seen: whether it is a terminal, to which no name is an order.
        """
        self._stream, self._kind, self._name, self._closes, self._is_seen = stream, kind, name, closes, is_seen
        if kind == "csv" and not begun:
            self._put(csv_line(FIELDS))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._closes:
            self._stream.close()

    def write(self, rows: Sequence[Row]) -> None:
        """Write some more.

        Raises:
            UserError: the disk is full, say.
        """
        line = _csv_row if self._kind == "csv" else _json_row
        self._put("".join(line(row) for row in rows))

    def finish(self) -> None:
        """Nothing is left to do."""

    def _put(self, text: str) -> None:
        try:
            self._stream.write((printable(text, keep="\n") if self._is_seen else text).encode())
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _unwritable(Path(self._name), error) from None


class ParquetOutput:
    """Written aside, and given its name when all rows are in it."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, path.with_name(f".{path.name}.tmp")
        self._rows: list[Row] = []
        self._writer: ParquetWriter | None = None

    def __enter__(self) -> Self:
        from pyarrow.parquet import ParquetWriter

        try:
            self._writer = ParquetWriter(self._aside, _schema())
        except OSError as error:
            raise _unwritable(self._path, error) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
            self._aside.unlink(missing_ok=True)

    def write(self, rows: Sequence[Row]) -> None:
        """Keep them until there is a group of them."""
        self._rows += rows
        if len(self._rows) >= _GROUP:
            self._put()

    def finish(self) -> None:
        """Write the rest and give the file its name."""
        self._put()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._aside.replace(self._path)

    def _put(self) -> None:
        from pyarrow import Table

        if self._writer is None or not self._rows:
            return
        columns = dict(zip(FIELDS, zip(*(astuple(row) for row in self._rows), strict=True), strict=True))
        try:
            self._writer.write_table(Table.from_pydict(columns, schema=_schema()))
        except OSError as error:
            raise _unwritable(self._path, error) from None
        self._rows = []


def _schema() -> Schema:
    import pyarrow as pa

    kinds = (pa.string(), pa.float64(), pa.bool_(), pa.float64(), pa.string())
    return pa.schema(list(zip(FIELDS, kinds, strict=True)))


def _csv_row(row: Row) -> str:
    anomalous = None if row.anomalous is None else int(row.anomalous)
    return csv_line((row.path, row.score, anomalous, row.threshold, row.error))


def _json_row(row: Row) -> str:
    return json.dumps(dict(zip(FIELDS, astuple(row), strict=True)), ensure_ascii=False, allow_nan=False) + "\n"


def _unwritable(path: Path, error: OSError) -> UserError:
    rule = "rows are written as images are scored"
    return UserError(Complaint(f"{path}: cannot be written ({error.strerror})", rule, "name another place by --output"))
