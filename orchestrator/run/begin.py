"""What the searches and the runs of a study begin with, and how either ends where it is stopped."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from traceback import clear_frames
from typing import TYPE_CHECKING

from adloc.explain.boundary import explanations_of
from adloc.planning.plan import sources
from adloc.record.beside import write_beside
from adloc.study import located, spec_yaml
from adloc.tracking.track import connect, param_names
from adloc.tracking.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from adloc.computing.compute import Workbench
    from adloc.computing.store import Store
    from adloc.executors.executor import Executor
    from adloc.planning.stages import Stage
    from adloc.run.reporter import Reporter
    from adloc.study import Study
    from adloc.tracking.place import Place


def ready(
    study: Study, bench: Workbench, stages: Sequence[Stage], executor: Executor, store: Store, reporter: Reporter
) -> None:
    """Load every network that these stages read, and look at every machine: what is wrong is found before any work.

    Raises:
        UserError: weights that do not fit, or a machine that cannot read what it must.
    """
    with located(study.file):
        bench.load(stages)
    executor.begin(store, sources(stages), reporter)


def write_down(study: Study) -> Path:
    """Write down what is asked, before any of it is computed; the study's folder."""
    folder = study.workspace.study_path(study.spec.study)
    folder.mkdir(parents=True, exist_ok=True)
    write_beside(folder / "study.yaml", spec_yaml(study.spec))
    return folder


def open_tracker(study: Study, place: Place) -> Tracker:
    """Show the study as running where it is tracked."""
    names = param_names(study.spec, [run.condition.values() for run in study.plan.runs])
    return Tracker(place, study.spec.study, lambda: connect(place, study.spec, names, study.file.path.name))


@contextmanager
def ending(end: Callable[[], object]) -> Iterator[None]:
    """Where what is within is stopped or fails, show that it has ended; it is raised, and nothing else.

    Ctrl-C is an exit code of its own. What was being shown may be half there; the next start mends it.
    """
    try:
        yield
    except BaseException as error:
        raised: BaseException | None = error
        while raised is not None:  # an interrupted write locks its database while its frames are held
            clear_frames(raised.__traceback__)
            raised = raised.__context__
        with suppress(Exception):
            end()
        raise


def forget(study: Study, store: Store) -> None:
    """Drop the stages and explanations of this study, the stages of its trials too, and set its records aside."""
    from adloc.computing.features import PASSED
    from adloc.explain.suspicious import leave_one_out_stage

    tried = (stage for state in study.searches for stage in state.tried_stages())
    stages = [*study.plan.stages.values(), *tried]
    results = {(stage.kind, key) for stage in stages for key in stage.result_keys}
    results |= {(PASSED, stage.key) for stage in stages}
    explaining = filter(None, map(leave_one_out_stage, study.plan.runs))
    results |= {(stage.kind, stage.key) for stage in explaining}
    store.forget(sorted(results))
    for run in study.plan.runs:
        study.records.supersede(run.run_id)
    explanations_of(study).clear()
