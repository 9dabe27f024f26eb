"""Files that others read as they are, with their checksum in a file beside them: `results.json.crc32`.

Where a file is ours alone its checksum stands inside; see `adloc.datasets.checked`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.datasets.checked import DamagedError, crc32_of
from adloc.record.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path


def write_beside(path: Path, text: str) -> None:
    """Write a file and its checksum, each aside and renamed: a crash between the two leaves a file taken as damaged."""
    data = text.encode()
    write_whole(path, data)
    write_whole(_checksum_path(path), f"{crc32_of(data)}\n".encode())


def read_beside(path: Path) -> bytes:
    """The file as it was written; one of an earlier version, which has no checksum, as it is.

    Raises:
        DamagedError: it is not what was written.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        expected = _checksum_path(path).read_bytes()
    except FileNotFoundError:
        return data
    if expected != f"{crc32_of(data)}\n".encode():
        raise DamagedError(path)
    return data


def forget_beside(path: Path) -> None:
    """Remove a file, where it is there, then its checksum."""
    path.unlink(missing_ok=True)
    _checksum_path(path).unlink(missing_ok=True)


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.crc32")
