"""A prepared study to its end: its searches, then its runs, measured as they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.cost.meter import Meter
from adloc.executors.on_demand import OnDemand
from adloc.expected import with_likely_winners
from adloc.run.runs import run_study
from adloc.run.searches import tune_study
from adloc.study import pending

if TYPE_CHECKING:
    from adloc.answer.answer import Answer
    from adloc.cost.account import Account
    from adloc.executors.computing import Computing
    from adloc.run.reporter import Reporter
    from adloc.run.runs import Outcome
    from adloc.study import Study
    from adloc.tracking.place import Place


@dataclass(frozen=True, slots=True)
class Completed:
    """A study that was run.

    Attributes:
        study: with what its searches found in its plan.
        outcome: how many runs are done, and failed.
        answer: every table.
        account: what it took; None where nothing was computed.
    """

    study: Study
    outcome: Outcome
    answer: Answer
    account: Account | None


def complete_study(
    study: Study,
    computing: Computing,
    reporter: Reporter,
    *,
    fresh: bool = False,
    new_revision: bool = False,
    storage: str | None = None,
    place: Place | None = None,
) -> Completed:
    """Search what is to be searched, then compute and record every run that has no current record.

    Args:
        study: prepared.
        computing: where stages are computed.
        reporter: hears of progress.
        fresh: compute everything again.
        new_revision: begin those searches again that are not what they were.
        storage: URL of Optuna's database; None for the journal in the workspace.
        place: where it is tracked; None for the workspace's own database.

    Raises:
        UserError: see `adloc.run.searches.tune_study` and `adloc.run.runs.run_study`.
        KeyboardInterrupt: on SIGINT and SIGTERM, with everything recorded so far safe.
    """
    with OnDemand(computing) as computes, Meter(reporter, study.workspace, computes) as meter:
        if study.searches:
            found = with_likely_winners(study)
            meter.expect_trials(found.plan, found.plan.runs if fresh else pending(found), study.searches)
            study = tune_study(
                study, computes, meter, fresh=fresh, new_revision=new_revision, storage=storage, place=place
            )
            fresh = False  # all is forgotten, and what the trials computed is new
        outcome = run_study(study, computes, meter, fresh=fresh, place=place)
    return Completed(study, outcome, outcome.answer, meter.account)
