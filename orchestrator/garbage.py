"""When Python looks for garbage: rarely while much is made that stays, as the runs of a large plan and its records."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_RARELY = (200_000, 30, 30)  # objects made between looks; Python's 700 is for programs that keep few


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Look for garbage rarely in this block or function: of 10,000 runs it takes a tenth to a fifth of the time.

    What is not in a circle is freed at once all the same.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
