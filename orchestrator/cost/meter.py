"""What a study takes while it runs, beside what was expected: for the live view, and as rates for the next study."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from adloc.computing.environment import peak_bytes
from adloc.computing.store import Store
from adloc.cost.account import Account
from adloc.cost.estimate import estimate
from adloc.cost.outlook import Outlook
from adloc.cost.phases import FIRST, RECORDS, TRACKING, TRIALS, WAITING, phases, trials
from adloc.cost.rates import Rates
from adloc.cost.start import START, Start
from adloc.cost.work import work_of
from adloc.cost.written import written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adloc.computing.compute import Helper
    from adloc.cost.estimate import Estimate
    from adloc.cost.phases import Phase
    from adloc.cost.work import Work
    from adloc.executors.on_demand import OnDemand
    from adloc.planning.plan import Plan, Run
    from adloc.planning.stages import Stage
    from adloc.record.records import RunRecord
    from adloc.run.reporter import Reporter
    from adloc.tuning.search import Search
    from adloc.tuning.state import SearchState
    from adloc.tuning.trial_records import TrialRecord
    from adloc.workspace import Workspace

    Sink = Callable[[int, Mapping[str, float]], None]

PUBLISHED_EVERY_S = 10.0
_RECENT = 0.8  # weight of the throughput so far against that of the features stage just done


class Meter:
    """Hears what a study does, measures it, and hands it on. See `adloc.run.reporter.Reporter`."""

    def __init__(self, shown: Reporter, workspace: Workspace, computes: OnDemand) -> None:
        """Measure nothing yet.

        Args:
            shown: hears the same, and what is to be expected.
            workspace: whose rates are used and learned.
            computes: says where stages are computed.
        """
        self.account: Account | None = None
        self._shown = shown
        self._workspace = workspace
        self._computes = computes
        self._store = Store(workspace.store_path)
        self._rates = Rates.read(workspace)
        self._plan: Plan | None = None
        self._searching: Callable[[], Estimate] | None = None
        self._expected: Estimate | None = None
        self._n_todo = 0
        self._outlook: Outlook | None = None
        self._works: dict[str, Work] = {}
        self._taken: dict[str, float] = defaultdict(float)
        self._peaks: dict[str, float] = {}
        self._kept_bytes = self._kept_by_trials = 0.0
        self._seen = {"here": 0, "helper": 0}  # the largest memory so far
        self._phase: Phase | None = None
        self._begun: set[Phase] = set()  # that the driver has turned to before
        self._start: Start | None = None
        self._began = self._since = time.perf_counter()
        self._began_at = time.time()
        self._in_stages = 0.0
        self._sink: Sink | None = None
        self._n_published, self._published = 0, 0.0
        self._figures = dict.fromkeys(("runs_done", "runs_failed", "stages_done", "images_per_s"), 0.0)

    def __enter__(self) -> Self:
        """Nothing is measured yet."""
        return self

    def __exit__(self, raised: type[BaseException] | None, *_: object) -> None:
        """Keep what was measured, of an interrupted study too; what ended it is told, not that this could not be."""
        with suppress(OSError if raised is None else Exception):
            self.finish()

    @property
    def n_stages(self) -> int:
        """Stages computed so far."""
        return self._shown.n_stages

    def publish(self, sink: Sink) -> None:
        """Give figures of the progress to `sink`, with a number that grows, at most every few seconds."""
        self._sink = sink

    def phase_started(self, phase: Phase) -> None:
        """The driver turns to this; what it did before is over."""
        if phase == START and self._start is None:
            self._began, self._began_at = time.perf_counter(), time.time()
            self._start = Start.now(self._workspace, self._computes.name)
        self._turn_to(phase)
        self._shown.phase_started(phase)
        if phase not in (TRACKING, WAITING):  # once after every run
            self._published = 0.0
            self._tell()

    def expect_trials(self, plan: Plan, todo: Sequence[Run], searches: Sequence[SearchState]) -> None:
        """The study begins with searches: what is expected of it is told once the first of them starts."""
        self._searching = partial(self._estimate, plan, todo, searches)

    def _estimate(self, plan: Plan, todo: Sequence[Run], searches: Sequence[SearchState] = ()) -> Estimate:
        hardware = self._computes.executor.hardware
        return estimate(plan, todo, self._workspace, hardware, self._rates, searches, self._start)

    def study_started(self, plan: Plan, todo: Sequence[Run]) -> None:
        """Say what is to be expected, if anything is to be done."""
        self._turn_to(None)
        self._shown.study_started(plan, todo)
        if not todo:
            return
        self._plan, self._n_todo = plan, len(todo)
        begun = self._start or Start.now(self._workspace, self._computes.name)
        expected = self._estimate(plan, todo)
        self._expected = self._expected or expected
        self._works = {work.kind: work for work in phases(plan, todo, begun)}
        self._outlook = Outlook(expected)
        self._outlook.phase_done(START, 1.0, self._taken[START])
        self.expect(self._outlook)

    def expect(self, outlook: Outlook) -> None:
        """Hand it on."""
        self._shown.expect(outlook)

    def search_started(self, search: Search, records: Sequence[TrialRecord]) -> None:
        """Its trials are under way, with the stages that they compute."""
        self._turn_to(TRIALS)
        if self._expected is None and self._searching is not None:
            self._expected = self._searching()
        self._shown.search_started(search, records)

    def trial_done(self, search: Search, record: TrialRecord, best: Sequence[TrialRecord]) -> None:
        """Measure it."""
        kept, self._kept_by_trials = self._kept_by_trials, 0.0
        work, executor = trials(search.study, 1), self._computes.executor
        self._rates.learn(work, executor.hardware, record.seconds, kept, self._new_peak(executor.helper))
        self._shown.trial_done(search, record, best)

    def run_started(self, run: Run) -> None:
        """From now on the driver records it, beside the stages that it computes for it."""
        self._turn_to(RECORDS)
        self._shown.run_started(run)

    def run_done(self, run: Run, record: RunRecord) -> None:
        """Count it."""
        self._turn_to(None)
        self._figures["runs_done" if record.status == "done" else "runs_failed"] += 1
        self._shown.run_done(run, record)
        self._tell()

    def model_started(self, run: Run, number: int, total: int) -> None:
        """Hand it on."""
        self._shown.model_started(run, number, total)

    def stage_started(self, stage: Stage) -> None:
        """Expect it to be under way."""
        if self._outlook is not None:
            self._outlook.stage_started(stage)
        self._shown.stage_started(stage)
        self._tell()

    def stage_progress(self, stage: Stage, done: int, total: int) -> None:
        """Expect so much less."""
        if self._outlook is not None and total:
            self._outlook.stage_progress(stage, done / total)
        self._shown.stage_progress(stage, done, total)
        self._tell()

    def stage_done(self, stage: Stage, seconds: float, n_images: int) -> None:
        """Measure it: its time, its result in the store, and the process's memory where that has grown."""
        if self._phase == TRIALS:
            self._kept_by_trials += (kept := self._kept(stage, n_images))
            self._kept_bytes += kept
        else:
            self._in_stages += seconds
        self._figures["stages_done"] += 1
        if n_images and seconds:
            before = self._figures["images_per_s"]
            self._figures["images_per_s"] = (
                _RECENT * before + (1 - _RECENT) * n_images / seconds if before else (n_images / seconds)
            )
        if self._plan is not None:
            self._taken[stage.kind] += seconds
            self._learn(stage, self._plan, seconds, n_images)
        if self._outlook is not None:
            self._outlook.stage_done(stage, seconds)
        self._shown.stage_done(stage, seconds, n_images)
        self._tell()

    def worker_done(self, worker: str, stage: Stage, seconds: float, n_images: int) -> None:
        """Hand it on."""
        self._shown.worker_done(worker, stage, seconds, n_images)

    def finish(self) -> None:
        """Keep what was learned, with what was expected and what it took if the study came to its end."""
        self._turn_to(None)
        if self._expected is None or self._plan is None:
            return
        if all(phase in self._taken for phase in self._works):
            seconds, study = time.perf_counter() - self._began, self._plan.spec.study
            left = written(self._workspace, study, self._began_at)
            for phase, work in self._works.items():
                kept, peak = left.get(phase, 0.0), self._peaks.get(phase, 0.0)
                self._rates.learn(work, self._expected.hardware, self._taken[phase], kept, peak)
            disk, memory = self._kept_bytes + sum(left.values()), max(peak_bytes(), self._seen["helper"])
            self.account = Account.of(self._expected, dict(self._taken), seconds, disk, memory)
            self.account.write(self._workspace.study_path(study))
        self._rates.save(self._workspace)

    def _turn_to(self, phase: Phase | None) -> None:
        now = time.perf_counter()
        if self._phase is not None:
            seconds = max(0.0, now - self._since - self._in_stages)
            self._taken[self._phase] += seconds
            if self._phase != TRIALS and (peak := self._new_peak(None)):
                self._peaks[self._phase] = peak
            if self._outlook is not None and self._phase in self._works:
                self._outlook.phase_done(self._phase, self._share(self._phase), seconds)
                self._begun.add(self._phase)
        if self._outlook is not None and phase is not None and phase in self._works:
            self._outlook.phase_started(phase, self._share(phase))
        self._phase, self._since, self._in_stages = phase, now, 0.0

    def _share(self, phase: Phase) -> float:
        """Of a phase what it now does: what comes run by run for one more, beside what it takes before its first."""
        if phase not in (RECORDS, TRACKING):
            return 1.0
        amount, first = self._works[phase].amount, FIRST.get(phase, 0.0)
        return ((amount - first) / self._n_todo + (0.0 if phase in self._begun else first)) / amount

    def _learn(self, stage: Stage, plan: Plan, seconds: float, n_images: int) -> None:
        work = work_of(stage, plan)
        work = work.share(_share(stage, n_images))
        kept = self._kept(stage, n_images)
        self._kept_bytes += kept
        executor = self._computes.executor
        self._rates.learn(work, executor.hardware, seconds, kept, self._new_peak(executor.helper))

    def _kept(self, stage: Stage, n_images: int) -> float:
        """Bytes that the store took for a stage that was computed now; of features for those images."""
        helper = self._computes.executor.helper
        if helper is not None:
            return float(helper.kept_bytes.get(stage.key, 0))
        paths = (self._store.path(stage.kind, key) for key in stage.result_keys)
        return sum(path.stat().st_size for path in paths if path.exists()) * _share(stage, n_images)

    def _new_peak(self, helper: Helper | None) -> float:
        """The memory of this process, or of the largest that computed for it, if that has grown since; 0 if not."""
        of, peak = ("here", peak_bytes()) if helper is None else ("helper", helper.peak_bytes)
        before, self._seen[of] = self._seen[of], peak
        return float(peak) if peak > before else 0.0

    def _tell(self) -> None:
        """Publish how far it is, unless that was done just now."""
        now = time.monotonic()
        if self._sink is None or now - self._published < PUBLISHED_EVERY_S:
            return
        self._published, self._n_published = now, self._n_published + 1
        left = {} if self._outlook is None else {"eta_s": self._outlook.left_s}
        self._sink(self._n_published, {f"progress/{name}": value for name, value in (self._figures | left).items()})


def _share(stage: Stage, n_images: int) -> float:
    """How much of a stage so many images are: all of it where it is not computed image by image."""
    return n_images / max(1, len(stage.result_keys)) if stage.is_by_image else 1.0
