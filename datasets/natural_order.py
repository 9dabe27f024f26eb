"""The order of names: numbers by value, the same on every machine."""

from __future__ import annotations

import re


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return a sort key that puts "9.png" before "10.png", the same on every machine.

    >>> sorted(["10.png", "9.png", "a.png"], key=natural_key)
    ['9.png', '10.png', 'a.png']
    """
    pieces = re.split("([0-9]+)", name)
    return tuple((0, int(p), "") if p.isdecimal() and p.isascii() else (1, 0, p) for p in pieces if p), name
