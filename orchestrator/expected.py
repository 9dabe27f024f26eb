"""What a study will do before it does it: its plan, what of it is still to come, and what that will cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.cost.estimate import estimate
from adloc.cost.hardware import local_hardware
from adloc.cost.words import estimate_json
from adloc.study import pending, plan_json, search_json

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

    def as_json(self) -> dict[str, object]:
        """As plain values."""
        found = plan_json(self.study.plan) | {"pending": list(self.todo), "cost": estimate_json(self.cost)}
        return found | search_json(self.study)


def expect(study: Study, computing: Computing) -> Expected:
    """Say what is to be done and its cost; compute nothing."""
    todo = pending(study)
    cost = estimate(study.plan, todo, study.workspace, local_hardware(computing), searches=study.searches)
    return Expected(study, tuple(run.run_id for run in todo), cost)
