"""A cluster without a shared disk: every machine has its own copy, the bucket holds what they have in common."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from commandline import adloc
from object_server import BUCKET, CREDENTIALS, ObjectServer, object_server
from test_ray import STUDY, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("ray", reason="the extra `ray` is not installed")

N_RUNS = 8


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    """The bucket."""
    with object_server() as running:
        yield running


def start(study_file: Path, workspace: str, cache: Path, **environment: str) -> subprocess.Popen[str]:
    """A driver in a process of its own, with a cache of its own."""
    cache.mkdir()
    command = ["study", "run", str(study_file), "--workspace", workspace, "--executor", "ray"]
    return subprocess.Popen(
        [sys.executable, "-m", "adloc", *command],
        env={**os.environ, "PYTHONSAFEPATH": "1", "ADLOC_CACHE": str(cache), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cache,
    )


def kept(root: Path) -> set[str]:
    """The results of stages that a machine has."""
    return {path.name for path in root.glob("*/store/*/*/*.safetensors")}


@pytest.mark.slow
def test_three_machines_without_a_shared_disk(
    server: ObjectServer, mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One dies in the middle: the records of one process on one disk, and of a cluster that shares one, to the bit.

    The machines' caches are apart, the driver's holds no features, and what was done before is not done again.
    """
    from ray.cluster_utils import Cluster

    study_file = tmp_path / "spread.yaml"
    study_file.write_text(STUDY.format(root=mvtec_tree))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    adloc("study", "run", study_file, "--workspace", tmp_path / "local")
    caches = [tmp_path / name for name in ("driver", "head", "second", "third")]
    environments = [server.environment | {"ADLOC_CACHE": str(cache)} for cache in caches[1:]]
    head = {"num_cpus": 1, "include_dashboard": False, "env_vars": environments[0]}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        _, third = (cluster.add_node(num_cpus=1, env_vars=environment) for environment in environments[1:])
        cluster.wait_for_nodes()
        disk = tmp_path / "disk"
        process = start(study_file, str(disk), tmp_path / "unused", RAY_ADDRESS=cluster.address, **CREDENTIALS)
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
        url = f"s3://{BUCKET}/spread"
        process = start(study_file, url, caches[0], RAY_ADDRESS=cluster.address, **server.environment)
        deadline = time.monotonic() + 200
        while not kept(caches[3]) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        before = server.names()
        cluster.remove_node(third, allow_graceful=False)
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
    finally:
        cluster.shutdown()
    (copy,) = caches[0].iterdir()
    assert recorded(copy) == recorded(disk) == recorded(tmp_path / "local")
    assert len(recorded(copy)) == N_RUNS
    assert all(kept(cache) for cache in caches)  # each worked
    assert not list(copy.glob("store/features"))
    assert before
