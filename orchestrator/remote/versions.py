"""What follows one upon the other behind a URL: numbered objects, each written once; the highest is what counts.

A writer takes the number after the last that it knows. Where another one was faster the object is there already, which
no writer can miss, however late its listing is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.datasets.objects import Objects

KEPT = 3  # versions before the last that a reader may still be at
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Version:
    """One of them.

    Attributes:
        number: from 1 on; 0 for what is before the first.
        content: plain values.
    """

    number: int
    content: Mapping[str, Any]


NONE = Version(0, {})


class Versions:
    """The numbered objects in one folder."""

    def __init__(self, objects: Objects, folder: str) -> None:
        """Of `folder`, a name relative to the URL."""
        self._objects = objects
        self.folder = folder

    def last(self, known: int = 0) -> Version:
        """The highest that can be seen from number `known` on; `NONE` where there is none."""
        number = max([known, *self.numbers()])
        found = NONE
        while number and (data := self._objects.read(self.name(number))) is not None:
            found, number = Version(number, json.loads(data)), number + 1
        return found

    def add(self, after: int, content: Mapping[str, Any]) -> Version | None:
        """Write the next; None where the number after `after` is taken."""
        data = json.dumps(content, sort_keys=True).encode()
        taken = self._objects.create(self.name(after + 1), data)
        return Version(after + 1, content) if taken else None

    def numbers(self) -> list[int]:
        """Those that can be seen, in order."""
        return sorted(filter(None, map(number_of, self._objects.list(self.folder))))

    def forget_old(self, last: int) -> None:
        """Remove those that nobody goes back to."""
        for number in self.numbers():
            if number < last - KEPT:
                self._objects.remove(self.name(number))

    def name(self, number: int) -> str:
        """The object's."""
        return f"{self.folder}/{number:0{_DIGITS}d}.json"


def number_of(name: str) -> int:
    """The number in an object's name; 0 for other objects."""
    stem, dot, suffix = name.rpartition("/")[2].partition(".")
    return int(stem) if dot and suffix == "json" and stem.isdigit() else 0
