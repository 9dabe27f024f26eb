"""Moments of writing in a process: counted, and a signal at one of them.

A moment is a file below a folder that is opened for writing, renamed or flushed to the disk, or a statement of SQL that
changes something.
"""

from __future__ import annotations

import atexit
import builtins
import faulthandler
import io
import json
import os
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HANGS_S = 240  # of a command that takes a few
CHANGES = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP")


class Moments:
    """Counts the moments of writing, and ends the process at one of them.

    Attributes:
        seen: a word for each so far.
    """

    def __init__(self, workspace: str, moment: int | None, number: int, edge: str) -> None:
        self.seen: list[str] = []
        self._workspace, self._moment, self._number, self._edge = workspace, moment, number, edge

    def count(self) -> None:
        """Put counters around what writes, from now on."""
        import sqlalchemy
        from sqlalchemy.engine import Engine

        for name in ("replace", "rename"):
            setattr(os, name, self._around(getattr(os, name), name, lambda path, *_: path))
        os.fsync = self._around(os.fsync, "fsync", lambda file, *_: Path(f"/proc/self/fd/{_number(file)}").readlink())
        opened = self._around(io.open, "open", lambda path, mode="r", *_: path if set(mode) & set("wax+") else None)
        io.open = builtins.open = opened

        def changes(_c: object, _k: object, statement: str, *_: object) -> None:
            if statement.lstrip().upper().startswith(CHANGES):
                self._pass(statement.split(maxsplit=1)[0])

        sqlalchemy.event.listen(Engine, f"{self._edge}_cursor_execute", changes)

    def _around(self, call: Callable[..., Any], word: str, path_of: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def counted(*args: Any, **kwargs: Any) -> Any:
            path = path_of(*args)
            counts = isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._workspace)
            if counts and self._edge == "before":
                self._pass(word)
            found = call(*args, **kwargs)
            if counts and self._edge == "after":
                self._pass(word)
            return found

        return counted

    def _pass(self, word: str) -> None:
        self.seen.append(word)
        if len(self.seen) == self._moment:
            os.kill(os.getpid(), self._number)


def _number(file: Any) -> int:
    return file if isinstance(file, int) else file.fileno()


def count_moments(workspace: str, seen: str, moment: int | None = None, signal: int = 0, edge: str = "before") -> None:
    """Count this process's moments of writing, which stand in a file when it has ended in good order.

    Args:
        workspace: the folder below which writing counts.
        seen: the file, a JSON list of a word for each.
        moment: the number of the one at which the process sends itself a signal; None for none.
        signal: its number.
        edge: "before" the moment, or "after" it.
    """
    faulthandler.dump_traceback_later(HANGS_S, exit=True, file=2)
    moments = Moments(workspace, moment, signal, edge)
    moments.count()
    atexit.register(lambda: Path(seen).write_text(json.dumps(moments.seen)))
