"""The searches of a prepared study, which come before its runs: the driver's part in tuning.

Suggestions and records are written here; what is tried is tried by `adloc.tuning`, on train and validation parts alone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from adloc.cost.start import START
from adloc.errors import UserError
from adloc.interrupts import terminate_as_interrupt
from adloc.planning.plan import walk
from adloc.run.begin import ending, forget, open_tracker, ready, write_down
from adloc.study import with_winners
from adloc.tracking.index import TrackingIndex, trial_key
from adloc.tracking.place import Place
from adloc.tuning.plots import is_drawn

if TYPE_CHECKING:
    from adloc.executors.on_demand import OnDemand
    from adloc.planning.stages import Stage
    from adloc.run.reporter import Reporter
    from adloc.study import Study
    from adloc.tracking.tracker import Tracker
    from adloc.tuning.state import SearchState
    from adloc.tuning.trial import Reach
    from adloc.tuning.trial_records import TrialRecord


def tune_study(
    study: Study,
    on_demand: OnDemand,
    reporter: Reporter,
    *,
    fresh: bool = False,
    new_revision: bool = False,
    storage: str | None = None,
    place: Place | None = None,
) -> Study:
    """The study with what its searches found in its plan; trials that have a record are not repeated.

    A study that tunes nothing, or whose searches are done, is given back without importing torch or optuna.

    Args:
        study: prepared.
        on_demand: where stages are computed.
        reporter: hears of progress.
        fresh: compute everything again, what the study's runs need too; begin every search anew.
        new_revision: begin those again that are not what they were.
        storage: URL of Optuna's database; None for the journal in the workspace.
        place: where it is tracked; None for the workspace's own database.

    Raises:
        UserError: what is searched has changed since the trials were made; every difference is shown.
        KeyboardInterrupt: on SIGINT and SIGTERM, with every trial that was finished recorded.
    """
    if not study.searches:
        return study
    place = place or Place(study.workspace)
    changed = [state for state in study.searches if state.changed]
    if changed and not (new_revision or fresh):
        raise UserError(*(state.refusal() for state in changed))
    if not fresh and storage is None and all(_is_shown(study, state, place) for state in study.searches):
        return study
    with study.workspace.lock(study.spec.study), terminate_as_interrupt():
        return _tune(with_winners(study), on_demand, reporter, place, fresh=fresh, storage=storage)


def _is_shown(study: Study, state: SearchState, place: Place) -> bool:
    """Whether a search is done, and Optuna's journal, its pictures and MLflow show it."""
    name, workspace = study.spec.study, study.workspace
    drawn = is_drawn(state.trials, workspace.study_path(name) / "tuning" / state.search.name)
    index = TrackingIndex(place.index_path(name))
    tracked = place.exists() and all(index.has(t.name, trial_key(t)) for t in state.trials)
    return state.is_done and drawn and tracked and workspace.journal_path(name).exists()


def _tune(
    study: Study, on_demand: OnDemand, reporter: Reporter, place: Place, *, fresh: bool, storage: str | None
) -> Study:
    reporter.phase_started(START)
    from adloc.planning.extents import Extents
    from adloc.tuning.plots import draw_search
    from adloc.tuning.storage import open_storage
    from adloc.tuning.suggestions import Suggestions
    from adloc.tuning.trial import Reach, TrialBench
    from adloc.tuning.tuner import Tuner

    # Everything that can be refused comes before a search is begun again.
    reach = Reach(Extents.of(study.plan))
    executor, store = on_demand.executor, study.workspace.store()
    bench = TrialBench(store, reach.extents, executor.device, reporter, executor.batch_size, executor.helper)
    first = [stage for state in study.searches for stage in _first_stages(state, reach)]
    ready(study, bench, first, executor, store, reporter)
    optuna_storage = open_storage(study.workspace.journal_path(study.spec.study), storage)
    folder, tracker = write_down(study), open_tracker(study, place)
    if fresh:
        forget(study, store)
    for state in study.searches:
        if fresh or state.changed or state.records.fingerprint() is None:
            state.records.begin(state.fingerprint)
    study = with_winners(study)
    reach = Reach(Extents.of(study.plan))
    bench.reach = reach.extents
    reporter.publish(tracker.progress)
    with ending(lambda: tracker.show(lambda tracking: tracking.end("KILLED", folder / "tables", {}), now=True)):
        for state in study.searches:
            bench.allow(state.stages.calibration)
            revision, ticket = state.records.revision, state.records.ticket
            suggestions = Suggestions(state.search, revision, ticket, state.fingerprint, optuna_storage)
            tuner = Tuner(state.search, state.stages, bench, reach, state.records, executor.map)
            trials = tuner.run(suggestions, partial(_show_trial, study, tracker), reporter)
            # The study's run, which comes next, shows the pictures in MLflow.
            draw_search(state.search, trials, suggestions.importances(), folder / "tuning" / state.search.name)
    return with_winners(study)


def _show_trial(study: Study, tracker: Tracker, record: TrialRecord) -> str:
    """The id of the MLflow run that shows a trial; "" while the server is away."""
    run_id = tracker.show(lambda tracking: tracking.log_trial(record)) or ""
    study.workspace.push(study.spec.study)
    return run_id


def _first_stages(state: SearchState, reach: Reach) -> list[Stage]:
    """All stages of a search's first trial, which reach as far as any of its trials."""
    variant = state.search.variant(state.search.first)
    stages = [s for c in state.stages.calibration for s in walk(state.stages.evaluation(variant, c))]
    reach.extend(stages, state.search)
    return stages
