"""Show a study's records where it is tracked: the driver's part in tracking, and all that `adloc study track` does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.answer import kept_answer
from adloc.answer.claim import read_claims
from adloc.answer.comparisons import identity
from adloc.answer.results import MACRO
from adloc.computing.environment import environment
from adloc.errors import Complaint, UserError
from adloc.record.files import read_checked
from adloc.record.records import Records, planned_runs
from adloc.study_file.conditions import AXES
from adloc.study_file.variants import SETTING, TUNED, variants
from adloc.tracking.index import TrackingIndex, macro_key, record_key, trial_key
from adloc.tracking.tracker import Tracker, complaint
from adloc.tracking.views import views_of
from adloc.tuning.trial_records import kept_trials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from adloc.answer.answer import Answer
    from adloc.answer.results import Row
    from adloc.record.records import RunRecord
    from adloc.study_file.spec import StudySpec
    from adloc.tracking.experiment import Tracking
    from adloc.tracking.place import Place
    from adloc.tuning.trial_records import TrialRecord


@dataclass(frozen=True)
class Shown:
    """What of a study is to be shown.

    Attributes:
        spec: the study.
        folder: of the study in the workspace.
        records: of its runs, as far as they are there.
        replaced: runs that were shown and that a later search has replaced.
        trials: of its searches.
        answer: its tables; None while it runs.
        status: the parent run's end state: FINISHED, FAILED or KILLED.
        report: the page, then its pictures.
    """

    spec: StudySpec
    folder: Path
    records: tuple[RunRecord, ...]
    replaced: frozenset[str]
    trials: tuple[TrialRecord, ...]
    answer: Answer | None = None
    status: str = "KILLED"
    report: tuple[Path, ...] = ()

    @property
    def averages(self) -> list[Row]:
        """The macro rows; an average over a single category is none."""
        rows = self.answer.rows if self.answer else []
        several = len({row["category"] for row in rows} - {MACRO}) > 1
        return [row for row in rows if row["category"] == MACRO and row["status"] == "done" and several]

    @property
    def keys(self) -> dict[str, str]:
        """The key of everything that is to be there, by name of the run."""
        return (
            {record.run_id: record_key(record) for record in self.records}
            | {str(row["run_id"]): macro_key(row) for row in self.averages}
            | {trial.name: trial_key(trial) for trial in self.trials}
        )


def connect(place: Place, spec: StudySpec, names: Iterable[str], source: str) -> Tracking:
    """Open a study's experiment, and mark the study as running.

    Args:
        place: where.
        spec: the study.
        names: see `param_names`.
        source: the study file's name.
    """
    from adloc.tracking.experiment import Tracking

    tracking = Tracking(place, spec, names)
    folder = place.workspace.study_path(spec.study)
    files = [path for name in ("study.yaml", "plan.json") if (path := folder / name).exists()]
    tracking.begin(files, source, environment()["commit"])
    return tracking


def show(shown: Shown, tracking: Tracking) -> None:
    """Show every record, trial and average that is not there yet, and retire what they have replaced."""
    records = Records(shown.folder)
    for record in shown.records:
        tracking.log(record, records.path(record.run_id))
    for trial in shown.trials:
        tracking.log_trial(trial)
    if shown.answer is None:
        return
    params = {record.group[:12]: record.params for record in shown.records}
    drops = {identity(row): row for row in shown.answer.regime_drops if row["category"] == MACRO}
    for row in shown.averages:
        tracking.log_macro(row, params[str(row["run_id"]).rpartition("-")[2]], drops.get(identity(row)))
    current = {str(row["run_id"]) for row in shown.averages}
    there = tracking.shown()
    averages = {name for name in there if name.startswith(f"{MACRO}-") and name not in current}
    tracking.retire((there & shown.replaced) | averages)


def finish(shown: Shown, tracking: Tracking) -> None:
    """Show what is missing, then what the study says as a whole, and end its parent run."""
    show(shown, tracking)
    for figures in sorted((shown.folder / "tuning").glob("*/")):
        tracking.log_files(figures, f"tuning/{figures.name}")
    rows = shown.answer.rows if shown.answer else []
    claims = [claim.text for claim in read_claims(shown.folder)] if shown.report else []
    tracking.describe(claims, compared(rows), views_of(shown.spec, rows, shown.trials, macro=bool(shown.averages)))
    figures_ = shown.answer.key_figures() if shown.answer else {}
    tracking.end(shown.status, shown.folder / "tables", figures_, shown.report)


def track_study(spec: StudySpec, place: Place, file: Path) -> int:
    """Bring the place up to date from what is on disk: needs neither images nor weights; how many records it shows.

    Models are not among it: the next `adloc study run` logs those that are missing.

    Raises:
        UserError: nothing was recorded, another process runs the study, or the server is away.
    """
    workspace, folder = place.workspace, place.workspace.study_path(spec.study)
    workspace.pull(spec.study)
    if planned_runs(folder) is None:
        raise UserError(
            Complaint(
                f"{folder}: nothing was recorded of {spec.study}",
                "what is tracked is made from the records of a study",
                f"run it first: adloc study run {file}, or name its --workspace",
            )
        )
    with workspace.lock(spec.study):
        shown = kept(spec, folder)
        names = param_names(spec, [record.condition for record in shown.records])
        tracker = Tracker(place, spec.study, lambda: connect(place, spec, names, file.name))
        tracker.show(lambda tracking: finish(shown, tracking), now=True)
        tracker.end()
        workspace.push(spec.study)
    if tracker.tracking is None:
        raise UserError(
            Complaint(
                complaint(place, spec.study, file).partition(" (all of it")[0],
                "the server must answer to be shown anything",
                "start it, or mend its address or credentials, and do this again: the records are safe",
            )
        )
    return len(shown.records)


def kept(spec: StudySpec, folder: Path) -> Shown:
    """What is on disk of the runs that the study last planned."""
    planned = planned_runs(folder) or []
    known = {record.run_id: record for record in Records(folder).all()}
    records = tuple(known[run_id] for run_id in planned if run_id in known)
    answer = kept_answer(spec, Records(folder), folder)
    whole = len(records) == len(planned) and answer is not None
    status = "KILLED" if not whole else "FAILED" if any(r.status == "failed" for r in records) else "FINISHED"
    return Shown(
        spec,
        folder,
        records,
        replaced(known.values(), planned),
        tuple(kept_trials(folder)),
        answer,
        status,
        kept_report(folder),
    )


def kept_report(folder: Path) -> tuple[Path, ...]:
    """The report's page and the pictures that say most, where they are."""
    try:
        names = json.loads(read_checked(folder / "report.json"))["key_figures"]
    except (FileNotFoundError, ValueError, KeyError):
        return ()
    return tuple(path for path in (folder / "report.html", *(folder / "figures" / n for n in names)) if path.exists())


def replaced(known: Iterable[RunRecord], planned: Iterable[str]) -> frozenset[str]:
    """Runs of tuned settings that a later search has replaced."""
    present = set(planned)
    return frozenset(r.run_id for r in known if r.setting.startswith(TUNED) and r.run_id not in present)


def is_tracked(shown: Shown, place: Place) -> bool:
    """Whether everything is shown and the study as finished, as far as the index knows; asks nobody."""
    index = TrackingIndex(place.index_path(shown.spec.study))
    return place.exists() and index.is_complete(place.location(shown.spec.study), shown.keys)


def param_names(spec: StudySpec, conditions: Iterable[Mapping[str, object]]) -> set[str]:
    """Every hyperparameter of the study's methods and axis of its runs; with tuning, what tells tuned from untuned."""
    axes = {name for condition in conditions for name in condition if name in AXES}
    names = {name for variant in variants(spec) for name in variant.hyperparameters()}
    return names | axes | ({SETTING} if any(entry.tune for entry in spec.methods) else set())


def compared(rows: Sequence[Row]) -> str:
    """What the study puts beside each other, in a line; "" before there is anything."""
    own = [row for row in rows if row["category"] != MACRO]
    parts = []
    for name, plural in (("method", "methods"), ("regime", "regimes"), ("category", "categories")):
        values = list(dict.fromkeys(str(row[name]).replace("_", " ") for row in own))
        parts.append(f"{name if len(values) == 1 else plural} {', '.join(values)}")
    return f"{len(own)} runs: {'; '.join(parts)}." if own else ""
