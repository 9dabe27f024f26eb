"""The runs of a plan: each recorded as soon as its stages are there, whoever computes them."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from adloc.datasets.errors import DatasetError
from adloc.errors import StageFailedError, StageMismatchError, UserError
from adloc.methods.errors import MethodError
from adloc.record.recorder import record_failure, record_run
from adloc.study import is_complete

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from adloc.computing.compute import Workbench
    from adloc.executors.executor import Executor
    from adloc.planning.plan import Plan, Run
    from adloc.record.records import Records, RunRecord
    from adloc.run.reporter import Reporter


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
        """Yield the record of each run as soon as it is on disk; those known and complete are not computed.

        Args:
            known: records by run_id, of whatever time.
        """
        current = {run.run_id for run in self._plan.runs if is_complete(known.get(run.run_id), run)}
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
