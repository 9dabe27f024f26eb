"""The ledger of a thousand workers, on a cluster that only waits: every order once, and after what it needs."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from adloc.planning.sources import FeatureStage, ImageStage
from checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The simulation of the benchmarks, whose driver takes no time."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "benchmarks"))
    import simulated

    monkeypatch.setattr(simulated.Virtual, "read", lambda clock: clock.now)
    yield simulated
    del sys.modules["simulated"]


def test_every_stage_is_sent_once_and_every_run_is_ready_once(simulated: Any) -> None:
    """In as many orders as there are stages, those of features in blocks of 64 images."""
    plan = simulated.large_plan(2, 3)
    found = simulated.simulate(plan, 16)
    n_blocks = sum(-(-len(s.part) // 8) for s in plan.stages.values() if isinstance(s, FeatureStage))
    others = [s for s in plan.stages.values() if not isinstance(s, FeatureStage | ImageStage)]
    assert found["orders"] == n_blocks + len(others)
    assert found["runs"] == len(plan.runs) == 24
    assert found["wall_s"] >= found["work_s"] / 16


def test_the_cluster_is_asked_only_for_what_could_have_started(simulated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many orders wait for others, which grows with the categories, costs the driver nothing at each look."""
    asked: list[int] = []
    wait = simulated.SimulatedCluster.wait

    def counted(cluster: Any, refs: Any, timeout_s: float) -> list[int]:
        asked.append(sum(bool(cluster._blocked[ref]) for ref in refs))
        return list(wait(cluster, refs, timeout_s))

    monkeypatch.setattr(simulated.SimulatedCluster, "wait", counted)
    simulated.simulate(simulated.large_plan(2, 3), 16)
    assert len(asked) > 16
    assert not any(asked)


def test_records_of_one_driver_bound_what_workers_gain(simulated: Any) -> None:
    """With many workers a study takes as long as its records, which are written one after the other."""
    plan = simulated.large_plan(2, 40)
    slow = simulated.simulate(plan, 1000, record_s=60.0)
    assert slow["recording_s"] == 60 * len(plan.runs)
    assert slow["recording_s"] <= slow["wall_s"] < 1.2 * slow["recording_s"]


def test_a_run_is_ready_when_the_last_of_its_tasks_has_ended() -> None:
    """The plan's first one before others; one that waits for nothing at once."""
    from adloc.executors.ledger import _Waiting

    waiting, runs = _Waiting(), [SimpleNamespace(run_id=str(i)) for i in range(4)]
    tasks: list[Any] = ["a", "b"]
    waiting.add(0, runs[0], tasks)
    waiting.add(1, runs[1], tasks[1:])
    waiting.add(2, runs[2], [])
    assert waiting.first() is runs[2]
    waiting.end(tasks[0])
    assert not waiting.ready
    waiting.end(tasks[1])
    assert [waiting.first(), waiting.first()] == runs[:2]
    assert waiting.n_left == 0
