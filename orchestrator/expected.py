"""What a study will do before it does it: its plan, what of it is still to come, and what that will cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from adloc.cost.estimate import estimate
from adloc.cost.hardware import local_hardware
from adloc.cost.searches import likely
from adloc.cost.words import estimate_json
from adloc.planning.plan import make_plan
from adloc.study import pending, plan_json, run_rows, search_json
from adloc.study_file.variants import network_of

if TYPE_CHECKING:
    from adloc.cost.estimate import Estimate
    from adloc.executors.computing import Computing
    from adloc.study import Study


@dataclass(frozen=True, slots=True)
class Expected:
    """A plan with its price.

    Attributes:
        study: prepared.
        todo: ids of the runs that have no current record.
        cost: of them, by the local executor.
    """

    study: Study
    todo: tuple[str, ...]
    cost: Estimate

    @property
    def undecided(self) -> frozenset[str]:
        """Ids of the runs whose weights are not there: their ids will be others, which cannot be told yet."""
        lacking = self.study.lacking
        return frozenset(run.run_id for run in self.study.plan.runs if network_of(run.variant.values) in lacking)

    @property
    def not_known(self) -> list[str]:
        """What of the plan is not known before weights are there: a sentence each."""
        runs = self.study.plan.runs
        of = Counter(network_of(run.variant.values) for run in runs)
        return [
            f"not yet known: ids of {of[name]} of {len(runs)} runs and keys of their stages, all to do ({why})"
            for name, why in self.study.lacking.items()
        ]

    def as_json(self) -> dict[str, object]:
        """As plain values; a run_id is null where it is not yet known."""
        undecided = self.undecided
        todo = [None if run_id in undecided else run_id for run_id in self.todo]
        found = plan_json(self.study.plan) | {"pending": todo, "cost": estimate_json(self.cost)}
        if self.study.lacking:
            found["runs"] = [
                values | ({"run_id": None} if run.run_id in undecided else {})
                for run, values in zip(self.study.plan.runs, run_rows(self.study.plan), strict=True)
            ]
            found["weights_lacking"] = [
                {"backbone": backbone, "weights": weights, "found": why}
                for (backbone, weights), why in self.study.lacking.items()
            ]
        return found | search_json(self.study)


def expect(study: Study, computing: Computing) -> Expected:
    """Say what is to be done and its cost; compute nothing."""
    found = with_likely_winners(study)
    hardware = local_hardware(computing)
    cost = estimate(found.plan, pending(found), study.workspace, hardware, searches=study.searches)
    return Expected(study, tuple(run.run_id for run in pending(study)), cost)


def with_likely_winners(study: Study) -> Study:
    """The study with runs of what its searches may find, where they are not done: for its price alone."""
    if all(state.is_done for state in study.searches):
        return study
    winners = [each for state in study.searches for each in (state.winners if state.is_done else likely(state))]
    return replace(study, plan=make_plan(study.spec, study.inventory, winners))
