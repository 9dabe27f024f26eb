"""What a study takes beside its stages: the driver's own work, phase by phase, and how much of it a plan has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from adloc.cost.models import models_of
from adloc.cost.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.cost.start import Start
    from adloc.planning.plan import Plan, Run

Phase = Literal["start", "trials", "record", "tracking", "waiting", "tables", "explain", "report", "models"]
TRIALS: Final = "trials"
RECORDS: Final = "record"  # figures, heatmaps and curves of a run
TRACKING: Final = "tracking"  # a run's row in MLflow
WAITING: Final = "waiting"  # for what other processes compute; in no plan
TABLES: Final = "tables"  # the answer
EXPLAIN: Final = "explain"
REPORT: Final = "report"
MODELS: Final = "models"

# What a phase takes before its first one, libraries first of all, as so many heatmaps or runs.
FIRST = {RECORDS: 2.0, REPORT: 4.0}

# Bytes, on the textures at 224 px: of a picture (panels have one size, whatever the image's), of a run's figures, of
# what the report shows of a category, and of what it is without any.
_PICTURE, _FIGURES, _REPORTED, _PAGE = 0.28e6, 0.1e6, 3.5e6, 1e6
_COMPARED = 2  # heatmaps of a run that MLflow keeps twice, to show them side by side
_COPIES = 2  # of a model's arrays while it is exported: those of the store, and those that it is checked with


def trials(study: str, n: int) -> Work:
    """So many trials of a study's searches: of which settings is not known before, so that only its own compare."""
    return Work(TRIALS, study, float(n), is_own=True)


def phases(plan: Plan, todo: Sequence[Run], begin: Start) -> list[Work]:
    """The driver's work for a study of which these runs are still to do, with its start; none where none is."""
    if not todo:
        return []
    n_todo, spec, n_runs, leads = len(todo), plan.spec, len(plan.runs), models_of(plan, "best")
    models = leads if spec.models == "best" else models_of(plan, spec.models)
    heatmaps, n_heatmaps = f"{spec.heatmaps} heatmaps", sum(run.heatmaps for run in todo)
    recorded = n_heatmaps * _PICTURE + n_todo * _FIGURES
    compared = sum(min(_COMPARED, run.heatmaps) for run in todo) * _PICTURE
    explained = (spec.explain.suspicious_images + spec.explain.missed_defects) * _PICTURE
    page = _PAGE + len(plan.parts) * _REPORTED
    found = [
        begin.work({run.variant.method.name: run.variant.method for run in todo}.values()),
        Work(RECORDS, heatmaps, FIRST[RECORDS] + n_todo + n_heatmaps, recorded),
        Work(TRACKING, heatmaps, n_todo, recorded + compared + page),
        Work(TABLES, spec.study, n_runs, 0.0),
        Work(EXPLAIN, spec.study, 0.0 if spec.explain.is_off else leads.n_trained, leads.n * explained, leads.largest),
        Work(REPORT, spec.study, FIRST[REPORT] + n_runs, page),
        Work(MODELS, spec.study, models.n, models.n_bytes, _COPIES * models.largest),
    ]
    return [work for work in found if work.amount]
