"""Studies on real Ray clusters: drivers and machines that die, with and without a disk that all of them see.

With $ADLOC_KILLS a driver is interrupted by SIGINT too, which elsewhere is left to the tests of one process.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from commandline import adloc
from forked import Forked
from object_server import BUCKET, CREDENTIALS, ObjectServer, object_server
from spread import N_RUNS, recorded, trials

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("ray", reason="the extra `ray` is not installed")


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    """The bucket."""
    with object_server() as running:
        yield running


def start(study_file: Path, workspace: Path | str, cwd: Path, **environment: str) -> Forked:
    """A driver in a process of its own, with a cache of its own, on a cluster of its own unless one is named."""
    cwd.mkdir(exist_ok=True)
    command = ("study", "run", study_file, "--workspace", str(workspace), "--executor", "ray")
    outside = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    return Forked(*command, cwd=cwd, environment=outside | {"ADLOC_CACHE": str(cwd)} | environment)


def wait_for(process: Forked, folder: Path, pattern: str) -> None:
    """Until a file is there, or the process has ended."""
    deadline = time.monotonic() + 180
    while not list(folder.glob(pattern)) and process.code is None and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", *(["SIGINT"] if "ADLOC_KILLS" in os.environ else [])])
def test_stopped_driver_goes_on_where_it_was(spread_file: Path, spread_local: Path, tmp_path: Path, name: str) -> None:
    """Killed after its first record and run again: nothing lost, nothing twice, the same figures."""
    process = start(spread_file, tmp_path, tmp_path)
    records = tmp_path / "studies" / "spread" / "records"
    wait_for(process, records, "[!.]*/record.json")
    process.signal(getattr(signal, name))
    _, errors = process.end(60)
    assert process.code == (-signal.SIGKILL if name == "SIGKILL" else 130), errors
    n_recorded = len(list(records.glob("[!.]*/record.json")))
    assert 1 <= n_recorded < N_RUNS
    again = adloc("study", "run", spread_file, "--workspace", tmp_path, "--json")  # by the other executor
    assert json.loads(again.stdout)["outcome"]["n_computed"] == N_RUNS - n_recorded
    assert recorded(tmp_path) == recorded(spread_local)


@pytest.mark.slow
def test_search_on_real_workers(spread_tuned_file: Path, spread_tuned_local: Path, tmp_path: Path) -> None:
    """Killed in the middle of its waves and run again: the suggestions and figures of one process."""
    process = start(spread_tuned_file, tmp_path, tmp_path)
    wait_for(process, tmp_path / "studies" / "spread" / "trials", "*/r1/*.json")
    process.signal(signal.SIGKILL)
    process.end(60)
    assert len(trials(tmp_path)) < 8
    process = start(spread_tuned_file, tmp_path, tmp_path)
    _, errors = process.end(300)
    assert process.code == 0, errors
    assert trials(tmp_path) == trials(spread_tuned_local)
    assert recorded(tmp_path) == recorded(spread_tuned_local)


def kept(root: Path) -> set[str]:
    """The results of stages that a machine has."""
    return {path.name for path in root.glob("*/store/*/*/*.safetensors")}


def results(server: ObjectServer) -> dict[str, list[str]]:
    """The objects of each result in the bucket."""
    found: dict[str, list[str]] = {}
    for folder, _, name in (name.rpartition("/") for name in server.names()):
        if "/store/" in folder:
            found.setdefault(folder, []).append(name)
    return found


@pytest.mark.slow
def test_three_machines_without_a_shared_disk(
    server: ObjectServer, spread_file: Path, spread_local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One dies in the middle: the records of one process on one disk, and of a cluster that shares one, to the bit.

    The machines' caches are apart, and what was kept before is not computed again.
    """
    from ray.cluster_utils import Cluster

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    caches = [tmp_path / name for name in ("driver", "head", "second", "third")]
    environments = [server.environment | {"ADLOC_CACHE": str(cache)} for cache in caches[1:]]
    head = {"num_cpus": 1, "include_dashboard": False, "env_vars": environments[0]}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        _, third = (cluster.add_node(num_cpus=1, env_vars=environment) for environment in environments[1:])
        cluster.wait_for_nodes()
        disk = tmp_path / "disk"
        process = start(spread_file, disk, tmp_path / "unused", RAY_ADDRESS=cluster.address, **CREDENTIALS)
        _, errors = process.end(400)
        assert process.code == 0, errors
        url = f"s3://{BUCKET}/spread"
        process = start(spread_file, url, caches[0], RAY_ADDRESS=cluster.address, **server.environment)
        deadline = time.monotonic() + 200
        while not kept(caches[3]) and process.code is None and time.monotonic() < deadline:
            time.sleep(0.005)
        before = results(server)
        cluster.remove_node(third, allow_graceful=False)
        _, errors = process.end(400)
        assert process.code == 0, errors
    finally:
        cluster.shutdown()
    (copy,) = caches[0].iterdir()
    assert recorded(copy) == recorded(disk) == recorded(spread_local)
    assert len(recorded(copy)) == N_RUNS
    assert all(kept(cache) for cache in caches)  # each worked
    after = results(server)
    assert before
    assert {key: after[key] for key in before} == before  # computed again, a result would have another object
