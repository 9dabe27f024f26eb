"""A failure that ends no study is kept as a file in its folder: the traceback, until the same thing succeeds."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from adloc.errors import in_one_line

if TYPE_CHECKING:
    from pathlib import Path


def keep_failure(path: Path) -> None:
    """Write the traceback of the exception that is being handled."""
    with suppress(OSError):  # of a full disk, say: the study's figures are safe all the same
        path.write_text(traceback.format_exc(), encoding="utf-8")


def kept_reason(path: Path) -> str:
    """What was kept, in one line; "" where nothing failed."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    return in_one_line(text) or "the reason could not be kept"
