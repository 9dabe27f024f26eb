"""A damaged MLflow database is set aside, and what it showed is shown again from the records."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from adloc.tracking.database import looks_whole, set_damaged_aside
from adloc.tracking.place import Place
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def cut(content: bytes) -> bytes:
    """Half of a file."""
    return content[: len(content) // 2]


def cut_early(content: bytes) -> bytes:
    """Less than its first page."""
    return content[:50]


def zeroed(content: bytes) -> bytes:
    """As a machine that lost its power leaves a file."""
    return bytes(len(content))


def zeroed_page(content: bytes) -> bytes:
    """One page in the middle."""
    return content[:8192] + bytes(4096) + content[12288:]


def foreign(content: bytes) -> bytes:
    """Something else."""
    return b"no database at all\n" * (len(content) // 19)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of some pages."""
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 500,)] * 100)
    return path


@pytest.mark.parametrize("damage", [cut, cut_early, zeroed, zeroed_page, foreign])
def test_damaged_database_is_set_aside(database: Path, damage: Callable[[bytes], bytes]) -> None:
    """Nothing is deleted, and none is left where the next one is made."""
    content = damage(database.read_bytes())
    database.write_bytes(content)
    aside = set_damaged_aside(database)
    assert aside is not None
    assert aside.read_bytes() == content
    assert not database.exists()


@pytest.mark.parametrize("damage", [cut, cut_early, zeroed, foreign])
def test_finished_study_sees_a_database_that_is_short_or_none(database: Path, damage: Callable[[bytes], bytes]) -> None:
    """From its first bytes alone: a study that is run again opens no database."""
    assert looks_whole(database)
    database.write_bytes(damage(database.read_bytes()))
    assert not looks_whole(database)


def test_sound_database_stays(database: Path) -> None:
    """Also while somebody writes to it, and where there is none."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert set_damaged_aside(database) is None
    assert set_damaged_aside(database) is None
    assert looks_whole(database)
    assert set_damaged_aside(database.with_name("none.db")) is None
    assert not looks_whole(database.with_name("none.db"))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["75868b020152", "of no MLflow"])
def test_database_with_other_tables_serves_again(tmp_path: Path, version: str) -> None:
    """One of an earlier MLflow, one whose last changes a copy has left behind, or one of a later MLflow."""
    from adloc.tracking.runs import OwnRuns

    workspace = Workspace(tmp_path / "workspace")
    OwnRuns(Place(workspace), "mine")
    with closing(sqlite3.connect(workspace.tracking_path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    runs = OwnRuns(Place(workspace), "mine")
    assert runs.client.get_run(runs.parent_id).data.tags["adloc.study"] == "mine"


@pytest.mark.slow  # MLflow migrates a new database for some seconds
def test_all_studies_of_a_workspace_are_shown_again(tmp_path: Path) -> None:
    """The index of each named runs of the database that is gone."""
    from adloc.tracking.runs import OwnRuns

    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    workspace.tracking_path.write_bytes(bytes(100_000))
    other = Place(workspace).index_path("other")
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    runs = OwnRuns(Place(workspace), "mine")
    assert runs.client.get_run(runs.parent_id).data.tags["adloc.study"] == "mine"
    assert not other.exists()
    assert list(workspace.root.glob("mlflow.db.damaged-*"))
