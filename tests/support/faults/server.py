"""A process that has imported everything and forks for every command: a study's run costs no import.

Run as a program: a JSON line [{"arguments": [...], "workspace": path, "moment": n, "signal": n, "edge": word}, ...]
asks for commands of adloc, all at once, each in a process of its own. The answer, when all have ended, is a JSON line
[{"code": n, "moments": [...], "output": text}, ...]. With a `moment` the forked process sends itself `signal` at its
n-th moment of writing below the workspace (a file opened for writing, renamed or flushed to the disk, a statement of
SQL that changes something), before it or, with the edge "after", behind. `before` is Python that the process runs
first: what is different in it. A command that hangs ends with code 1 and the stacks of its threads as output.
"""

from __future__ import annotations

import builtins
import faulthandler
import importlib
import io
import json
import os
import signal
import sys
import tempfile
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

IMPORTED = (
    "mlflow.pyfunc", "optuna", "torch", "adloc.progress.study", "adloc.cli.tables", "adloc.computing.diagnosis",
    "adloc.cost.meter", "adloc.methods.network", "adloc.methods.floor.detector", "adloc.model.logged",
    "adloc.model.served", "adloc.record.recorder", "adloc.report.page", "adloc.run.runner", "adloc.run.runs",
    "adloc.run.searches", "adloc.tracking.experiment",
)  # fmt: skip
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

    def install(self) -> None:
        """Put counters around what writes."""
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


def command(request: dict[str, Any], out: Path, seen: Path) -> None:
    """Run one command in this process, which is a fork, and end it."""
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = sys.stderr = os.fdopen(os.dup(1), "w", buffering=1)
    faulthandler.dump_traceback_later(HANGS_S, exit=True, file=file)
    moments = Moments(
        request["workspace"], request.get("moment"), request.get("signal", 0), request.get("edge", "before")
    )
    exec(request.get("before", ""), {})  # noqa: S102  # by the test, of what it wants to be different in this process
    moments.install()
    code = 70
    try:
        from adloc.cli import cli

        cli.main(request["arguments"], prog_name="adloc")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # a traceback is what the test looks for
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        seen.write_text(json.dumps(moments.seen))
        os._exit(code)


def serve() -> None:
    """Answer requests until there are no more."""
    for name in IMPORTED:
        importlib.import_module(name)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = Path(tempfile.mkdtemp())
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        children = [fork(request, folder / f"{number}") for number, request in enumerate(json.loads(line))]
        answers = [answer(child, folder / f"{number}") for number, child in enumerate(children)]
        print(json.dumps(answers), flush=True)  # noqa: T201


def fork(request: dict[str, Any], place: Path) -> int:
    """The id of a process that carries out a command."""
    out, seen = place.with_suffix(".out"), place.with_suffix(".seen")
    seen.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        command(request, out, seen)
    return child


def answer(child: int, place: Path) -> dict[str, Any]:
    """How the process ended, once it has."""
    _, status = os.waitpid(child, 0)
    out, seen = place.with_suffix(".out"), place.with_suffix(".seen")
    return {
        "code": os.waitstatus_to_exitcode(status),
        "moments": json.loads(seen.read_text()) if seen.exists() else [],
        "output": out.read_text(errors="replace"),
    }


if __name__ == "__main__":
    serve()
