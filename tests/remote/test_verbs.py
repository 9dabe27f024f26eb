"""Verbs on a workspace in a bucket: with an empty cache, with a bucket that may only be read, with a URL elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
import numpy as np
import pytest

import adloc as python
from adloc.cli import cli
from adloc.cli.options import FAILED
from adloc.computing.store import DamagedError, read_result
from adloc.datasets.objects import ATTEMPTS
from adloc.errors import UserError
from adloc.methods.detector import Result
from adloc.sealing.ledger import seal_path, seal_study
from adloc.sealing.seal import read_seal
from adloc.study import prepare
from adloc.tracking.place import Place
from adloc.workspace import Workspace
from commandline import adloc, call
from faults.told import refused
from object_server import BUCKET, Faults
from spread import STUDY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from object_server import ObjectServer

READ_ONLY = dict.fromkeys(("PUT", "POST", "DELETE"), "AccessDenied")
KEY = "ab" * 32
ELSEWHERE = "s3://team/elsewhere"


@pytest.fixture
def url(server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a workspace that is there, from a machine that has nothing of it."""
    del server
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "first"))
    found = f"s3://{BUCKET}/{tmp_path.name}"
    Workspace.find(found)
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "other"))
    return found


@pytest.fixture
def file(mvtec_tree: Path, tmp_path: Path) -> Path:
    """A study."""
    path = tmp_path / "spread.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


def commands(group: click.Group, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb, with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


def with_url(words: tuple[str, ...], command: click.Command, at: click.Parameter) -> list[str]:
    """A call that has a URL there, and a word wherever else one must be."""
    said = list(words)
    for each in command.params:
        if each is at or each.required:
            said += [each.opts[0]] if isinstance(each, click.Option) else []
            said.append(ELSEWHERE if each is at else "word")
    return said


PATHS = [
    pytest.param(with_url(words, command, each), id=" ".join([*words, each.opts[0]]))
    for words, command in commands(cli)
    for each in command.params
    if isinstance(each.type, click.Path)
]


@pytest.mark.parametrize("call_of", PATHS)
def test_url_beside_the_workspace_is_no_folder_of_this_machine(
    call_of: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever verb is given it, to read or to write: it would be looked for, or be made, in a folder "s3:" here."""
    monkeypatch.chdir(tmp_path)
    refused(call(*call_of), f"{ELSEWHERE}: a URL")
    assert not list(tmp_path.iterdir())


def test_url_beside_the_workspace_is_refused_in_python(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the command line, before any work."""
    monkeypatch.chdir(tmp_path)
    study = python.Study.load(file, workspace=tmp_path / "workspace")
    asked = (
        lambda: python.load_model(ELSEWHERE),
        lambda: python.Study.load(ELSEWHERE),
        lambda: study.report(output=ELSEWHERE),
        lambda: study.seal(output=ELSEWHERE),
        lambda: study.preview(output=ELSEWHERE),
        lambda: study.export(output=ELSEWHERE),
        lambda: study.export_private("run", ELSEWHERE),
    )
    for each in asked:
        with pytest.raises(UserError, match=f"{ELSEWHERE}: a URL"):
            each()
    assert {path.name for path in tmp_path.iterdir()} <= {"spread.yaml", "workspace"}


def test_bucket_that_may_only_be_read_is_held_by_nobody(url: str, server: ObjectServer) -> None:
    """Who would is told what is refused and what can be done without; an opened workspace is read."""
    server.faults = Faults(refuse=READ_ONLY)
    workspace = Workspace.find(url)
    with pytest.raises(UserError) as error, workspace.lock("spread"):
        pass
    (told,) = error.value.complaints
    assert told.found.startswith(f"{url}: may not be written to: AccessDenied")
    assert "write and remove objects" in told.remedy
    assert "only read" in told.remedy
    assert workspace.shared is not None
    assert workspace.shared.studies() == []


def test_where_nothing_can_be_made_no_workspace_is_said_to_be_missing(url: str, server: ObjectServer) -> None:
    """A mistake in a URL, by somebody who may only read."""
    server.faults = Faults(refuse=READ_ONLY)
    told = refused(call("study", "status", "spread", "--workspace", f"{url}x"), f"{url}x: no workspace is there")
    assert told.remedy.startswith("correct the URL")


def test_study_that_cannot_be_sealed_for_all_is_not_sealed_here(url: str, file: Path, server: ObjectServer) -> None:
    """Reports of this machine would speak of a seal that the workspace has not."""
    server.faults = Faults(refuse=READ_ONLY)
    refused(call("study", "seal", file, "--workspace", url), "may not be written to")
    assert not seal_path(Workspace.find(url), "spread").exists()
    server.faults = Faults()
    assert "sealed on" in adloc("study", "seal", file, "--workspace", url).output


def test_two_machines_that_seal_at_a_time_have_one_seal(
    url: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that comes second is told of the first, and has it."""
    machines = {}
    for name, changed in (("first", ()), ("other", ("heatmaps=1", "image.size=32"))):
        monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / name))
        workspace = Workspace.find(url)
        machines[name] = workspace, prepare(file, changed, workspace, download=False).plan  # neither sees a seal yet
    workspace, plan = machines["first"]
    sealed = seal_study(plan, workspace, datetime.now(UTC), 0)
    workspace, plan = machines["other"]
    with pytest.raises(UserError, match=r"was sealed on .* with another plan"):
        seal_study(plan, workspace, datetime.now(UTC), 0)
    assert read_seal(seal_path(workspace, "spread")) == sealed


@pytest.mark.parametrize("mistake", ["read only", "no bucket", "no server"])
def test_doctor_tells_of_a_bucket_beside_all_else(
    mistake: str, url: str, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps a study from being run there, and how to mend it, in one line of many."""
    wanted = {"read only": "may not be written to", "no bucket": "no such bucket", "no server": f"after {ATTEMPTS}"}
    import s3fs

    if mistake == "read only":
        server.faults = Faults(refuse=READ_ONLY)
    if mistake == "no server":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the port of discard, where nothing listens
        s3fs.S3FileSystem.clear_instance_cache()
    place = "s3://nowhere/x" if mistake == "no bucket" else url
    findings = json.loads(call("doctor", "--json", "--workspace", place).stdout)
    assert len(findings) > 10
    assert findings[-1]["what"] == "workspace"
    assert not findings[-1]["ok"]
    assert wanted[mistake] in findings[-1]["found"]
    assert findings[-1]["remedy"]


def test_doctor_leaves_nothing_in_a_bucket(url: str, server: ObjectServer) -> None:
    """It has written there, to see whether that can be done."""
    before = server.names()
    found = json.loads(call("doctor", "--json", "--workspace", url).stdout)[-1]
    assert found["ok"]
    assert url in found["found"]
    assert server.names() == before


def test_store_of_a_machine_that_has_nothing_is_counted(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None here, so many there: numbers for programs, and whole ones in a data frame."""
    Workspace.find(url).store().put("kind", KEY, Result({"x": np.zeros(3, np.float32)}))
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "third"))
    counted = json.loads(adloc("store", "ls", "--json", "--workspace", url).stdout)
    n_bytes = counted["kind"]["shared_bytes"]
    assert counted == {"kind": {"files": 0, "bytes": 0, "shared_files": 1, "shared_bytes": n_bytes}}
    frame = python.Store(workspace=url).ls()
    assert set(map(str, frame.drop(columns="kind").dtypes)) == {"int64"}


def test_owner_at_a_tracking_server_is_the_workspace_and_not_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same from every machine; another where a bucket is made anew, or one of another server has its name."""
    url, owners = f"file://{tmp_path}/bucket", []
    for machine in ("first", "other", "first"):
        if len(owners) == 2:
            shutil.rmtree(tmp_path / "bucket")
        monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / machine))
        owners.append(Place(Workspace.find(url), "http://mlflow:5000").owner())
    assert owners[0] == owners[1] != owners[2]


def test_what_is_offered_is_on_every_machine(
    url: str, server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that was written without holding the study; where nobody may write that is said."""
    there = Workspace.find(url)
    page = there.study_path("spread") / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("first")
    assert there.offer("spread") == ""
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "third"))
    third = Workspace.find(url)
    third.pull("spread")
    assert (third.study_path("spread") / "report.html").read_text() == "first"
    page.write_text("second")
    server.faults = Faults(refuse=READ_ONLY)
    assert there.offer("spread").startswith(f"{url}: may not be written to")
    assert page.read_text() == "second"


def test_damaged_object_in_a_bucket_that_may_only_be_read_is_as_good_as_none(url: str, server: ObjectServer) -> None:
    """Whoever reads goes on; whoever verifies is told, with the object where it is."""
    damaged = damaged_result(url, server)
    server.faults = Faults(refuse=READ_ONLY)
    assert Workspace.find(url).store().get("kind", KEY) is None
    told = adloc("store", "verify", "--shared", "--workspace", url, expect=FAILED).output
    assert damaged.partition("/")[2] in told
    assert damaged in server.names()


def test_damaged_object_is_brought_as_it_is_to_whoever_verifies(url: str, server: ObjectServer) -> None:
    """A machine without a copy sees the damage, which is not mended behind its back; who reads computes it again."""
    damaged = damaged_result(url, server)
    store = Workspace.find(url).store()
    store.bring("kind", [KEY])
    with pytest.raises(DamagedError):
        read_result(store.path("kind", KEY), verify=True)
    assert damaged in server.names()
    assert store.get("kind", KEY) is None
    assert damaged not in server.names()


def damaged_result(url: str, server: ObjectServer) -> str:
    """The object of a result of another machine, after a byte of it has changed."""
    before = set(server.names())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ADLOC_CACHE", f"{os.environ['ADLOC_CACHE']}.third")
        Workspace.find(url).store().put("kind", KEY, Result({"x": np.zeros(300, np.float32)}))
    (name,) = set(server.names()) - before
    server.damage(name)
    return name
