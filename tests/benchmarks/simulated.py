"""A cluster in virtual time: the real planner and the real ledger, and workers that only wait as long as a stage takes.

The driver's own work counts as it is: the processor time that planning, sending out and taking in take passes on the
virtual clock as well, and so does the time to record a run. So what a thousand workers would wait for can be seen on
one core. Nothing is computed, stored or sent over a network.

One image stands for a block of eight, and an order of eight for one of 64: there are as many orders as there would be.
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from adloc.datasets.sample import Fingerprint, Sample
from adloc.executors.cluster import Shape
from adloc.executors.ledger import Ledger
from adloc.executors.worker import Outcome
from adloc.planning.extents import Extents
from adloc.planning.inventory import Inventory
from adloc.planning.plan import make_plan
from adloc.planning.sources import FeatureStage, ImageStage
from adloc.study_file.spec import StudySpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from adloc.executors.worker import Order
    from adloc.planning.plan import Plan
    from adloc.planning.stages import Stage

BLOCK = 8
# Assumed seconds of a worker of two cores, for 1,280 training images of 784 patches: ResNet-50 at 15 images a second, a
# coreset of 5 % extrapolated from 400,000 patches by its square; see docs/scale.md.
SECONDS = {"features": 1 / 15, "patchcore.coreset": 110.0, "patchcore.search": 60.0, "patchcore.scores": 1.0,
           "truth": 1.0, "evaluation": 3.0, "diagnosis": 3.0, "segmentation": 1.0, "threshold": 0.05}  # fmt: skip
RECORD_S = 0.03  # assumed: to write a run's record with its heatmaps, and to tell MLflow


@dataclass
class Virtual:
    """The clock of a simulation: events, and what the driver has worked since it was last read."""

    now: float = 0.0
    worked: float = 0.0
    _last: float = field(default_factory=time.process_time)

    def read(self) -> float:
        """Let the driver's work pass, and tell the time."""
        spent = time.process_time() - self._last
        self._last += spent
        self.now += spent
        self.worked += spent
        return self.now


class SimulatedCluster:
    """Stands for `adloc.executors.cluster.Cluster`: orders wait for those before them, then for a worker."""

    def __init__(self, n_workers: int, clock: Virtual) -> None:
        """Every worker is idle."""
        self.shape = Shape(on_gpu=False, n_tasks=n_workers, n_threads=2)
        self.busy_s = 0.0
        self.n_orders = 0
        self._clock = clock
        self._idle = n_workers
        self._refs = count()
        self._seconds: dict[int, float] = {}
        self._queue: list[int] = []  # ready to run, first come first served
        self._blocked: dict[int, int] = {}  # how many each still waits for
        self._waiters: dict[int, list[int]] = {}
        self._running: list[tuple[float, int]] = []
        self._done: set[int] = set()

    def submit(self, order: Order, before: Iterable[int]) -> int:
        """As the cluster's; it takes as long as its kind of stage."""
        ref = next(self._refs)
        self.n_orders += 1
        n_images = len(order.images) * BLOCK
        self._seconds[ref] = SECONDS[order.stage.kind] * (n_images if isinstance(order.stage, FeatureStage) else 1)
        waits = [each for each in before if each not in self._done]
        self._blocked[ref] = len(waits)
        for each in waits:
            self._waiters.setdefault(each, []).append(ref)
        if not waits:
            heapq.heappush(self._queue, ref)
        self._start(self._clock.now)
        return ref

    def wait(self, refs: Sequence[int], timeout_s: float) -> list[int]:
        """As the cluster's: with a timeout, time goes on to the next that is done."""
        self._advance(self._clock.read())
        found = [ref for ref in refs if ref in self._done]
        if timeout_s and not found and self._running:
            self._clock.now = max(self._clock.now, self._running[0][0])  # however often it would have looked meanwhile
            self._advance(self._clock.now)
        return found

    def outcome(self, ref: int) -> Outcome:
        """Every order succeeds."""
        return Outcome(seconds=self._seconds[ref])

    def _advance(self, now: float) -> None:
        while self._running and self._running[0][0] <= now:
            when, ref = heapq.heappop(self._running)
            self._done.add(ref)
            self._idle += 1
            for waiter in self._waiters.pop(ref, ()):
                self._blocked[waiter] -= 1
                if not self._blocked[waiter]:
                    heapq.heappush(self._queue, waiter)
            self._start(when)

    def _start(self, now: float) -> None:
        while self._idle and self._queue:
            ref = heapq.heappop(self._queue)
            self._idle -= 1
            self.busy_s += self._seconds[ref]
            heapq.heappush(self._running, (now + self._seconds[ref], ref))


class _Bench:
    """Stands for a workbench with an empty store."""

    def __init__(self, plan: Plan) -> None:
        self.reach = Extents.of(plan)

    def is_done(self, stage: Stage) -> bool:
        return isinstance(stage, ImageStage)

    def missing_images(self, stage: FeatureStage) -> list[int]:
        return list(range(len(stage.part)))


def large_plan(n_categories: int, n_settings: int) -> Plan:
    """PatchCore on made-up categories of 160 blocks of training and 24 of test images, in four regimes."""
    kinds = [("train", "good", 160), ("test", "good", 8), ("test", "cut", 16)]
    samples = [
        Sample(f"c{c:04d}", f"{origin}/{defect}/{i}.png", origin, defect, SimpleNamespace(location="nowhere"))  # type: ignore[arg-type]
        for c in range(n_categories)
        for origin, defect, n in kinds
        for i in range(n)
    ]
    prints = {s.identity: Fingerprint(f"image {s.identity}", "mask" * s.label, 224, 224) for s in samples}
    sigmas = [round(0.2 * i, 1) for i in range(n_settings)]
    method = {"method": "patchcore", "params": {"backbone": "resnet50", "reweight": "none"},
              "grid": {"smoothing_sigma": sigmas}}  # fmt: skip
    spec = StudySpec.model_validate(
        {"study": "large", "dataset": {"kind": "textures"}, "methods": [method],
         "regimes": ["clean", "no_adaptation", "threshold_only", "full_adaptation"]}
    )  # fmt: skip
    return make_plan(spec, Inventory(samples, prints, {("resnet50", "default", 42): "weights"}))


def simulate(plan: Plan, n_workers: int, record_s: float = RECORD_S) -> dict[str, Any]:
    """Run a plan from an empty store on so many workers: wall seconds, and what became of everybody's time.

    `efficiency` is the share of the workers' time in which they computed; `driver_s` is the driver's processor time
    for sending out and taking in, `recording_s` what its records take.
    """
    clock = Virtual()
    cluster = SimulatedCluster(n_workers, clock)
    ledger: Any = Ledger(cluster, None)  # type: ignore[arg-type]
    ledger.begin(SimpleNamespace(address="nowhere"), [], None)
    n_runs = 0
    for _ in ledger.ready(plan.runs, _Bench(plan)):
        clock.read()
        clock.now += record_s
        n_runs += 1
    wall = clock.read()
    ideal = cluster.busy_s / n_workers
    return {
        "workers": n_workers, "runs": n_runs, "orders": cluster.n_orders, "wall_s": round(wall),
        "work_s": round(cluster.busy_s), "efficiency": round(ideal / wall, 3), "driver_s": round(clock.worked, 1),
        "driver_ms_a_run": round(1e3 * clock.worked / n_runs, 2), "recording_s": round(record_s * n_runs),
    }  # fmt: skip


def main(n_categories: int, n_settings: int, workers: Sequence[int]) -> None:
    """Plan once, then simulate each number of workers, with records as they are and with records that cost nothing."""
    start = time.process_time()
    plan = large_plan(n_categories, n_settings)
    stages = plan.count()
    planned = {"categories": n_categories, "runs": len(plan.runs), "stages": sum(stages.values()),
               "plan_s": round(time.process_time() - start, 1)}  # fmt: skip
    sys.stdout.write(json.dumps(planned) + "\n")
    for n_workers in workers:
        for record_s in (RECORD_S, 0.0):
            sys.stdout.write(json.dumps(simulate(plan, n_workers, record_s)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), [int(n) for n in sys.argv[3:]])
