"""The runs of a prepared study: each recorded and tracked; then its tables, explanations, report and models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from adloc.answer.answer import find_answer, write_answer
from adloc.cost.phases import EXPLAIN, MODELS, REPORT, TABLES, TRACKING, WAITING
from adloc.cost.start import START
from adloc.explain.boundary import try_explain
from adloc.interrupts import terminate_as_interrupt
from adloc.model.logged import model_keys, try_log_models
from adloc.planning.keeping import plan_disk, require_room
from adloc.planning.plan import each_stage
from adloc.record.files import write_checked
from adloc.record.kept_inventory import NAME as INVENTORY
from adloc.record.kept_inventory import write_inventory
from adloc.report.boundary import try_report
from adloc.run.begin import ending, forget, open_tracker, ready, write_down
from adloc.sealing.ledger import open_test
from adloc.study import pending, plan_json
from adloc.tracking.index import TrackingIndex
from adloc.tracking.place import Place
from adloc.tracking.track import Shown, finish, is_tracked, replaced, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from adloc.answer.answer import Answer
    from adloc.computing.compute import Workbench
    from adloc.computing.store import Store
    from adloc.executors.executor import Executor
    from adloc.executors.on_demand import OnDemand
    from adloc.planning.plan import Run
    from adloc.planning.stages import Stage
    from adloc.record.records import RunRecord
    from adloc.run.reporter import Reporter
    from adloc.study import Study
    from adloc.tracking.experiment import Tracking


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of a study ended.

    Attributes:
        n_done: runs with a good record, those of earlier sessions included.
        n_computed: runs that were recorded as good now.
        n_failed: runs that failed.
        n_stages: stages computed now.
        answer: every table.
    """

    n_done: int
    n_computed: int
    n_failed: int
    n_stages: int
    answer: Answer = field(repr=False)

    def counts(self) -> dict[str, int]:
        """The numbers by name."""
        return {name: getattr(self, name) for name in ("n_done", "n_computed", "n_failed", "n_stages")}

    @property
    def words(self) -> str:
        """The counts, in a sentence."""
        now = f"{self.n_computed} now, {self.n_stages} stages computed"
        return f"{self.n_done} runs done ({now}), {self.n_failed} failed"


def run_study(
    study: Study, on_demand: OnDemand, reporter: Reporter, *, fresh: bool = False, place: Place | None = None
) -> Outcome:
    """Compute and record every run that has no current record; keep MLflow and the tables in step.

    A study that is finished and tracked is told so without importing torch or mlflow.

    Args:
        study: prepared.
        on_demand: where stages are computed.
        reporter: hears of progress.
        fresh: compute everything again.
        place: where it is tracked; None for the workspace's own database.

    Raises:
        UserError: no such device, weights that do not fit, a machine that cannot read what it must, or another
            process runs this study.
        KeyboardInterrupt: on SIGINT and SIGTERM, with everything recorded so far safe.
    """
    folder, place = study.workspace.study_path(study.spec.study), place or Place(study.workspace)
    with study.workspace.lock(study.spec.study), terminate_as_interrupt():
        for run in study.plan.runs:
            record = study.records.get(run.run_id)
            if record is not None and not study.records.is_whole(record):
                study.records.supersede(run.run_id)
        answer = find_answer(study.plan, study.records)
        todo = list(study.plan.runs) if fresh else pending(study)
        if not todo and _is_tracked(study, answer, place):
            reporter.study_started(study.plan, [])
            write_answer(answer, folder)
            try_explain(study, on_demand)
            try_report(study)
            if not (folder / INVENTORY).exists():  # of a version that kept none
                write_inventory(folder, study.inventory, study.plan, study.weights)
                study.workspace.push(study.spec.study)
            return Outcome(len(study.plan.runs), 0, 0, 0, answer)
        return _run(study, todo, on_demand, reporter, place, fresh=fresh)


def _run(
    study: Study, todo: list[Run], on_demand: OnDemand, reporter: Reporter, place: Place, *, fresh: bool
) -> Outcome:
    reporter.phase_started(START)
    from adloc.computing.store import cap_bytes
    from adloc.run.runner import Runner

    executor, store = on_demand.executor, study.workspace.store()
    bench = _workbench(study, todo, executor, store, reporter)
    if fresh:
        forget(study, store)
    hold(each_stage(todo), store)
    folder = _open(study)
    known = {r.run_id: r for r in study.records.all()}
    tracker, shown = open_tracker(study, place), _shown(study, [], known.values())
    reporter.publish(tracker.progress)

    def end() -> None:
        tracker.show(partial(finish, shown), now=True)
        tracker.end()

    with ending(end):
        done: list[RunRecord] = []
        for record in Runner(study.plan, executor, bench, study.records, reporter).run(known):
            reporter.phase_started(TRACKING)
            done.append(record)
            tracker.show(partial(_log, study, record))
            reporter.phase_started(WAITING)
        reporter.phase_started(TABLES)
        answer = find_answer(study.plan, study.records)
        write_answer(answer, folder)
        n_failed = sum(row["status"] == "failed" for row in answer.rows)
        shown = replace(_shown(study, done, known.values()), answer=answer)
        tracker.show(partial(show, shown), now=True)
        reporter.phase_started(EXPLAIN)
        try_explain(study, on_demand)
        reporter.phase_started(REPORT)
        report = try_report(study)
        pages = (report.page, *report.key_figures) if report else ()
        shown = replace(shown, status="FAILED" if n_failed else "FINISHED", report=pages)
        reporter.phase_started(MODELS)
        if tracker.tracking is not None:
            try_log_models(study, on_demand, tracker.tracking, reporter)
    end()
    since = study.workspace.in_use_since(besides=study.spec.study)
    store.collect(cap_bytes(), unused_since_s=3600, in_use_since_s=since)
    n_done = len(study.plan.runs) - n_failed
    return Outcome(n_done, len(todo) - n_failed, n_failed, reporter.n_stages, answer)


def _workbench(study: Study, todo: list[Run], executor: Executor, store: Store, reporter: Reporter) -> Workbench:
    """Where stages are computed, with every network loaded and every machine looked at."""
    from adloc.computing.compute import Workbench
    from adloc.planning.extents import Extents

    reach = Extents.of(study.plan)
    bench = Workbench(store, reach, executor.device, reporter, executor.batch_size, executor.helper)
    stages = tuple(each_stage(todo))
    ready(study, bench, stages, executor, store, reporter)
    require_disk(study, stages, bench, store)
    return bench


def _open(study: Study) -> Path:
    """Write down what is asked and planned, here and in the ledger of test figures, before any of it is computed."""
    folder = write_down(study)
    write_checked(folder / "plan.json", plan_json(study.plan))
    write_inventory(folder, study.inventory, study.plan, study.weights)
    open_test(study.plan, study.workspace, datetime.now(UTC), study.records.count_figures())
    study.workspace.push(study.spec.study)
    return folder


def _shown(study: Study, records: Iterable[RunRecord], known: Iterable[RunRecord]) -> Shown:
    """What of the study is to be shown while it runs."""
    trials = tuple(trial for state in study.searches for trial in state.trials)
    planned = (run.run_id for run in study.plan.runs)
    folder = study.workspace.study_path(study.spec.study)
    return Shown(study.spec, folder, tuple(records), replaced(known, planned), trials)


def _log(study: Study, record: RunRecord, tracking: Tracking) -> None:
    tracking.log(record, study.records.path(record.run_id))


def _is_tracked(study: Study, answer: Answer, place: Place) -> bool:
    """Whether every record, average and model of a finished study is shown, and the study as finished."""
    found = (study.records.get(run.run_id) for run in study.plan.runs)
    shown = replace(_shown(study, [record for record in found if record], []), answer=answer)
    has_models = TrackingIndex(place.index_path(study.spec.study)).has_models(model_keys(study))
    return has_models and is_tracked(shown, place)


def require_disk(study: Study, stages: Sequence[Stage], bench: Workbench, store: Store) -> None:
    """See that there is room for the features that the study keeps; a fresh study's replace those that are there.

    Raises:
        UserError: the disk has not the room.
    """
    from adloc.computing.features import KIND

    keep = study.spec.features.keep
    use = plan_disk(stages, keep, store.root, lambda key: store.path(KIND, key).exists(), bench.image_bytes)
    require_room(use, keep, store.root)


def hold(stages: Iterable[Stage], store: Store) -> None:
    """Touch all that is there of these stages, so that no other process collects what this study will read."""
    for stage in stages:
        for key in stage.result_keys:
            store.touch(stage.kind, key)
