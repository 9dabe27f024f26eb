"""Whoever hears of a study as it goes on: people, by lines of progress, and its costs, which are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from adloc.computing.compute import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adloc.cost.outlook import Outlook
    from adloc.cost.phases import Phase
    from adloc.planning.plan import Plan, Run
    from adloc.record.records import RunRecord
    from adloc.tuning.search import Search
    from adloc.tuning.trial_records import TrialRecord


class Reporter(Listener, Protocol):
    """Hears of runs as well as of stages."""

    @property
    def n_stages(self) -> int:
        """Stages computed so far."""
        ...

    def publish(self, sink: Callable[[int, Mapping[str, float]], None]) -> None:
        """Where figures of the progress are wanted, with a number that grows."""

    def phase_started(self, phase: Phase) -> None:
        """The driver turns to this; what it did before is over."""

    def study_started(self, plan: Plan, todo: Sequence[Run]) -> None:
        """`todo` are the plan's runs without a current record."""

    def expect(self, outlook: Outlook) -> None:
        """What it will take, and how much of that is left."""

    def search_started(self, search: Search, records: Sequence[TrialRecord]) -> None:
        """A search goes on from these trials."""

    def trial_done(self, search: Search, record: TrialRecord, best: Sequence[TrialRecord]) -> None:
        """A trial was recorded; `best` are the best so far."""

    def run_started(self, run: Run) -> None:
        """A run is being computed."""

    def run_done(self, run: Run, record: RunRecord) -> None:
        """A run was recorded, done or failed."""

    def model_started(self, run: Run, number: int, total: int) -> None:
        """A run's model is being exported for MLflow, the `number`-th of `total`, from 1."""
