"""The ledger of the Ray executor: what has been sent to the cluster, what waits for it, and what has become of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from adloc.errors import StageFailedError, StageMismatchError
from adloc.executors.worker import Order
from adloc.planning.sources import FeatureStage
from adloc.record.recorder import needed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from adloc.computing.compute import Listener, Workbench
    from adloc.computing.store import Store
    from adloc.executors.cluster import Cluster, Ref
    from adloc.executors.worker import Machine, Outcome
    from adloc.planning.plan import Run
    from adloc.planning.stages import Stage

MOST_IMAGES = 64  # of one task: a lost worker costs no more
AHEAD = 8  # orders that could start, for each that can be carried out at a time
_POLL_S = 0.05
_PATIENCE_S = 60.0  # a network disk may show a file this late


@dataclass(frozen=True, slots=True)
class _Task:
    """What a reference stands for, and how many images it computes."""

    stage: Stage
    n_images: int


@dataclass(slots=True)
class _Extracted:
    """How far a features stage is: tasks of its own still under way, images and seconds so far."""

    n_tasks: int
    total: int
    done: int = 0
    seconds: float = 0.0
    kept_bytes: int = 0


class _Waiting:
    """Runs whose tasks were sent out; each is ready when the last of its own has ended, found without a search.

    Attributes:
        ready: numbers of the runs that are, the plan's first one on top of the heap.
    """

    def __init__(self) -> None:
        self.ready: list[int] = []
        self._runs: dict[int, Run] = {}
        self._n_refs: dict[int, int] = {}  # still under way, by number of the run
        self._of: dict[Ref, list[int]] = {}  # runs that wait for a task

    @property
    def n_left(self) -> int:
        """Runs that were added and not given out."""
        return len(self._runs)

    def add(self, number: int, run: Run, refs: Sequence[Ref]) -> None:
        """A run and what of it is under way, each once."""
        self._runs[number], self._n_refs[number] = run, len(refs)
        for ref in refs:
            self._of.setdefault(ref, []).append(number)
        if not refs:
            heappush(self.ready, number)

    def end(self, ref: Ref) -> None:
        """A task has ended, whatever became of it."""
        for number in self._of.pop(ref, ()):
            self._n_refs[number] -= 1
            if not self._n_refs[number]:
                heappush(self.ready, number)

    def first(self) -> Run:
        """The first run that is ready, which then waits no longer."""
        number = heappop(self.ready)
        del self._n_refs[number]
        return self._runs.pop(number)


class Ledger:
    """What has been sent to the cluster and what has become of it. See `adloc.computing.compute.Helper`.

    Several threads may ask at a time; each stage, and each image, is sent out once.
    """

    def __init__(self, cluster: Cluster, batch_size: int | None) -> None:
        """Nothing is under way."""
        self.device_name = ""
        self.peak_bytes = 0
        self.kept_bytes: dict[str, int] = {}
        self._cluster = cluster
        self._batch_size = batch_size
        self._store: Store | None = None
        self._listener: Listener | None = None
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._running: dict[Ref, _Task] = {}
        self._startable: dict[Ref, int] = {}  # those of them that wait for no other: the cluster is asked for these
        self._outcomes: dict[Ref, Outcome] = {}
        self._stages: dict[tuple[object, ...], frozenset[Ref]] = {}  # by mark: the tasks that compute it
        self._images: dict[tuple[object, ...], Ref] = {}  # by key and layers of an image: the task that computes it
        self._extracted: dict[str, _Extracted] = {}
        self._ended: deque[Ref] = deque()  # since `ready` last looked
        self._n_awaited: dict[Ref, int] = {}  # of a task that cannot start yet: how many others it waits for
        self._waiters: dict[Ref, list[Ref]] = {}  # tasks that wait for one

    def begin(self, store: Store, machines: Sequence[Machine], listener: Listener) -> None:
        """Send out for this store, and tell this listener; what was there before may be gone by now."""
        self._stages.clear()
        self._images.clear()
        self.device_name = ", ".join(sorted({machine.device for machine in machines}))
        self._store, self._listener = store, listener

    def stop(self) -> None:
        """Let no thread wait any longer."""
        self._stopped.set()

    def compute(self, stage: Stage, bench: Workbench) -> None:
        """Return once the store has the stage; see `Helper.compute`."""
        deadline = 0.0
        while True:
            with self._lock:
                refs = self._submit(stage, bench)
            self._wait(refs)
            self._raise_failure(refs)
            if bench.is_done(stage):
                return
            # It was written, but is not seen from here yet; or it is gone, and is computed again in the end.
            deadline = deadline or time.monotonic() + _PATIENCE_S
            if time.monotonic() > deadline:
                deadline = 0.0
                with self._lock:
                    self._stages.pop(_mark(stage, bench), None)
            time.sleep(_POLL_S)

    def ready(self, runs: Sequence[Run], bench: Workbench) -> Iterator[Run]:
        """See `Executor.ready`. No more orders that could start are under way than keep the cluster busy.

        Those that wait for others do not count: a category's would fill any number, while its one coreset is picked.
        """
        todo, waiting = deque(enumerate(runs)), _Waiting()
        most = AHEAD * self._cluster.shape.n_tasks
        looked = 0.0
        self._ended.clear()
        while todo or waiting.n_left:
            with self._lock:
                while todo and len(self._startable) < most:
                    number, run = todo.popleft()
                    refs = self._submit_all(needed(run), bench)
                    waiting.add(number, run, [ref for ref in refs if ref in self._running])
                if not waiting.ready or time.monotonic() - looked > _POLL_S:
                    self._collect()
                    looked = time.monotonic()
                while self._ended:
                    waiting.end(self._ended.popleft())
            if waiting.ready:
                yield waiting.first()  # to be recorded, which takes its time: then more is sent out first
            else:
                self._pause()

    def _submit_all(self, stages: Iterable[Stage], bench: Workbench) -> frozenset[Ref]:
        """The tasks that compute these stages, those of before included; none for what the store has."""
        return frozenset(ref for stage in stages for ref in self._submit(stage, bench))

    def _submit(self, stage: Stage, bench: Workbench) -> frozenset[Ref]:
        mark = _mark(stage, bench)
        if mark not in self._stages:
            self._stages[mark] = frozenset() if bench.is_done(stage) else self._send(stage, bench)
        return self._stages[mark]

    def _send(self, stage: Stage, bench: Workbench) -> frozenset[Ref]:
        """Send out a stage after what it needs."""
        if isinstance(stage, FeatureStage):
            return self._send_images(stage, bench)
        base = bench.reach.bases.get(stage.key)
        before = self._submit_all((*stage.inputs, *(() if base is None else (base,))), bench)
        return frozenset([self._order(stage, (), bench, before)])

    def _send_images(self, stage: FeatureStage, bench: Workbench) -> frozenset[Ref]:
        """Some images a task; those that another stage has sent out are not sent again."""
        layers = bench.reach.layers[stage.source]
        marks = {index: (stage.image_keys[index], layers) for index in bench.missing_images(stage)}
        new = [index for index, mark in marks.items() if mark not in self._images]
        size = min(MOST_IMAGES, max(8, -(-len(new) // (2 * self._cluster.shape.n_tasks))))
        chunks = [tuple(new[start : start + size]) for start in range(0, len(new), size)]
        if chunks:
            self._extracted[stage.key] = _Extracted(len(chunks), len(new))
        for chunk in chunks:
            ref = self._order(stage, chunk, bench, frozenset())
            self._images |= {marks[index]: ref for index in chunk}
        return frozenset(self._images[mark] for mark in marks.values())

    def _order(self, stage: Stage, images: tuple[int, ...], bench: Workbench, before: frozenset[Ref]) -> Ref:
        assert self._store is not None  # noqa: S101  # begin() was called
        shape = self._cluster.shape
        on_gpu = shape.on_gpu and stage.uses_gpu
        told = (bench.reach.around(stage), self._store.address, on_gpu, shape.n_threads, self._batch_size)
        # What has failed already fails this one too; what is done need not be waited for.
        awaited = [ref for ref in before if ref in self._running or self._outcomes[ref].error]
        ref = self._cluster.submit(Order(stage, images, *told), awaited)
        self._running[ref] = _Task(stage, len(images))
        under_way = [each for each in awaited if each in self._running]
        for each in under_way:
            self._waiters.setdefault(each, []).append(ref)
        (self._n_awaited if under_way else self._startable)[ref] = len(under_way)
        if self._listener:
            self._listener.stage_started(stage)
        return ref

    def _wait(self, refs: frozenset[Ref]) -> None:
        while not refs.isdisjoint(self._running):
            if self._stopped.is_set():
                raise KeyboardInterrupt
            with self._lock:
                self._collect()
            if not refs.isdisjoint(self._running):
                self._pause()

    def _pause(self) -> None:
        """Until something is done, but not for long: another thread may be waiting for something else."""
        self._cluster.wait(list(self._startable), _POLL_S)

    def _collect(self) -> None:
        """Take in what is done, and tell the listener."""
        for ref in self._cluster.wait(list(self._startable), 0):
            outcome = self._outcomes[ref] = self._cluster.outcome(ref)
            self._ended.append(ref)
            self._let_start(ref)
            task, _ = self._running.pop(ref), self._startable.pop(ref)
            self.peak_bytes = max(self.peak_bytes, outcome.peak_bytes)
            if outcome.is_bug:
                raise StageMismatchError(outcome.error)
            if self._listener and not outcome.error:
                self._tell(self._listener, task, outcome)

    def _let_start(self, ended: Ref) -> None:
        """Tasks that waited for this one alone wait no longer."""
        for ref in self._waiters.pop(ended, ()):
            self._n_awaited[ref] -= 1
            if not self._n_awaited[ref]:
                self._startable[ref] = self._n_awaited.pop(ref)

    def _tell(self, listener: Listener, task: _Task, outcome: Outcome) -> None:
        listener.worker_done(outcome.worker, task.stage, outcome.seconds, outcome.n_images)
        if not task.n_images:
            self.kept_bytes[task.stage.key] = outcome.kept_bytes
            listener.stage_done(task.stage, outcome.seconds, 0)
            return
        so_far = self._extracted[task.stage.key]
        so_far.n_tasks -= 1
        so_far.done += outcome.n_images
        so_far.seconds += outcome.seconds
        so_far.kept_bytes += outcome.kept_bytes
        listener.stage_progress(task.stage, so_far.done, so_far.total)
        if not so_far.n_tasks:
            self.kept_bytes[task.stage.key] = so_far.kept_bytes
            listener.stage_done(task.stage, so_far.seconds, so_far.done)

    def _raise_failure(self, refs: frozenset[Ref]) -> None:
        failed = next((self._outcomes[ref] for ref in refs if self._outcomes[ref].error), None)
        if failed:
            raise StageFailedError(failed.error, refused=failed.is_refusal)


def _mark(stage: Stage, bench: Workbench) -> tuple[object, ...]:
    """A stage as far as it must reach."""
    return (stage.key, bench.reach.of_stage(stage))
