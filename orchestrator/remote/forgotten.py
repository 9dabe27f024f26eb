"""Results that `--fresh` has forgotten, told to every machine: one that has copies would compute from them.

Each time is a numbered object, `forgotten/<number>.json`: keys by kind. A machine remembers up to which it has let go.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from adloc.record.files import read_checked, write_checked
from adloc.remote.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from adloc.datasets.objects import Objects

FOLDER = "forgotten"


class Forgotten:
    """What was forgotten in one workspace, as one machine knows it."""

    def __init__(self, objects: Objects, memory: Path) -> None:
        """Read and write it behind a URL; `memory`: a file of this machine."""
        self._versions = Versions(objects, FOLDER)
        self._objects = objects
        self._memory = memory

    def news(self) -> Iterator[tuple[str, str]]:
        """Kind and key of each result that was forgotten since this machine asked last."""
        known = self._known()
        for number in (number for number in self._versions.numbers() if number > known):
            data = self._objects.read(self._versions.name(number))
            content: dict[str, list[str]] = json.loads(data or b"{}")
            yield from ((kind, key) for kind, keys in content.items() for key in keys)
            write_checked(self._memory, {"number": number})

    def tell(self, results: Iterable[tuple[str, str]]) -> bool:
        """Have every machine hear of these; False where there is news first, and this is to be told after it."""
        content: dict[str, list[str]] = {}
        for kind, key in results:
            content.setdefault(kind, []).append(key)
        written = self._versions.add(self._known(), content)
        if written is not None:
            write_checked(self._memory, {"number": written.number})
        return written is not None

    def _known(self) -> int:
        try:
            return int(json.loads(read_checked(self._memory))["number"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return 0
