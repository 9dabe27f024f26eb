"""What a study will do before it does it: its plan, what of it is still to come, and what that will cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.cost.estimate import estimate
from adloc.cost.hardware import local_hardware
from adloc.cost.words import estimate_json
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
    todo = pending(study)
    cost = estimate(study.plan, todo, study.workspace, local_hardware(computing), searches=study.searches)
    return Expected(study, tuple(run.run_id for run in todo), cost)
