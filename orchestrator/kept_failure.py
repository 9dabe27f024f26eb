"""A failure that ends no study is kept as a file in its folder: the traceback, until the same thing succeeds."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def keep_failure(path: Path) -> None:
    """Write the traceback of the exception that is being handled."""
    with suppress(OSError):  # of a full disk, say: the study's figures are safe all the same
        path.write_text(traceback.format_exc(), encoding="utf-8")


def kept_reason(path: Path) -> str:
    """The last line of what was kept; "" where nothing failed."""
    try:
        lines = path.read_text(encoding="utf-8").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1] if lines else "the reason could not be kept"
