"""Files and folders that are written aside and then renamed: whole or not there, whoever else reads or writes them."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from adloc.datasets.checked import from_checked, to_checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def draft_path(root: Path, name: str) -> Path:
    """Where a folder of that name is filled before it is renamed to it; a reader of `root` passes it over."""
    return root / f".{name}.draft"


def empty_draft(root: Path, name: str) -> Path:
    """The draft, empty."""
    draft = draft_path(root, name)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def sync_files(folder: Path) -> None:
    """Have every file in it on the disk, so that a rename after this never shows half of one."""
    for file in (p for p in folder.rglob("*") if p.is_file()):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file below a folder with its facts, by name; what another process removes meanwhile is passed over."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(facts.st_mode):
                yield path, facts


def write_whole(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write a file aside and rename it: a reader never sees half of it, whoever else writes it at the same time.

    Args:
        path: of the file; its folder is made.
        data: all of it.
        sync: have it on the disk before it is renamed: after a power cut it is the old one or the new one.
    """
    aside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")  # of this call alone
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with aside.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_checked(path: Path, value: Mapping[str, object]) -> None:
    """Write JSON with a checksum, aside and then by renaming; `read_checked` reads it."""
    write_whole(path, to_checked(value, indent=1).encode(), sync=True)


def read_checked(path: Path) -> bytes:
    """The JSON of a file that has a checksum; of one from before it had, as it is.

    Raises:
        DamagedError: it is not what was written.
        OSError: it cannot be read.
    """
    return from_checked(path.read_bytes())
