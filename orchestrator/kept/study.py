"""A study as it is recorded in a workspace: read without its images, its weights or the options it was run with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.answer import find_answer, kept_answer
from adloc.datasets.checked import DamagedError
from adloc.errors import Complaint, NotThereError, UserError, in_one_line, nearest
from adloc.metrics.registry import CHOICES
from adloc.planning.plan import make_plan
from adloc.record.beside import read_beside
from adloc.record.kept_inventory import NAME as INVENTORY
from adloc.record.kept_inventory import read_inventory
from adloc.record.reasons import lacking
from adloc.record.records import Records, planned_runs
from adloc.study import Study, incomplete, prepare, with_winners
from adloc.study_file.validation import load_study

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from adloc.answer.answer import Answer
    from adloc.study_file.reader import StudyFile
    from adloc.study_file.spec import StudySpec
    from adloc.workspace import Workspace


SHOWN = 3  # sections that differ


@dataclass(frozen=True, slots=True)
class KeptStudy:
    """What is on disk of a study.

    Attributes:
        file: the resolved one in the workspace.
        spec: as it was last run.
        folder: of the study in the workspace.
        answer: the tables as they were last written.
        planned: ids of the runs that it last planned.
        failed: why a run failed, by the id of each that did.
        n_done: planned runs with a good record.
        is_running: whether a process runs it now.
        lacking: by id of the runs done whose records lack figures that the study reports now: those figures.
    """

    file: StudyFile
    spec: StudySpec
    folder: Path
    answer: Answer
    planned: tuple[str, ...]
    failed: dict[str, str]
    n_done: int
    is_running: bool
    lacking: dict[str, tuple[str, ...]]


def read_study(name: str, workspace: Workspace) -> KeptStudy:
    """The study of that name.

    Raises:
        UserError: there is none in the workspace, nothing of it is recorded yet, or its tables are damaged.
    """
    folder = _folder(name, workspace)
    workspace.pull(name)
    planned, records = planned_runs(folder), Records(folder)
    answer = None
    if planned is not None and _is_whole(folder / "study.yaml"):
        file, spec = load_study(folder / "study.yaml")
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
    asked = CHOICES if spec.evaluation.metrics is None else spec.evaluation.metrics
    done = (record for record in known.values() if record.status == "done")
    lack = {record.run_id: figures for record in done if (figures := lacking(record, asked))}
    n_done, is_running = len(known) - len(failed), workspace.is_locked(name)
    return KeptStudy(file, spec, folder, answer, tuple(planned), failed, n_done, is_running, lack)


def _folder(name: str, workspace: Workspace) -> Path:
    """Of the study of that name.

    Raises:
        UserError: there is none in the workspace.
    """
    names = sorted(path.name for path in workspace.studies_path().glob("*") if path.is_dir())
    if name not in names:
        raise UserError(
            Complaint(
                f"{name}: no such file, and no study of that name in {workspace.location}",
                "it must be a study file, or the name of a study that was run in the workspace",
                nearest(name, names) if names else "run a study first, or name its --workspace",
            )
        )
    return workspace.studies_path() / name


def prepared_or_kept(
    file: Path, overrides: Sequence[str], workspace: Workspace, say: Callable[[str], None]
) -> Study | KeptStudy:
    """The study of a file, prepared; as it is recorded where its images or weights are not there.

    Args:
        file: of the study.
        overrides: "dotted.key=value".
        workspace: where it was run.
        say: hears, in a line, that its records alone were read.

    Raises:
        NotThereError: images or weights, and nothing is recorded, or what is was asked for in another way.
        UserError: the file or its data is wrong.
    """
    try:
        return prepare(file, overrides, workspace, download=False)
    except NotThereError as reason:
        kept = _read_instead(file, overrides, workspace, reason)
        why = in_one_line(str(reason.complaints[0].found))
        say(f"from the records of {kept.spec.study} alone: neither images nor weights were looked at ({why})")
        return kept


def _read_instead(file: Path, overrides: Sequence[str], workspace: Workspace, reason: NotThereError) -> KeptStudy:
    _, spec = load_study(file, overrides)
    try:
        kept = read_study(spec.study, workspace)
    except UserError:
        raise reason from None
    asked, recorded = _asked(spec), _asked(kept.spec)
    differs = sorted(key for key in {*asked, *recorded} if asked.get(key) != recorded.get(key))
    if differs:
        raise NotThereError(
            *reason.complaints,
            Complaint(
                f"{kept.folder}: recorded with another {', '.join(differs[:SHOWN])}",
                "without images and weights a file is answered by its records alone, if they are of what it asks",
                f"name the study to read what is recorded of it: {spec.study}",
            ),
        )
    return kept


def answer_of(there: Study | KeptStudy) -> Answer:
    """Every table: of what is recorded now, or as they were last written."""
    return there.answer if isinstance(there, KeptStudy) else find_answer(there.plan, there.records)


def lacking_in(there: Study | KeptStudy) -> Mapping[str, tuple[str, ...]]:
    """By id of the runs whose records lack figures that the study reports now: those figures."""
    return there.lacking if isinstance(there, KeptStudy) else incomplete(there)


def as_study(there: Study | KeptStudy, workspace: Workspace) -> Study:
    """The study; one that is kept as it was planned when it was last run, without its images' pixels and its weights.

    Raises:
        UserError: it was run by a version that did not keep what it was planned from.
    """
    if isinstance(there, Study):
        return there
    found = read_inventory(there.folder)
    if found is None:
        raise UserError(
            Complaint(
                f"{there.folder / INVENTORY}: is not there, or damaged",
                "a report is made again from what the study was planned from; versions before kept none",
                "run the study once where its images are: what is recorded is not computed again",
            )
        )
    plan = make_plan(there.spec, found.inventory)
    study = Study(there.file, there.spec, plan, workspace, dict(found.places), found.inventory)
    return with_winners(study)


def _asked(spec: StudySpec) -> dict[str, object]:
    """Sections of a study file, but for where its images are."""
    values = spec.resolved()
    for section, name in (("dataset", "root"), ("shift", "roots")):
        if isinstance(inner := values.get(section), dict):
            values[section] = {key: value for key, value in inner.items() if key != name}
    return values


def _is_whole(path: Path) -> bool:
    """Whether a file is there and is what was written."""
    try:
        read_beside(path)
    except (OSError, DamagedError):
        return False
    return True
