"""A cluster without a shared disk: every machine has its own copy, the bucket holds what they have in common."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, ClassVar

import pytest

from adloc.cost.account import Account
from adloc.executors.worker import compute
from adloc.planning.stages import StepStage
from commandline import adloc
from one_process import OneProcess
from spread import N_IMAGES, N_RUNS, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.executors.computing import Computing
    from adloc.executors.worker import Order, Outcome

pytest.importorskip("ray", reason="the extra `ray` is not installed")

pytestmark = pytest.mark.usefixtures("no_report")


class ThreeMachines(OneProcess):
    """Stands in for a cluster of machines that share no disk: each order is carried out before another cache.

    The first machine that has computed a step dies in its next order: its cache is lost, the order goes elsewhere.
    """

    caches: tuple[Path, ...] = ()
    computed: ClassVar[list[tuple[str, Order]]] = []

    def __init__(self, computing: Computing) -> None:
        super().__init__(computing)
        self._alive = list(self.caches)
        self._dying: Path | None = None

    def carry_out(self, order: Order) -> Outcome:
        """On a machine that is drawn."""
        from adloc.executors import worker

        cache = self._random.choice(self._alive)
        if cache == self._dying:
            shutil.rmtree(cache)
            self._alive.remove(cache)
            cache = self._alive[0]
        if len(self._alive) == len(self.caches) and self._dying is None and isinstance(order.stage, StepStage):
            self._dying = cache
        self.computed.append((cache.name, order))
        worker._benches.clear()  # another process
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("ADLOC_CACHE", str(cache))
            return compute(order)


@pytest.mark.slow
def test_figures_are_those_of_one_disk_whatever_machine_computes(
    spread_file: Path, spread_local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, though a machine is lost with all that it kept; each image and each stage is computed once."""
    from adloc.computing import environment
    from adloc.executors import ray_executor, worker

    monkeypatch.setattr(worker, "_benches", {})
    monkeypatch.setattr(environment, "limit_threads", lambda _: None)  # of this process, which has other tests to run
    monkeypatch.setattr(ray_executor, "Cluster", ThreeMachines)
    monkeypatch.setattr(ThreeMachines, "caches", tuple(tmp_path / name for name in ("one", "two", "three")))
    monkeypatch.setattr(ThreeMachines, "computed", [])
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "driver"))
    adloc("study", "run", spread_file, "--workspace", f"file://{tmp_path}/bucket", "--executor", "ray")
    (copy,) = (tmp_path / "driver").iterdir()
    assert recorded(copy) == recorded(spread_local)
    assert len(recorded(copy)) == N_RUNS
    here, there = (Account.read(root / "studies" / "spread") for root in (spread_local, copy))
    assert here
    assert there
    assert there.disk_bytes == pytest.approx(here.disk_bytes, rel=0.05)  # whatever machine kept it
    assert here.disk_bytes > 0
    assert {name for name, _ in ThreeMachines.computed} == {"one", "two", "three"}
    assert sum(cache.exists() for cache in ThreeMachines.caches) == 2
    images = [order.stage.image_keys[i] for _, order in ThreeMachines.computed for i in order.images]  # type: ignore[union-attr]
    keys = [order.stage.key for _, order in ThreeMachines.computed if not order.images]
    assert len(images) == len(set(images)) == N_IMAGES
    assert len(keys) == len(set(keys))
