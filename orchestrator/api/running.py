"""What the verbs that compute have in common: lines of progress, the executor, the study's lock."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from adloc.api.explained import Explained
from adloc.api.frames import frame_of
from adloc.api.model import Model
from adloc.errors import Complaint, UserError
from adloc.executors.on_demand import OnDemand
from adloc.printed import printable
from adloc.progress.study import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from adloc.executors.computing import Computing
    from adloc.model.engines import EngineChoice
    from adloc.run.runs import Outcome
    from adloc.study import Study
    from adloc.tracking.place import Place


def run(
    study: Study,
    computing: Computing,
    place: Place,
    to: Console,
    *,
    fresh: bool,
    new_revision: bool,
    storage: str | None,
) -> Outcome:
    """Run a prepared study, and say what came of it."""
    from adloc.answer.claim import read_claims
    from adloc.run.complete import complete_study
    from adloc.study_warnings import before_it_runs, what_failed

    for sentence in before_it_runs(study, computing.device):
        _say(to, f"WARNING: {sentence}")
    with Progress(console=to) as progress:
        done = complete_study(
            study, computing, progress, fresh=fresh, new_revision=new_revision, storage=_storage(storage), place=place
        )
    _say(to, done.outcome.words)
    for claim in read_claims(study.workspace.study_path(study.spec.study)):
        _say(to, claim.text)
    for sentence in what_failed(done.study, place):
        _say(to, f"WARNING: {sentence}")
    return done.outcome


def tune(
    study: Study,
    computing: Computing,
    place: Place,
    to: Console,
    *,
    fresh: bool,
    new_revision: bool,
    storage: str | None,
) -> pd.DataFrame:
    """Run the searches of a prepared study; a row a trial.

    Raises:
        UserError: there are none.
    """
    from adloc.cost.meter import Meter
    from adloc.run.searches import tune_study

    if not study.searches:
        raise UserError(
            Complaint(
                f"{study.file.path}: {study.spec.study} tunes nothing",
                "a method is tuned that has a search space",
                "give a method a `tune` in the study file, as in studies/tune_patchcore.yaml; or use run()",
            )
        )
    with (
        Progress(console=to) as progress,
        OnDemand(computing) as computes,
        Meter(progress, study.workspace, computes) as meter,
    ):
        tuned = tune_study(
            study, computes, meter, fresh=fresh, new_revision=new_revision, storage=_storage(storage), place=place
        )
    return frame_of(
        [
            {
                "search": trial.search,
                "trial": trial.number,
                "state": trial.state,
                **{f"params.{name}": value for name, value in trial.params.items()},
                **trial.figures,
                "seconds": trial.seconds,
                "error": trial.error,
            }
            for state in tuned.searches
            for trial in state.trials
        ]
    )


def explain(study: Study, run_ids: Sequence[str], computing: Computing) -> list[Explained]:
    """Explain recorded runs; the leads where none is named."""
    from adloc.explain import boundary

    runs = boundary.asked_runs(study, run_ids)
    with study.workspace.lock(study.spec.study), OnDemand(computing) as computes:
        found = list(boundary.explain(study, computes, runs))
    folder = boundary.explanations_of(study)
    return [Explained(each, folder.path(each.run_id)) for each in found]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which run becomes a model: the one of an id, or the best by a metric."""

    run_id: str | None
    best: str | None
    category: str | None


def export(
    study: Study,
    chosen: Chosen,
    computing: Computing,
    output: Path | None,
    *,
    with_backbone: bool,
    engine: EngineChoice | None,
) -> Model:
    """Export the model of a recorded run.

    Raises:
        UserError: none is chosen, or several are.
    """
    from adloc.model.boundary import chosen_runs
    from adloc.model.boundary import export as export_runs

    runs = chosen_runs(study, chosen.run_id, chosen.best, chosen.category)
    if len(runs) > 1:
        raise UserError(
            Complaint(
                f"the best setting has a model for each of {', '.join(run.category for run in runs)}",
                "one model is exported at a time",
                f'name its category, for example category="{runs[0].category}"',
            )
        )
    with study.workspace.lock(study.spec.study), OnDemand(computing) as computes:
        (exported,) = export_runs(study, runs, computes, output, with_backbone=with_backbone, engine=engine)
    return Model(exported.path)


def export_private(study: Study, run_id: str, computing: Computing, output: Path, pixel_fpr: float) -> pd.DataFrame:
    """Score private images; a row a category."""
    from adloc.private import export_private as written

    with study.workspace.lock(study.spec.study), OnDemand(computing) as computes:
        return frame_of([asdict(each) for each in written(study, run_id, computes, output, pixel_fpr)])


def _storage(given: str | None) -> str | None:
    return given or os.environ.get("ADLOC_OPTUNA_STORAGE")


def _say(to: Console, line: str) -> None:
    to.print(printable(line), markup=False, soft_wrap=True)
