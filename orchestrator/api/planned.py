"""A study's plan: its runs, the stages that they share, and what they will cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from adloc.api.frames import frame_of
from adloc.cost.words import expectation
from adloc.printed import printable

if TYPE_CHECKING:
    import pandas as pd

    from adloc.expected import Expected


@dataclass(frozen=True, slots=True, repr=False)
class Planned:
    """A plan with its price.

    Attributes:
        expected: all of it.
    """

    expected: Expected

    def __repr__(self) -> str:
        """For people: lines."""
        plan, cost = self.expected.study.plan, self.expected.cost
        head = f"{plan.spec.study}: {len(plan.runs)} runs, {len(self.expected.todo)} to do"
        stages = f"{len(plan.stages)} stages shared between them"
        price = expectation(cost) if any(line.n_todo for line in cost.lines) else "nothing is to be computed"
        return printable("\n".join([head, *self.expected.not_known, stages, price]), keep="\n")

    @property
    def runs(self) -> pd.DataFrame:
        """A row a run; `todo`: whether it has no current record. Without its weights it has no run_id yet."""
        found = self._json
        todo = set(found["pending"])
        return frame_of([_flat(run) | {"todo": run["run_id"] in todo} for run in found["runs"]])

    @property
    def stages(self) -> dict[str, int]:
        """How many distinct stages there are of each kind."""
        return self.expected.study.plan.count()

    @property
    def cost(self) -> pd.DataFrame:
        """Time, disk and memory by kind of work, for what is still to be done; see `adloc.cost.estimate.Line`."""
        return frame_of([asdict(line) for line in self.expected.cost.lines])

    @property
    def _json(self) -> dict[str, Any]:
        return self.expected.as_json()


def _flat(run: dict[str, Any]) -> dict[str, Any]:
    """Parameters and condition as columns, named as in the results."""
    plain = {name: value for name, value in run.items() if name not in ("params", "condition")}
    params = {f"params.{name}": value for name, value in run["params"].items()}
    return {**plain, **run.get("condition", {}), **params}
