"""Run a prepared study: the one process that writes records, MLflow and results."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from adloc.answer.answer import find_answer, write_answer
from adloc.answer.claim import read_claims
from adloc.answer.comparisons import identity
from adloc.answer.results import MACRO
from adloc.conditions import AXES
from adloc.explain.boundary import explanations_of, try_explain
from adloc.ledger import open_test
from adloc.model.logged import model_keys, try_log_models
from adloc.plan import sources
from adloc.record.records import write_json
from adloc.report.boundary import try_report
from adloc.stages import FeatureStage
from adloc.study import located, pending, plan_json, spec_yaml
from adloc.study_file.variants import SETTING, TUNED, variants
from adloc.tracking.index import TrackingIndex, artifact_location, index_path, macro_key, record_key, trial_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from adloc.answer.answer import Answer
    from adloc.executors.executor import OnDemand
    from adloc.plan import Run
    from adloc.record.records import RunRecord
    from adloc.runner import Reporter
    from adloc.store import Store
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
    """

    n_done: int
    n_computed: int
    n_failed: int
    n_stages: int


def run_study(study: Study, on_demand: OnDemand, reporter: Reporter, *, fresh: bool = False) -> Outcome:
    """Compute and record every run that has no current record; keep MLflow and the tables in step.

    A study that is finished and tracked is told so without importing torch or mlflow.

    Args:
        study: prepared.
        on_demand: where stages are computed.
        reporter: hears of progress.
        fresh: compute everything again.

    Raises:
        UserError: no such device, weights that do not fit, a machine that cannot read what it must, or another
            process runs this study.
        KeyboardInterrupt: on SIGINT and SIGTERM, with everything recorded so far safe.
    """
    folder = study.workspace.study_path(study.spec.study)
    with study.workspace.lock(study.spec.study), terminate_as_interrupt():
        answer = find_answer(study.plan, study.records)
        todo = list(study.plan.runs) if fresh else pending(study)
        if not todo and _is_tracked(study, answer):
            reporter.study_started(study.plan, len(study.plan.runs))
            write_answer(answer, folder)
            try_explain(study, answer, on_demand)
            try_report(study)
            return Outcome(len(study.plan.runs), 0, 0, 0)
        return _run(study, todo, on_demand, reporter, fresh=fresh)


def _run(study: Study, todo: list[Run], on_demand: OnDemand, reporter: Reporter, *, fresh: bool) -> Outcome:
    from adloc.compute import Extents, Workbench
    from adloc.runner import Runner
    from adloc.store import Store, cap_bytes
    from adloc.tracking.experiment import Tracking

    folder = study.workspace.study_path(study.spec.study)
    executor, store = on_demand.executor, Store(study.workspace.store_path)
    reach = Extents.of(study.plan)
    bench = Workbench(store, reach, executor.device, reporter, executor.batch_size, executor.helper)
    stages = [stage for run in todo for stage in run.stages()]
    with located(study.file):
        bench.load_networks(stages)
    executor.begin(store, sources(stages), reporter)
    if fresh:
        forget(study, store)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(spec_yaml(study.spec), encoding="utf-8")
    write_json(folder / "plan.json", plan_json(study.plan))
    open_test(study.plan, study.workspace, datetime.now(UTC), study.records.count_figures())
    tracking = Tracking(study.workspace, study.spec, param_names(study))
    tracking.begin([folder / "study.yaml", folder / "plan.json"])
    status, answer, report = "KILLED", None, None
    try:
        known = {r.run_id: r for r in study.records.all()}
        for record in Runner(study.plan, executor, bench, study.records, reporter).run(known):
            tracking.log(record, study.records.path(record.run_id))
        for state in study.searches:
            for trial in state.trials:
                tracking.log_trial(trial)
            figures = folder / "tuning" / state.search.name
            if figures.is_dir():
                tracking.log_files(figures, f"tuning/{state.search.name}")
        answer = find_answer(study.plan, study.records)
        write_answer(answer, folder)
        _track_macro(study, answer, tracking)
        tracking.retire(_replaced(study, answer, known.values(), tracking.shown()))
        n_failed = sum(row["status"] == "failed" for row in answer.rows)
        status = "FAILED" if n_failed else "FINISHED"
        try_explain(study, answer, on_demand)
        report = try_report(study)
        try_log_models(study, answer, on_demand, tracking, reporter)
    finally:
        shown = (report.page, *report.key_figures) if report else ()
        tracking.describe([claim.text for claim in read_claims(folder)] if report else [])
        tracking.end(status, folder / "tables", answer.key_figures() if answer else {}, shown)
    store.collect(cap_bytes(), unused_since_s=3600)
    n_done = len(study.plan.runs) - n_failed
    return Outcome(n_done, len(todo) - n_failed, n_failed, reporter.n_stages)


def param_names(study: Study) -> set[str]:
    """Every hyperparameter of the study's methods and axis of its runs; with tuning, what tells tuned from untuned."""
    axes = {name for name in AXES if any(name in run.condition.values() for run in study.plan.runs)}
    names = {name for variant in variants(study.spec) for name in variant.hyperparameters()}
    return names | axes | ({SETTING} if study.searches else set())


def _is_tracked(study: Study, answer: Answer) -> bool:
    """Whether MLflow shows every record, macro row and model of a finished study, and the study as finished."""
    if not study.workspace.tracking_path.exists() or not study.workspace.artifacts_path.exists():
        return False
    expected = {r.run_id: record_key(r) for r in map(study.records.get, (run.run_id for run in study.plan.runs)) if r}
    expected |= {str(row["run_id"]): macro_key(row) for row in answer.rows if row["category"] == MACRO}
    expected |= {trial.name: trial_key(trial) for state in study.searches for trial in state.trials}
    index = TrackingIndex(index_path(study.workspace, study.spec.study))
    complete = index.is_complete(artifact_location(study.workspace, study.spec.study), expected)
    return complete and index.has_models(model_keys(study, answer))


def _track_macro(study: Study, answer: Answer, tracking: Tracking) -> None:
    params = {run.group[:12]: run.variant.hyperparameters() for run in study.plan.runs}
    drops = {identity(row): row for row in answer.regime_drops if row["category"] == MACRO}
    for row in answer.rows:
        if row["category"] == MACRO and row["status"] == "done":
            tracking.log_macro(row, params[str(row["run_id"]).rpartition("-")[2]], drops.get(identity(row)))


def _replaced(study: Study, answer: Answer, known: Iterable[RunRecord], shown: set[str]) -> set[str]:
    """What MLflow shows and the study has no more: settings that a later search replaced, and averages."""
    planned = {run.run_id for run in study.plan.runs}
    tuned = {r.run_id for r in known if r.setting.startswith(TUNED) and r.run_id not in planned}
    averages = {str(row["run_id"]) for row in answer.rows if row["category"] == MACRO}
    return {name for name in shown if name in tuned or (name.startswith(f"{MACRO}-") and name not in averages)}


def forget(study: Study, store: Store) -> None:
    """Drop the stages and explanations of this study, the stages of its trials too, and set its records aside."""
    from adloc.explain.suspicious import leave_one_out_stage

    tried = (stage for state in study.searches for stage in state.tried_stages())
    for stage in (*study.plan.stages.values(), *tried):
        for key in stage.image_keys if isinstance(stage, FeatureStage) else (stage.key,):
            store.remove(stage.kind, key)
    for run in study.plan.runs:
        study.records.supersede(run.run_id)
        explaining = leave_one_out_stage(run)
        if explaining is not None:
            store.remove(explaining.kind, explaining.key)
    explanations_of(study).clear()


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the study in the same orderly way as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
