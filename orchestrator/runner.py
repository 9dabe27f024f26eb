"""The runs of a plan: each recorded as soon as its stages are there, whoever computes them."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from adloc.computing.compute import Listener
from adloc.datasets.errors import DatasetError
from adloc.errors import StageFailedError, StageMismatchError, UserError
from adloc.methods.errors import MethodError
from adloc.record.recorder import record_failure, record_run
from adloc.study import is_current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from adloc.computing.compute import Workbench
    from adloc.cost.outlook import Outlook
    from adloc.cost.phases import Phase
    from adloc.executors.executor import Executor
    from adloc.planning.plan import Plan, Run
    from adloc.record.records import Records, RunRecord
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


class Runner:
    """Walks the plan's runs; a run that fails does not stop the others."""

    def __init__(self, plan: Plan, executor: Executor, bench: Workbench, records: Records, reporter: Reporter) -> None:
        """Prepare; nothing is computed yet."""
        self._plan = plan
        self._executor = executor
        self._bench = bench
        self._records = records
        self._reporter = reporter

    def run(self, known: Mapping[str, RunRecord]) -> Iterator[RunRecord]:
        """Yield the record of each run as soon as it is on disk; those known and current are not computed.

        Args:
            known: records by run_id, of whatever time.
        """
        current = {run.run_id for run in self._plan.runs if is_current(known.get(run.run_id), run)}
        todo = [run for run in self._plan.runs if run.run_id not in current]
        self._reporter.study_started(self._plan, todo)
        yield from (known[run.run_id] for run in self._plan.runs if run.run_id in current)
        for run in self._executor.ready(todo, self._bench):
            self._reporter.run_started(run)
            record = self._attempt(run)
            self._reporter.run_done(run, record)
            yield record

    def _attempt(self, run: Run) -> RunRecord:
        started = datetime.now(UTC)
        try:
            record = record_run(run, self._bench, self._records, started)
        except StageMismatchError:
            raise  # a bug that could put test images into a fit: nothing may go on
        except (UserError, DatasetError, MethodError, StageFailedError) as error:
            record = record_failure(run, self._bench, self._records, started, str(error))
        except Exception:  # noqa: BLE001  # the one boundary where a run's failure is recorded, with its traceback
            record = record_failure(run, self._bench, self._records, started, traceback.format_exc())
        self._records.write(record)
        return record
