"""Which records' pictures were read and found whole: a rerun of a study need not read gigabytes of them again.

Kept beside the records, `.verified`, a line a record: its name, and a digest of every picture's checksum with the size
and the times that the file had when it was last read in full. A file that anything has written to since has others, and
is read again. What this does not see is a bit that the disk itself turned in a file that nobody wrote to, and a change
within the same tick of the file system's clock, some milliseconds, as the writing of the record.

The file is of this machine: a copy of the workspace has files of other times, which are read once more. Losing it costs
that reading, and so does damage to it: what is in it is only ever compared.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Verified:
    """The records of one study whose pictures were found whole, and how these then stood on the disk."""

    def __init__(self, path: Path) -> None:
        """Keep it in that file, which is read when first asked for."""
        self._path = path
        self._known: dict[str, str] | None = None

    def has(self, run_id: str, state: str) -> bool:
        """Whether the pictures of a record were whole when they stood as they do now."""
        return self._read().get(run_id) == state

    def add(self, run_id: str, state: str) -> None:
        """Remember that they are whole, where the disk lets it be kept."""
        self._read()[run_id] = state
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(f"{run_id} {state}\n")

    def _read(self) -> dict[str, str]:
        if self._known is None:
            lines: list[str] = []
            with suppress(OSError):
                lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
            self._known = {run_id: state for run_id, _, state in (line.rpartition(" ") for line in lines)}
        return self._known


def state_of(folder: Path, checksums: Mapping[str, str]) -> str:
    """A digest of files with the checksums that they should have: changes with any that is written to.

    Raises:
        OSError: one is missing.
    """
    stats = [(name, checksum, os.stat(f"{folder}/{name}")) for name, checksum in checksums.items()]  # noqa: PTH116  of 80,000 files: half the time
    seen = [f"{name}\0{checksum}\0{s.st_size}\0{s.st_mtime_ns}\0{s.st_ctime_ns}" for name, checksum, s in stats]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:16]
