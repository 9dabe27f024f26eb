"""The workspace: one folder that holds all that studies leave behind, and where in it each thing is.

It may be behind a URL: then the folder is this machine's copy, and `shared` keeps the two in step.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from adloc.datasets.objects import UnreachableError, is_url
from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.computing.store import Store
    from adloc.remote.shared import Shared


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths under the workspace's root.

    Attributes:
        root: of the workspace on this machine.
        shared: the workspace behind a URL, of which `root` is the copy; None for one that is just a folder.
    """

    root: Path
    shared: Shared | None = None

    @classmethod
    def find(cls, given: str | None) -> Workspace:
        """`--workspace`, else $ADLOC_WORKSPACE, else ./mlruns: a folder, or a URL that fsspec opens.

        Raises:
            UserError: what is at the URL is no workspace.
            UnreachableError: the URL cannot be reached.
        """
        place = given or os.environ.get("ADLOC_WORKSPACE") or "mlruns"
        if not is_url(place):
            return cls(Path(place).expanduser().resolve())
        from adloc.remote.shared import Shared

        shared = Shared(place)
        return cls(shared.root, shared)

    @property
    def location(self) -> str:
        """What `--workspace` names it by: its folder, or its URL."""
        return str(self.root) if self.shared is None else self.shared.url

    def store(self) -> Store:
        """The results of stages."""
        from adloc.computing.store import Store

        return Store(self.store_path) if self.shared is None else self.shared.store()

    @property
    def tracking_path(self) -> Path:
        """MLflow's database."""
        return self.root / "mlflow.db"

    @property
    def artifacts_path(self) -> Path:
        """MLflow's artifacts."""
        return self.root / "artifacts"

    @property
    def store_path(self) -> Path:
        """Stage results."""
        return self.root / "store"

    @property
    def fingerprints_path(self) -> Path:
        """Content hashes of files already read."""
        return self.root / "store" / "fingerprints.json"

    def journal_path(self, study: str) -> Path:
        """Optuna's journal of one study."""
        return self.root / "optuna" / f"{study}.journal"

    def study_path(self, study: str) -> Path:
        """Resolved spec, plan, records, results and report of one study."""
        return self.root / "studies" / study

    def studies_path(self) -> Path:
        """The folder of all studies, each as it stands behind the URL where there is one."""
        for study in [] if self.shared is None else self.shared.studies():
            self.pull(study)
        return self.root / "studies"

    def pull(self, study: str) -> None:
        """Bring this machine's copy of a study up to date, unless a process here runs it: then there is nothing newer.

        Nothing for a workspace that is just a folder.
        """
        if self.shared is not None:
            with self.turn(f"copy-{study}"):
                if not self._is_locked_here(study):
                    self.shared.pull(study)

    def push(self, study: str) -> None:
        """Have all machines see what this process has written in a study's folder, records apart; see `pull`."""
        if self.shared is not None:
            self.shared.push(study)

    def offer(self, study: str) -> str:
        """Have all machines see what a process that does not hold the study wrote in its folder, which it had pulled.

        Returns:
            Why they do not, in a sentence: nobody may write there, or nobody answers; "" where they do.
        """
        if self.shared is None or self._is_locked_here(study):  # whoever holds it sends it
            return ""
        try:
            with self.turn(f"copy-{study}"):
                self.shared.push(study)
        except UnreachableError as error:
            return f"{error.problems[0].found}; what was written is on this machine alone"
        return ""

    def push_record(self, study: str, run_id: str) -> None:
        """Have all machines see a run's record, or that it was set aside."""
        if self.shared is not None:
            self.shared.push_record(study, run_id)

    def appending(self, path: Path) -> AbstractContextManager[None]:
        """A file of lines as all machines know it; what is appended to it in the block, all of them know."""
        return nullcontext() if self.shared is None else self.shared.appending(path)

    def is_locked(self, study: str) -> bool:
        """Whether a process is running the study now, on this machine or another."""
        return self._is_locked_here(study) or (self.shared is not None and self.shared.is_held(study))

    def _is_locked_here(self, study: str) -> bool:
        path = self.study_path(study) / "lock"
        if not path.exists():
            return False
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def in_use_since(self, *, besides: str = "") -> float | None:
        """When the first of the studies that are running now began, seconds since 1970; None where none is."""
        locks = self.root.glob("studies/*/lock")
        names = [path.parent.name for path in locks if path.parent.name != besides]
        begun = [(self.study_path(name) / "lock").read_text() for name in names if self._is_locked_here(name)]
        return min((float(text or 0) for text in begun), default=None)

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Wait for what no two processes may do at a time in this workspace: moments, never a study's length."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f".{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def lock(self, study: str) -> Iterator[None]:
        """Hold the study for this process: one writer.

        Raises:
            UserError: another process runs the same study in this workspace.
        """
        folder = self.study_path(study)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("a") as file:  # whoever is refused leaves what is written in it
            with nullcontext() if self.shared is None else self.turn(f"copy-{study}"):
                _lock(file, folder)
            file.truncate(0)
            file.write(str(time.time()))
            file.flush()
            with nullcontext() if self.shared is None else self.shared.held(study):
                yield


def open_store(address: str) -> Store:
    """The store that another process knows by this address; see `adloc.computing.store.Store.address`.

    Raises:
        UnreachableError: it is behind a URL that cannot be reached.
    """
    from adloc.computing.store import Store

    return Workspace.find(address).store() if is_url(address) else Store(Path(address))


def _lock(file: TextIO, folder: Path) -> None:
    """Lock an open file.

    Raises:
        UserError: another process has.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel frees it if this process dies
    except BlockingIOError:
        raise UserError(
            Complaint(
                f"{folder}: another process is running this study",
                "one process at a time runs a study in a workspace",
                "wait for it (`adloc study status FILE`), or use another --workspace",
            )
        ) from None
