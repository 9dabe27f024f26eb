"""The state of files, by which a change is noticed without reading them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# A file changed this shortly before it is looked at may change again within one tick of its file system's clock
# (2 s on FAT) without another time of change: it is hashed again the next time.
_SETTLED_NS = 2_000_000_000


def stamp_files(paths: Iterable[Path]) -> str | None:
    """Say which state of which files this is: absolute paths, sizes and times of change (ns).

    What an `ImageSource` that reads files gives as its stamp.

    Args:
        paths: of all files that an image is made of.

    Returns:
        None where that cannot be told: a file is gone, or was changed just now.
    """
    try:
        states = [(path.absolute(), path.stat()) for path in paths]
    except OSError:
        return None
    if any(abs(time.time_ns() - state.st_mtime_ns) <= _SETTLED_NS for _, state in states):
        return None
    return "|".join(f"{path}|{state.st_size}|{state.st_mtime_ns}" for path, state in states)
