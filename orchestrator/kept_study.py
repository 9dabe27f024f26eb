"""A study as it is recorded in a workspace: read without its images, its weights or the options it was run with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.answer import kept_answer
from adloc.datasets.checked import DamagedError
from adloc.errors import Complaint, UserError, nearest
from adloc.record.beside import read_beside
from adloc.record.records import Records, planned_runs
from adloc.study_file.validation import load_study

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.answer.answer import Answer
    from adloc.study_file.spec import StudySpec
    from adloc.workspace import Workspace


@dataclass(frozen=True, slots=True)
class KeptStudy:
    """What is on disk of a study.

    Attributes:
        spec: as it was last run.
        folder: of the study in the workspace.
        answer: the tables as they were last written.
        planned: ids of the runs that it last planned.
        failed: why a run failed, by the id of each that did.
        n_done: planned runs with a good record.
        is_running: whether a process runs it now.
    """

    spec: StudySpec
    folder: Path
    answer: Answer
    planned: tuple[str, ...]
    failed: dict[str, str]
    n_done: int
    is_running: bool


def read_study(name: str, workspace: Workspace) -> KeptStudy:
    """The study of that name.

    Raises:
        UserError: there is none in the workspace, nothing of it is recorded yet, or its tables are damaged.
    """
    folder = workspace.studies_path() / name
    names = sorted(path.name for path in workspace.studies_path().glob("*") if path.is_dir())
    if name not in names:
        raise UserError(
            Complaint(
                f"{name}: no such file, and no study of that name in {workspace.location}",
                "it must be a study file, or the name of a study that was run in the workspace",
                nearest(name, names) if names else "run a study first, or name its --workspace",
            )
        )
    workspace.pull(name)
    planned = planned_runs(folder)
    records = Records(folder)
    answer = None
    if planned is not None and _is_whole(folder / "study.yaml"):
        _, spec = load_study(folder / "study.yaml")
        answer = kept_answer(spec, records, folder)
    if planned is None or answer is None:
        raise UserError(
            Complaint(
                f"{folder}: no results yet, or a file is damaged",
                "results are written when a run of the study ends",
                f"run it to its end: adloc study run FILE --workspace {workspace.location}",
            )
        )
    known = {run_id: record for run_id in planned if (record := records.get(run_id)) is not None}
    failed = {run_id: record.error or "" for run_id, record in known.items() if record.status == "failed"}
    return KeptStudy(spec, folder, answer, tuple(planned), failed, len(known) - len(failed), workspace.is_locked(name))


def _is_whole(path: Path) -> bool:
    """Whether a file is there and is what was written."""
    try:
        read_beside(path)
    except (OSError, DamagedError):
        return False
    return True
