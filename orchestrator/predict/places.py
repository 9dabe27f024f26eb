"""What stands at a path that somebody gave; one that cannot be looked at is nothing, and says why when it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_folder(path: Path) -> bool:
    """Whether it is a folder; not where its name is too long for one, or its own folder may not be entered."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_there(path: Path) -> bool:
    """Whether anything is there, in the same way."""
    try:
        return path.exists()
    except OSError:
        return False
