"""Rows as they are written and read back: CSV, JSON lines, Parquet, and files that a stop has torn."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloc.errors import UserError
from adloc.predict.output import open_output
from adloc.predict.resumed import resume
from adloc.predict.row import FIELDS, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROWS = (
    Row("a.png", 0.1 + 0.2, anomalous=True, threshold=0.3, error=None),
    Row('b "q", ü\n2.png', 1e-9, anomalous=False, threshold=0.3, error=None),
    Row("c\r.png", None, None, 0.3, "does not decode: every image must"),
    Row("d.png", 5.0, None, None, None),
)


def write(path: Path, rows: Sequence[Row], *, append: bool = False) -> None:
    with open_output(path, append=append) as output:
        for row in rows:
            output.write([row])
        output.finish()


def test_csv_holds_every_value(tmp_path: Path) -> None:
    """Scores to the last bit, anomalous as 0 or 1 as in a study's images.csv, nothing where there is no value."""
    write(tmp_path / "rows.csv", ROWS)
    with (tmp_path / "rows.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == FIELDS
    assert [row[0] for row in rows] == [row.path for row in ROWS]
    assert [float(row[1]) if row[1] else None for row in rows] == [row.score for row in ROWS]
    assert [row[2] for row in rows] == ["1", "0", "", ""]
    assert rows[2][4] == ROWS[2].error


def test_json_lines_hold_every_value(tmp_path: Path) -> None:
    """One object a line, null where there is no value."""
    write(tmp_path / "rows.jsonl", ROWS)
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [Row(**json.loads(line)) for line in lines] == list(ROWS)


def test_parquet_holds_every_value(tmp_path: Path) -> None:
    """Typed columns, null where there is no value; nothing is left beside the file."""
    write(tmp_path / "rows.parquet", ROWS)
    table = pq.read_table(tmp_path / "rows.parquet")
    assert [str(kind) for kind in table.schema.types] == ["string", "double", "bool", "double", "string"]
    assert [Row(**row) for row in table.to_pylist()] == list(ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
    assert len(pd.read_parquet(tmp_path / "rows.parquet")) == 4


def test_text_is_there_as_it_is_written(tmp_path: Path) -> None:
    """A reader sees each row at once, not when the job ends."""
    with open_output(tmp_path / "rows.csv", append=False) as output:
        output.write(ROWS[:1])
        assert len((tmp_path / "rows.csv").read_text().splitlines()) == 2


def test_parquet_is_whole_or_absent(tmp_path: Path) -> None:
    """What is not finished leaves the file that was there before, and nothing beside it."""
    write(tmp_path / "rows.parquet", ROWS[:1])
    before = (tmp_path / "rows.parquet").read_bytes()
    with open_output(tmp_path / "rows.parquet", append=False) as output:
        output.write(ROWS)
    assert (tmp_path / "rows.parquet").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["rows.xlsx", "rows", "nowhere/rows.csv", "."])
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    """An unknown suffix, a folder that is not there, or a folder."""
    with pytest.raises(UserError):
        open_output(tmp_path / name, append=False)


def test_parquet_cannot_be_appended_to(tmp_path: Path) -> None:
    """Rows of a watched folder never end."""
    with pytest.raises(UserError):
        open_output(tmp_path / "rows.parquet", append=True)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@given(cut=st.integers(0, 400))
def test_a_torn_file_goes_on(tmp_path_factory: pytest.TempPathFactory, suffix: str, cut: int) -> None:
    """Cut anywhere, the rows that are whole are known, and the file with the others appended is that of one go."""
    path = tmp_path_factory.mktemp("torn") / f"rows.{suffix}"
    write(path, ROWS)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    known = resume(path)
    names = [row.path for row in ROWS]
    assert known == set(names[: len(known)])
    write(path, ROWS[len(known) :], append=True)
    assert path.read_bytes() == whole


def test_no_file_knows_no_paths(tmp_path: Path) -> None:
    """The first time there is nothing to go on from."""
    assert resume(tmp_path / "rows.csv") == set()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b"name,score\na,1\n"),
        ("rows.csv", b"path,score,anomalous,threshold,error\na,1\n"),
        ("rows.csv", b"\x89PNG\r\n\x1a\n\n"),
        ("rows.jsonl", b'{"path": "a"}\n'),
        ("rows.jsonl", b"[1]\n"),
        ("rows.jsonl", b"5\n"),
        ("rows.jsonl", b"not json\n"),
        ("rows.csv", b"a line without an end"),
        ("rows.jsonl", b"a line without an end"),
    ],
)
def test_a_foreign_file_is_left_alone(tmp_path: Path, name: str, content: bytes) -> None:
    """What others wrote is neither cut nor appended to."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError):
        resume(path)
    assert path.read_bytes() == content
