"""The Ray executor: the same figures as in one process, whatever order, machine or failure a cluster comes up with."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from adloc.cli import cli
from adloc.executors.computing import Computing
from adloc.planning.stages import TruthStage
from commandline import adloc
from one_process import OneProcess
from spread import N_IMAGES, N_RUNS, recorded, trials

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.executors.worker import Order

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> list[OneProcess]:
    """Every cluster that is connected to is in this process, and in this list."""
    from adloc.computing import environment
    from adloc.executors import ray_executor, worker

    made: list[OneProcess] = []
    monkeypatch.setattr(worker, "_benches", {})
    monkeypatch.setattr(environment, "limit_threads", lambda _: None)  # of this process, which goes on with other tests

    def connect(computing: Computing) -> OneProcess:
        made.append(OneProcess(computing))
        return made[-1]

    monkeypatch.setattr(ray_executor, "Cluster", connect)
    return made


@pytest.mark.slow
def test_figures_are_those_of_one_process(
    cluster: list[OneProcess], spread_file: Path, spread_local: Path, tmp_path: Path
) -> None:
    """To the last bit, in whatever order; each stage is sent out once and each image passes the backbone once."""
    adloc("study", "run", spread_file, "--workspace", tmp_path, "--executor", "ray")
    assert recorded(tmp_path) == recorded(spread_local)
    assert len(recorded(tmp_path)) == N_RUNS
    orders = cluster[0].orders
    assert sum(len(order.images) for order in orders) == N_IMAGES
    keys = [order.stage.key for order in orders if not order.images]
    assert len(keys) == len(set(keys))
    assert {order.stage.kind for order in orders} == {
        "features", "patchcore.coreset", "patchcore.search", "patchcore.scores", "threshold", "truth", "evaluation",
        "segmentation",
    }  # fmt: skip


@pytest.mark.slow
def test_finished_study_needs_no_cluster(
    cluster: list[OneProcess], spread_file: Path, spread_local: Path, tmp_path: Path
) -> None:
    """Run again, also by another executor, nothing is started."""
    workspace = shutil.copytree(spread_local, tmp_path / "workspace")
    adloc("study", "run", spread_file, "--workspace", workspace)  # mends what moving it has changed
    outcome = adloc("study", "run", spread_file, "--workspace", workspace, "--executor", "ray", "--json")
    assert json.loads(outcome.stdout)["outcome"]["n_stages"] == 0
    assert cluster == []


@pytest.mark.slow
def test_only_what_is_missing_is_sent_out(
    cluster: list[OneProcess], spread_file: Path, spread_local: Path, tmp_path: Path
) -> None:
    """With half of the store there, orders are for the other half; a base is computed before what builds on it."""
    workspace = shutil.copytree(spread_local, tmp_path / "workspace")
    shutil.rmtree(workspace / "studies")
    for kind in ("patchcore.search", "patchcore.scores", "evaluation"):
        shutil.rmtree(workspace / "store" / kind)
    adloc("study", "run", spread_file, "--workspace", workspace, "--executor", "ray")
    assert recorded(workspace) == recorded(spread_local)
    assert {o.stage.kind for o in cluster[0].orders} == {"patchcore.search", "patchcore.scores", "evaluation"}


@pytest.mark.slow
def test_failure_is_recorded_with_those_it_stops(
    cluster: list[OneProcess], spread_file: Path, spread_local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that need the failed stage fail with its words; the others are done; the next run mends it."""
    from adloc.methods.patchcore.detector import PatchCore

    whole = PatchCore.search

    def broken(self: PatchCore, context: Any) -> Any:
        if context.params.coreset_ratio == 0.5:
            raise RuntimeError("out of luck")
        return whole(self, context)

    with monkeypatch.context() as patched:
        patched.setattr(PatchCore, "search", broken)
        adloc("study", "run", spread_file, "--workspace", tmp_path, "--executor", "ray", expect=3)
    states = [each[0] for each in recorded(tmp_path).values()]
    assert sorted(states) == ["done"] * 4 + ["failed"] * 4
    status = adloc("study", "status", spread_file, "--workspace", tmp_path).stdout
    assert "out of luck" in status
    adloc("study", "run", spread_file, "--workspace", tmp_path, "--executor", "ray")
    assert recorded(tmp_path) == recorded(spread_local)
    assert len(cluster) == 2


@pytest.mark.slow
def test_lost_worker_fails_what_it_computed(
    cluster: list[OneProcess], spread_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ray itself could not carry out is a failure with Ray's words, not the end of the study."""
    del cluster

    def is_lost(order: Order) -> bool:
        return isinstance(order.stage, TruthStage) and order.stage.part.category == "gear"

    monkeypatch.setattr(OneProcess, "is_lost", staticmethod(is_lost))
    adloc("study", "run", spread_file, "--workspace", tmp_path, "--executor", "ray", expect=3)
    assert {run_id.split("-")[0]: each[0] for run_id, each in recorded(tmp_path).items()} == {
        "gear": "failed",
        "strip": "done",
    }
    assert "its worker died" in adloc("study", "status", spread_file, "--workspace", tmp_path).stdout


@pytest.mark.slow
def test_failed_tuned_study_still_prints_its_table(
    cluster: list[OneProcess], spread_tuned_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A category whose runs failed leaves no average, and no gain to tell of."""
    del cluster

    def is_lost(order: Order) -> bool:
        return isinstance(order.stage, TruthStage) and len(order.stage.part) == 10

    monkeypatch.setattr(OneProcess, "is_lost", staticmethod(is_lost))
    result = adloc("study", "run", spread_tuned_file, "--workspace", tmp_path, "--executor", "ray", expect=3)
    assert "incomplete" in result.output


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"problems": ("/data/gear/000.png: FileNotFoundError",)}, "far-away: /data/gear/000.png: FileNotFoundError"),
        ({"versions": {"torch": "2.13.0"}}, "far-away: torch 2.13.0, but"),
    ],
)
@pytest.mark.slow
def test_machine_that_is_not_fit_is_named_before_any_work(
    cluster: list[OneProcess],
    spread_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: dict[str, Any],
    words: str,
) -> None:
    """One that cannot read an image or has other versions ends it with exit code 2: which machine, what, the remedy."""
    from adloc.executors.worker import Machine

    machine = Machine(**({"host": "far-away", "versions": {}, "device": "cpu", "problems": ()} | found))
    monkeypatch.setattr(OneProcess, "look_around", lambda *_: [machine])
    assert words in adloc("study", "run", spread_file, "--workspace", tmp_path, "--executor", "ray", expect=2).output
    assert cluster[0].orders == []


def test_worker_sees_what_is_not_there(spread_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another disk, a missing image and other weights are told in words."""
    from dataclasses import replace

    from adloc.computing.store import Store
    from adloc.executors.worker import look_around
    from adloc.planning.plan import sources
    from adloc.study import prepare
    from adloc.workspace import Workspace

    study = prepare(spread_file, [], Workspace(tmp_path), download=False)
    (source, *_) = sources(study.plan.stages.values())
    with Store(tmp_path / "store").probe() as probe:
        assert look_around(probe, [source], on_gpu=False).problems == ()
    other = replace(source, network=replace(source.network, sha256="0" * 64))
    monkeypatch.setattr(type(source.part), "read", lambda *_: (_ for _ in ()).throw(FileNotFoundError("000.png")))
    problems = "\n".join(look_around(probe, [other], on_gpu=False).problems)  # the mark is gone
    assert "is not where the driver writes to" in problems
    assert "FileNotFoundError: 000.png" in problems
    assert "are not the driver's" in problems


@pytest.mark.slow
def test_trials_of_a_wave_are_those_of_one_process(
    cluster: list[OneProcess], spread_tuned_file: Path, spread_tuned_local: Path, tmp_path: Path
) -> None:
    """Suggestions, figures, what is pruned and the winner's runs: the same, though a wave's trials run at a time."""
    adloc("study", "run", spread_tuned_file, "--workspace", tmp_path, "--executor", "ray")
    assert trials(tmp_path) == trials(spread_tuned_local)
    assert len(trials(tmp_path)) == 8
    assert recorded(tmp_path) == recorded(spread_tuned_local)
    images = [(o.stage.image_keys[i]) for o in cluster[0].orders if o.images for i in o.images]  # type: ignore[union-attr]
    assert len(images) == len(set(images))


@pytest.mark.slow
def test_trial_cannot_have_a_test_image_computed(
    cluster: list[OneProcess], spread_tuned_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that asks for a stage of a test part is refused before anything is sent out for it."""
    from adloc.errors import StageMismatchError
    from adloc.study import prepare
    from adloc.tuning import tuner
    from adloc.workspace import Workspace

    study = prepare(spread_tuned_file, [], Workspace(tmp_path), download=False)
    test_stage = study.plan.runs[0].test

    def peep(_stages: Any, _variant: Any, _category: str, bench: Any, _reach: Any) -> Any:
        return bench.result(test_stage)

    monkeypatch.setattr(tuner, "try_category", peep)
    result = CliRunner().invoke(
        cli, ["study", "run", str(spread_tuned_file), "--workspace", str(tmp_path), "--executor", "ray"]
    )
    assert isinstance(result.exception, StageMismatchError)
    assert cluster[0].orders == []


@pytest.mark.parametrize(
    ("machines", "jobs", "expected"),
    [
        ([{"CPU": 2}], None, (False, 2, 1)),
        ([{"CPU": 16}], None, (False, 4, 4)),
        ([{"CPU": 16}], 16, (False, 16, 1)),
        ([{"CPU": 16}], 1, (False, 1, 16)),
        ([{"CPU": 4}, {"CPU": 4}], None, (False, 2, 4)),
        ([{"CPU": 4}, {"CPU": 16}], 2, (False, 5, 4)),  # no task is larger than the smallest machine
        ([{"CPU": 16, "GPU": 2}], None, (True, 2, 8)),
    ],
)
def test_cluster_is_divided_into_tasks(
    machines: list[dict[str, float]], jobs: int | None, expected: tuple[bool, int, int]
) -> None:
    """(on GPUs, tasks at a time, threads of each)."""
    from adloc.executors.cluster import _shape

    shape = _shape(Computing("ray", jobs=jobs), machines)
    assert (shape.on_gpu, shape.n_tasks, shape.n_threads) == expected


def test_gpu_that_is_not_there_is_refused() -> None:
    """By name of the option; and a cluster without a machine."""
    from adloc.errors import UserError
    from adloc.executors.cluster import _shape

    with pytest.raises(UserError, match="--device cuda: the cluster has no GPU"):
        _shape(Computing("ray", device="cuda"), [{"CPU": 4}])
    with pytest.raises(UserError, match="no machine"):
        _shape(Computing("ray"), [])


def test_cluster_that_is_not_there_is_said(spread_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, with the address and what to do about it."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")  # the port of discard, where nothing listens
    result = adloc("study", "run", spread_file, "--workspace", tmp_path, "--executor", "ray", expect=2)
    assert "127.0.0.1:9" in result.output
    assert "unset $RAY_ADDRESS" in result.output


def test_ray_that_is_not_installed_is_said(spread_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    for name in ("adloc.executors.ray_executor", "adloc.executors.cluster"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    result = adloc("study", "run", spread_file, "--workspace", tmp_path, "--executor", "ray", expect=2)
    assert "pip install 'adloc[ray]'" in result.output
