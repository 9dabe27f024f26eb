"""The workspace's MLflow database as a file: whether it is whole, and where it goes when it is not."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"SQLite format 3\0"
_BESIDE = ("", "-wal", "-shm")  # what SQLite keeps beside a database belongs to it


def looks_whole(database: Path) -> bool:
    """Whether there is a database of the length that its first page says; nothing more of it is read."""
    try:
        with database.open("rb") as file:
            header = file.read(32)
        n_bytes = database.stat().st_size
    except OSError:
        return False
    page = int.from_bytes(header[16:18])
    page = 65536 if page == 1 else page  # which the field cannot hold
    return header.startswith(_MAGIC) and n_bytes >= page * int.from_bytes(header[28:32])


def set_damaged_aside(database: Path) -> Path | None:
    """Move a database away that SQLite cannot read or finds inconsistent; return where it is now.

    Every page is read, a second for some hundred megabytes. What it held is shown again from the records.
    """
    return None if not database.exists() or is_sound(database) else set_aside(database)


def set_aside(database: Path) -> Path:
    """Move a database away that is of no use, with what SQLite keeps beside it; return where it is now."""
    aside = database.with_name(f"{database.name}.damaged-{time.time_ns()}")
    for suffix in _BESIDE:
        path = database.with_name(database.name + suffix)
        if path.exists():
            path.replace(aside.with_name(aside.name + suffix))
    logging.getLogger(__name__).warning(
        "WARNING: %s is damaged: it was moved to %s and is made again from the records", database, aside
    )
    return aside


def is_sound(database: Path) -> bool:
    """Whether SQLite can read all pages of a database, and finds them consistent; so is one that somebody writes."""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", timeout=1, uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError as error:
        return error.sqlite_errorname in {"SQLITE_BUSY", "SQLITE_LOCKED"}  # somebody writes: it serves somebody
    except sqlite3.DatabaseError:
        return False
