"""The command line in processes of its own that import nothing: forks of one that has, made once for all tests.

Tests of signals, of several machines and of another environment need a process; its ten seconds of imports they do not.
`python -m adloc` itself is started where that is what is tested.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import tempfile
from contextlib import chdir
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

RAY = {"cluster", "ray_executor"}
OWN = [path.relative_to(ROOT / "orchestrator").with_suffix("").parts for path in (ROOT / "orchestrator").rglob("*.py")]
IMPORTED = [
    "alembic.command", "alembic.config", "imagehash", "jinja2", "matplotlib.backends.backend_agg", "matplotlib.figure",
    "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking", "optuna", "pyarrow.pandas_compat",
    "scipy.fftpack", "scipy.optimize", "scipy.stats", "skimage.morphology", "torch",
    "adloc.methods.floor.detector", "adloc.methods.network", "adloc.methods.patchcore.detector",
    *(".".join(("adloc", *parts)) for parts in OWN if not {*RAY, "__init__", "__main__"} & {*parts}),
]  # fmt: skip
_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(IMPORTED)


class Forked:
    """A command that was started."""

    def __init__(
        self, *arguments: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, before: str = ""
    ) -> None:
        """Start it.

        Args:
            arguments: of `adloc`.
            cwd: its working directory.
            environment: all of it, with folders to import from in $PYTHONPATH; None for that of this process.
            before: Python that the process runs first.
        """
        self._said = tempfile.TemporaryDirectory()
        words, given = [str(each) for each in arguments], dict(environment or os.environ)
        self._process = _FORKS.Process(target=_run, args=(words, str(cwd), given, before, self._said.name))
        self._process.start()

    @property
    def code(self) -> int | None:
        """Its exit code, the negative number of a signal that ended it; None while it runs."""
        return self._process.exitcode

    def signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.code is None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def end(self, timeout_s: float) -> tuple[str, str]:
        """Wait for its end; its output and its errors.

        Raises:
            AssertionError: it did not end in time, and was killed.
        """
        self._process.join(timeout_s)
        late = self.code is None
        if late:
            self._process.kill()
            self._process.join()
        output, errors = (Path(self._said.name, name).read_text() for name in ("output", "errors"))
        self._said.cleanup()
        assert not late, errors
        return output, errors


def _run(arguments: list[str], cwd: str, environment: dict[str, str], before: str, said: str) -> None:
    """Carry the command out in this process, which is a fork."""
    for number, name in ((1, "output"), (2, "errors")):
        os.dup2(os.open(Path(said, name), os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.argv = ["adloc", *arguments]
    try:
        with chdir(cwd):
            exec(before, {})  # noqa: S102  # by the test
            from adloc.__main__ import main

            main()
    finally:
        atexit._run_exitfuncs()  # a process of multiprocessing ends without
