"""`adloc ui`: both servers for real, on a workspace with a tuned study."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from adloc.cli import cli
from adloc.ui import _without_dashboard, free_port
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_workspace_without_a_database_is_refused(tmp_path: Path) -> None:
    """With what to do instead; nothing is started."""
    result = CliRunner().invoke(cli, ["ui", "--workspace", str(tmp_path)])
    assert result.exit_code == 2
    assert "no mlflow.db" in result.output
    assert "run a study first" in result.output


def test_workspace_of_other_machines_is_told_how_it_is_shown_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study was run, elsewhere: each machine has an MLflow database of its own."""
    url = f"file://{tmp_path}/bucket"
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "one"))
    workspace = Workspace.find(url)
    workspace.study_path("gear").mkdir(parents=True)
    (workspace.study_path("gear") / "study.yaml").touch()
    workspace.push("gear")
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "other"))
    result = CliRunner().invoke(cli, ["ui", "--workspace", url])
    assert result.exit_code == 2
    assert re.search(rf"adloc study track {tmp_path}/other/\S+/gear/study.yaml --workspace {url}\n", result.stderr)


@pytest.mark.parametrize(
    ("trials", "journal", "said"),
    [("", "", "no study of this workspace"), ("gear", "", "gear: no"), ("gear", "gear", "")],
)
def test_studies_without_a_dashboard_are_named(tmp_path: Path, trials: str, journal: str, said: str) -> None:
    """Their trials came from another machine; where none was tuned that is said."""
    workspace = Workspace(tmp_path)
    if trials:
        (workspace.study_path(trials) / "trials").mkdir(parents=True)
    if journal:
        workspace.journal_path(journal).parent.mkdir()
        workspace.journal_path(journal).touch()
    lines = _without_dashboard(workspace, None)
    assert [line.startswith(said) for line in lines] == ([True] if said else [])


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "no database"])
def test_damaged_database_is_told_with_the_commands_that_make_it_again(tmp_path: Path, damage: str) -> None:
    """One a study; no server is started that would end at once, and nothing is moved."""
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE runs (name TEXT)")
        database.executemany("INSERT INTO runs VALUES (?)", [("x" * 500,)] * 100)
        database.commit()
    content = path.read_bytes()
    assert len(content) > 20_000
    shown = {"truncated": content[: len(content) // 2], "zeroed": bytes(len(content)), "no database": b"words" * 900}
    path.write_bytes(shown[damage])
    for name in ("one", "other"):
        (tmp_path / "studies" / name).mkdir(parents=True)
        (tmp_path / "studies" / name / "study.yaml").touch()
    result = CliRunner().invoke(cli, ["ui", "--workspace", str(tmp_path)])
    assert result.exit_code == 2
    assert f"{path}: is damaged" in result.stderr
    for name in ("one", "other"):
        assert f"adloc study track {tmp_path}/studies/{name}/study.yaml --workspace {tmp_path}\n" in result.stderr
    assert path.read_bytes() == shown[damage]


def test_port_in_use_is_passed_over() -> None:
    """The next free one is taken, and none twice."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert free_port(port, set()) > port
        first = free_port(port, set())
        assert free_port(port, {first}) > first


@pytest.mark.slow
def test_both_answer_and_ctrl_c_ends_both(tmp_path: Path) -> None:
    """Addresses are printed when they answer; after SIGINT nobody listens and no child is left."""
    import optuna
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").create_experiment("made_up_experiment")
    (tmp_path / "optuna").mkdir()
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "optuna" / "s.journal"))
    study = optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="made_up_study")
    study.tell(study.ask(), 1.0)
    with (tmp_path / "optuna" / "s.journal").open("a") as journal:
        journal.write('{"op_code": 5, "torn')
    command = [sys.executable, "-m", "adloc", "ui", "--workspace", str(tmp_path)]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}, text=True, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        said = ""
        assert process.stdout is not None
        while "Ctrl-C" not in said and (line := process.stdout.readline()):
            said += line
        ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", said)]
        assert len(ports) == 2, said
        children = _children(process.pid)
        assert len(children) >= 2
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/") as page:
            assert b"MLflow" in page.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/api/studies") as page:
            assert b"made_up_study" in page.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert not any(answers(port) for port in ports)
    deadline = time.monotonic() + 5
    while any(_is_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_is_alive(child) for child in children)


def _children(pid: int) -> list[int]:
    """Every process below this one."""
    output = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in output.splitlines()]
    found = [pid]
    for parent in found:
        found += [child for child, above in pairs if above == parent]
    return found[1:]


def _is_alive(pid: int) -> bool:
    output = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(output.strip()) and not output.strip().startswith("Z")
