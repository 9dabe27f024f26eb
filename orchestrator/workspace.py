"""The workspace: one folder that holds all that studies leave behind, and where in it each thing is."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths under the workspace's root."""

    root: Path

    @classmethod
    def find(cls, given: str | None) -> Workspace:
        """`--workspace`, else $ADLOC_WORKSPACE, else ./mlruns."""
        return cls(Path(given or os.environ.get("ADLOC_WORKSPACE") or "mlruns").expanduser().resolve())

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

    def is_locked(self, study: str) -> bool:
        """Whether a process is running the study now."""
        path = self.study_path(study) / "lock"
        if not path.exists():
            return False
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

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
        with (folder / "lock").open("w") as file:
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
            yield
