"""The services of `deploy/`, started for real on loopback: a study on all of them finds what one process finds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adloc.record.files import files_below
from checkout import ROOT
from commandline import adloc
from servers import postgresql_programs

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = ROOT / "deploy"
HOST = "127.0.0.2"  # loopback, and not the name that Ray takes for another address of this machine
N_WORKERS = 4
STUDY = """\
study: spread
description: Is a study on every service the same as in one process?
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: 48}}
regimes: [clean, threshold_only]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, reweight: none}}
    tune:
      space:
        coreset_ratio: {{low: 0.02, high: 0.5, log: true}}
        neighbours: {{low: 1, high: 9, type: int}}
  - method: knn
    params: {{backbone: efficientnet_lite0}}
    grid: {{neighbours: [1, 2, 3]}}
tuning: {{metric: val_image_auroc, trials: 6, wave: 3}}
heatmaps: 1
models: none
"""
COSTS = ("fit_s", "score_ms_per_image", "peak_memory_mb")

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytest.importorskip("moto", reason="moto is not installed")


def free_ports(n: int) -> list[int]:
    """Of this machine, below those that Ray gives to its workers."""
    with ExitStack() as stack:
        found: list[int] = []
        for port in range(5200, 10000):
            if len(found) == n:
                return found
            try:
                stack.enter_context(socket.socket()).bind((HOST, port))
            except OSError:
                continue
            found.append(port)
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, str]]:
    """All services, in an environment that points at them."""
    postgresql_programs()
    folder = Path(tempfile.mkdtemp(prefix="adloc-deploy-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user where this is root
    names = ("POSTGRES_PORT", "OBJECTS_PORT", "MLFLOW_PORT", "RAY_PORT")
    given = {"DEPLOY_HOST": HOST, "DEPLOY_PATH": str(folder), "DEPLOY_WORKERS": str(N_WORKERS)}
    given |= {name: str(port) for name, port in zip(names, free_ports(4), strict=True)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_", "MLFLOW_"))} | given
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    try:
        subprocess.run([DEPLOY / "services.sh", "up"], env=environment, check=True, timeout=900)
        lines = subprocess.run(
            [DEPLOY / "services.sh", "env"], env=environment, check=True, capture_output=True, text=True
        ).stdout
        words = [word for line in lines.splitlines() for word in line.removeprefix("export ").split()]
        yield environment | dict(word.split("=", 1) for word in words)
    finally:
        subprocess.run([DEPLOY / "services.sh", "down"], env=environment, check=True, timeout=120)
        shutil.rmtree(folder)


def run_study(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """The command line, on the services."""
    return subprocess.Popen(
        [sys.executable, "-m", "adloc", "study", *arguments],
        env=environment | {"PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(text: str) -> dict[str, dict[str, Any]]:
    """By run: the row of results without its costs."""
    return {row["run_id"]: {k: v for k, v in row.items() if k not in COSTS} for row in json.loads(text)}


def tracked(environment: dict[str, str]) -> list[tuple[str, str]]:
    """Run id and status of all that the server shows as runs of the study."""

    def ask(path: str, body: dict[str, Any]) -> dict[str, Any]:
        address = f"{environment['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/{path}"
        request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # our own server
            found: dict[str, Any] = json.load(answer)
        return found

    experiments = ask("experiments/search", {"max_results": 100})["experiments"]
    body = {
        "experiment_ids": [e["experiment_id"] for e in experiments],
        "filter": "tags.`adloc.kind` = 'run'",
        "max_results": 1000,
    }
    runs = ask("runs/search", body)["runs"]
    return sorted(
        (next(tag["value"] for tag in run["data"]["tags"] if tag["key"] == "adloc.run_id"), run["info"]["status"])
        for run in runs
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)  # five services are started
def test_a_study_on_all_services_is_that_of_one_process(
    services: dict[str, str], mvtec_tree: Path, tmp_path: Path
) -> None:
    """Objects, PostgreSQL, MLflow and four Ray nodes, of which one dies: each run once, with the same figures."""
    study = tmp_path / "spread.yaml"
    study.write_text(STUDY.format(root=mvtec_tree))
    adloc("study", "run", study, "--workspace", tmp_path / "local")
    expected = rows(adloc("study", "results", study, "--workspace", tmp_path / "local", "--format", "json").stdout)

    driver = services | {"ADLOC_CACHE": str(tmp_path / "driver")}
    process = run_study(driver, "run", str(study), "--executor", "ray", "--storage", services["OPTUNA_STORAGE"])
    first = Path(services["DEPLOY_PATH"]) / "cache-ray-worker-1"
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if any(path.suffix == ".safetensors" for path, _ in files_below(first)):
            break
        time.sleep(0.05)
    os.killpg(int((Path(services["DEPLOY_PATH"]) / "ray-worker-1.pid").read_text()), signal.SIGKILL)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors

    elsewhere = services | {"ADLOC_CACHE": str(tmp_path / "colleague")}
    found, errors = run_study(elsewhere, "results", str(study), "--format", "json").communicate(timeout=300)
    assert rows(found) == expected, errors
    done = [(run_id, "FINISHED") for run_id, row in sorted(expected.items()) if row["category"] != "macro"]
    assert tracked(services) == done
