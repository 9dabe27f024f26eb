"""What a study takes beside its stages: the driver's own work, phase by phase, and how much of it a plan has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from adloc.cost.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.cost.start import Start
    from adloc.planning.plan import Plan, Run

Phase = Literal["start", "record", "tracking", "waiting", "tables", "explain", "report", "models"]
TRIALS: Final = "trials"
RECORDS: Final = "record"  # figures, heatmaps and curves of a run
TRACKING: Final = "tracking"  # a run's row in MLflow
WAITING: Final = "waiting"  # for what other processes compute; in no plan
TABLES: Final = "tables"  # the answer
EXPLAIN: Final = "explain"
REPORT: Final = "report"
MODELS: Final = "models"

# What a phase takes before its first one, libraries first of all, as so many heatmaps, runs or models.
FIRST = {RECORDS: 20.0, REPORT: 30.0, MODELS: 2.0}


def trials(study: str, n: int) -> Work:
    """So many trials of a study's searches: of which settings is not known before, so that only its own compare."""
    return Work(TRIALS, study, float(n), is_own=True)


def phases(plan: Plan, todo: Sequence[Run], begin: Start) -> list[Work]:
    """The driver's work for a study of which these runs are still to do, with its start; none where none is."""
    if not todo:
        return []
    n_todo = len(todo)
    spec, n_runs, n_methods = plan.spec, len(plan.runs), len({run.variant.method.name for run in plan.runs})
    n_models = n_methods * len(plan.parts) if spec.models == "best" else n_runs
    n_trained = n_methods * sum(len(parts.train) for parts in plan.parts.values())
    heatmaps = f"{spec.heatmaps} heatmaps"
    found = [
        begin.work({run.variant.method.name: run.variant.method for run in todo}.values()),
        Work(RECORDS, heatmaps, FIRST[RECORDS] + n_todo * (1.0 + spec.heatmaps)),
        Work(TRACKING, heatmaps, n_todo),
        Work(TABLES, spec.study, n_runs),
        Work(EXPLAIN, spec.study, 0.0 if spec.explain.is_off else n_trained),
        Work(REPORT, spec.study, FIRST[REPORT] + n_runs),
        Work(MODELS, spec.study, 0.0 if spec.models == "none" else FIRST[MODELS] + n_models),
    ]
    return [work for work in found if work.amount]
