"""Studies on an MLflow server that others share: a real one over a real PostgreSQL, killed while the study runs."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from adloc.errors import UserError
from adloc.metrics.registry import METRICS
from adloc.progress.study import Progress
from adloc.record.records import Records
from adloc.tracking.place import Place
from adloc.workspace import Workspace
from commandline import adloc
from servers import free_port, mlflow_server, postgresql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers import MLflow, PostgreSQL

pytestmark = pytest.mark.usefixtures("no_report")

STUDY = """\
study: {name}
description: Which score and which blur serve the mean image best?
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: [48, 64]}}
methods:
  - method: floor
    grid: {{image_score: {scores}, smoothing_sigma: [0, 1, 2, 4, 6, 8]}}
models: none
heatmaps: 0
"""


@pytest.fixture(autouse=True)
def own_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting is left behind for other tests."""
    for name in ("MAX_RETRIES", "BACKOFF_FACTOR", "TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", {"TIMEOUT": "10"}.get(name, "1"))


def study_of(folder: Path, root: Path, name: str, scores: str) -> Path:
    """A study file with twelve cheap runs a score."""
    path = folder / f"{name}.yaml"
    path.write_text(STUDY.format(name=name, root=root, scores=scores))
    return path


def at(number: int, do: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do this when so many runs are recorded, before the last of them is tracked."""
    whole, done = Progress.run_done, []

    def run_done(*arguments: Any) -> None:
        whole(*arguments)
        done.append(1)
        if len(done) == number:
            do()

    monkeypatch.setattr(Progress, "run_done", run_done)


def runs_at(server: str, experiment: str) -> list[Any]:
    """Every active run of an experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(server)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], max_results=1000))


def of_kind(runs: list[Any], kind: str) -> list[Any]:
    """Those of a kind."""
    return [run for run in runs if run.data.tags["adloc.kind"] == kind]


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    """A PostgreSQL server."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def server(database: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflow]:
    """An MLflow server over it."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow"), database.database("mlflow")) as started:
        yield started


@pytest.mark.slow
def test_server_killed_in_the_middle_shows_every_run_once(
    server: MLflow, database: PostgreSQL, mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 runs; MLflow is killed at the 15th and back at the 45th, PostgreSQL killed at the 50th and back at the 55th.

    All are shown as finished, once, with the metrics of their records, without a further command; one line was said.
    `track` then changes nothing; a workspace of its own with the same study adds its runs beside them and neither
    takes any of the other's; a deleted run comes back.
    """
    said: list[str] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: said.append(record.getMessage()))
    monkeypatch.setattr(logging.getLogger("adloc.tracking.tracker"), "handlers", [handler])
    for number, do in (
        (15, lambda: server.program.end(signal.SIGKILL)),
        (45, server.start),
        (50, lambda: database.program.end(signal.SIGKILL)),
        (55, database.start),
    ):
        at(number, do, monkeypatch)
    file, workspace = study_of(tmp_path, mvtec_tree, "sixty", "[max, 0.1, 1, 10, 50]"), tmp_path / "one"
    where = ("--workspace", workspace, "--tracking-uri", server.address)
    printed = adloc("study", "run", file, *where).output
    assert [line.count("WARNING: tracking server") for line in said] == [1]
    assert "is behind" not in printed
    assert f"Runs:     {server.address}/#/experiments/" in printed

    records = {record.run_id: record for record in Records(workspace / "studies" / "sixty").all()}
    runs = runs_at(server.address, "sixty")
    shown = {run.data.tags["adloc.run_id"]: run for run in of_kind(runs, "run")}
    assert len(records) == 60
    assert len(of_kind(runs, "run")) == 60
    assert shown.keys() == records.keys()
    assert len(of_kind(runs, "macro")) == 30
    assert len(of_kind(runs, "study")) == 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run_id, record in records.items():
        found = {name: shown[run_id].data.metrics.get(METRICS[name].mlflow_name) for name in record.metrics}
        assert found == record.metrics

    before = {run.info.run_id for run in runs}
    file.write_text(file.read_text().replace(str(mvtec_tree), str(mvtec_tree.with_name("gone"))))  # no image is read
    adloc("study", "track", file, *where)
    assert {run.info.run_id for run in runs_at(server.address, "sixty")} == before

    other = tmp_path / "two" / "studies" / "sixty"
    some = sorted(records)[:6]
    other.mkdir(parents=True)
    (other / "plan.json").write_text(json.dumps({"runs": [{"run_id": run_id} for run_id in some]}))
    for run_id in some:
        shutil.copytree(workspace / "studies" / "sixty" / "records" / run_id, other / "records" / run_id)
    adloc("study", "track", file, "--workspace", tmp_path / "two", "--tracking-uri", server.address)
    both = runs_at(server.address, "sixty")
    assert len(both) == len(before) + 1 + 6
    assert before < {run.info.run_id for run in both}

    from mlflow import MlflowClient

    MlflowClient(server.address).delete_run(shown[min(shown)].info.run_id)
    adloc("study", "track", file, *where)
    again = runs_at(server.address, "sixty")
    assert len(again) == len(both)
    assert len({run.info.run_id for run in again} & before) == len(before) - 1


def test_server_that_is_away_costs_a_study_nothing(mvtec_tree: Path, tmp_path: Path) -> None:
    """Exit code 0, one line that says how to catch up; `track` says the same as an error, and a moment is waited."""
    file, address = study_of(tmp_path, mvtec_tree, "alone", "[max]"), f"http://ann:secret@127.0.0.1:{free_port()}"
    where = ("--workspace", tmp_path / "workspace", "--tracking-uri", address)
    begun = time.monotonic()
    said = adloc("study", "run", file, *where).output
    assert time.monotonic() - begun < 120
    assert len(list(Records(tmp_path / "workspace" / "studies" / "alone").all())) == 12
    behind = [line for line in said.splitlines() if "is behind" in line]
    assert len(behind) == 1
    assert "Connection refused" in behind[0]
    assert f"adloc study track {file}" in behind[0]
    refused = adloc("study", "track", file, *where, expect=2).output
    assert "Connection refused" in refused
    assert "the records are safe" in refused
    kept = [
        path.read_text() for path in (tmp_path / "workspace").rglob("*") if path.suffix in (".txt", ".json", ".yaml")
    ]
    assert not any("secret" in text for text in [said, refused, *kept])


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("", ""),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("https://ann:secret@team.example.com/mlflow", "https://ann:secret@team.example.com/mlflow"),
        ("sqlite:///{root}/mlflow.db", ""),
        ("sqlite:///runs/mlflow.db", ""),
    ],
)
def test_place_is_a_server_or_the_workspace_itself(
    uri: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the option or the variable alike; the workspace's own database is not a server, however it is written."""
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path / "runs")
    given = uri.format(root=workspace.root)
    assert Place.find(workspace, given).server == server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert Place.find(workspace, None).server == server


def test_another_database_is_refused_without_its_password(tmp_path: Path) -> None:
    """With what to do instead."""
    with pytest.raises(UserError, match="must be the address of an MLflow server") as refused:
        Place.find(Workspace(tmp_path), "postgresql://ann:secret@db/mlflow")
    assert "--tracking-uri is postgresql://db/mlflow" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_index_is_of_one_server_and_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place has a file of its own, whoever asks: what one server shows says nothing of another."""
    workspace = Workspace(tmp_path)
    places = [Place(workspace), Place(workspace, "http://a:1"), Place(workspace, "http://b:1")]
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "/line 3/")
    places.append(Place.find(workspace, "http://a:1"))
    assert places[-1].experiment("s") == "line 3/s"
    assert len({place.index_path("s") for place in places}) == 4
    assert Place(workspace, "http://ann:secret@a:1").index_path("s") == places[1].index_path("s")
    assert places[0].owner() == ""
    assert places[1].owner() == places[2].owner() != ""


def test_track_without_records_is_refused(mvtec_tree: Path, tmp_path: Path) -> None:
    """There is nothing to be shown."""
    file = study_of(tmp_path, mvtec_tree, "never", "[max]")
    said = adloc("study", "track", file, "--workspace", tmp_path, expect=2).output
    assert "nothing was recorded of never" in said


def test_track_makes_the_workspaces_own_database_again(mvtec_tree: Path, tmp_path: Path) -> None:
    """From the records alone, as on a server; --json for programs."""
    file = study_of(tmp_path, mvtec_tree, "again", "[max]")
    where = ("--workspace", tmp_path / "workspace")
    adloc("study", "run", file, *where)
    uri = f"sqlite:///{tmp_path / 'workspace' / 'mlflow.db'}"
    before = {run.data.tags["mlflow.runName"]: run.data.metrics for run in runs_at(uri, "again")}
    (tmp_path / "workspace" / "mlflow.db").unlink()
    said = json.loads(adloc("study", "track", file, *where, "--json").stdout)
    assert said["shown"] == 12
    after = {run.data.tags["mlflow.runName"]: run.data.metrics for run in runs_at(uri, "again")}
    assert after == before
