"""A workspace behind a URL: one study from several machines, one driver at a time, faults that change nothing."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from adloc.datasets import fetched
from adloc.datasets import objects as objects_module
from adloc.datasets.decoding import read_bytes
from adloc.datasets.errors import DatasetError
from adloc.datasets.objects import Objects
from adloc.errors import UserError
from adloc.record.records import Records, RunRecord
from adloc.remote import lease
from adloc.remote.keeping import collect, verify
from adloc.remote.shared import Shared
from adloc.remote.versions import Version
from adloc.workspace import Workspace
from commandline import adloc
from object_server import BUCKET, Faults, object_server
from spread import N_RUNS, STUDY, recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_report")

RECORD = RunRecord(
    study="spread", run_id="gear-knn-1", key="k", group="g", category="gear", method="knn", regime="clean",
    scope="category", threshold_scope="category", repeat=0, status="done", params={}, n_train=1, n_val=1, n_test=1,
    started="2026-01-01T00:00:00+00:00", seconds=1.0,
)  # fmt: skip


class Machines:
    """Machines with caches of their own before a folder that stands in for a bucket."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self.url = f"file://{folder}/bucket"

    def __getitem__(self, name: str) -> Workspace:
        """A process on that machine, which opens the workspace."""
        self._monkeypatch.setenv("ADLOC_CACHE", str(self._folder / name))
        return Workspace.find(self.url)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(tmp_path, monkeypatch)


def write_record(workspace: Workspace, **changed: object) -> None:
    """Record a run as a driver does."""
    records = Records(workspace.study_path("spread"), lambda run_id: workspace.push_record("spread", run_id))
    record = RECORD.model_copy(update=changed)
    draft = records.draft(record.run_id)
    (draft / "heatmaps").mkdir()
    (draft / "heatmaps" / "0.png").write_bytes(b"picture")
    (draft / "images.csv").write_text("part\n")
    records.write(record)


def test_record_is_everywhere_as_it_was_written(machines: Machines) -> None:
    """The last one counts, on a machine that saw the one before and on one that saw none; both keep the earlier."""
    one, other = machines["one"], machines["other"]
    write_record(one)
    other.pull("spread")
    write_record(one, key="new")
    for workspace in (other, machines["third"]):
        workspace.pull("spread")
        workspace.pull("spread")
        records = Records(workspace.study_path("spread"))
        record = records.get("gear-knn-1")
        assert record is not None
        assert record.key == "new"
        assert (records.path("gear-knn-1") / "heatmaps" / "0.png").read_bytes() == b"picture"
        assert records.count_figures() == 2


def test_what_a_machine_remembers_is_held_to_its_checksum(machines: Machines) -> None:
    """A bit that flips in it costs a look at what is there, and never takes one record or file for another."""
    one, other = machines["one"], machines["other"]
    write_record(one)
    (one.study_path("spread") / "notes.txt").write_text("first")
    one.push("spread")
    with other.lock("spread"):
        pass
    remembered = [*other.root.rglob("*.files.json"), *other.root.rglob("*.records.json"), other.root / "machine.json"]
    assert len(remembered) == 3
    for path in remembered:
        content = path.read_bytes()
        for place in range(0, len(content), 17):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
            again = machines["other"]
            with again.lock("spread"):
                again.pull("spread")
            assert Records(again.study_path("spread")).get("gear-knn-1") is not None
            assert Records(again.study_path("spread")).count_figures() == 1
            assert (again.study_path("spread") / "notes.txt").read_text() == "first"
            again.push("spread")
        path.write_bytes(content)


def test_record_that_was_set_aside_is_nowhere(machines: Machines) -> None:
    """`--fresh` on one machine leaves no old figure on another."""
    one, other = machines["one"], machines["other"]
    write_record(one)
    other.pull("spread")
    Records(one.study_path("spread"), lambda run_id: one.push_record("spread", run_id)).supersede("gear-knn-1")
    other.pull("spread")
    assert Records(other.study_path("spread")).get("gear-knn-1") is None


def test_record_that_was_not_sent_is_sent_by_the_next_driver(machines: Machines) -> None:
    """A driver that died between writing a record and sending it has lost nothing."""
    one = machines["one"]
    draft = Records(one.study_path("spread")).draft("gear-knn-1")
    (draft / "images.csv").write_text("part\n")
    Records(one.study_path("spread")).write(RECORD)
    with one.lock("spread"):
        pass
    other = machines["other"]
    other.pull("spread")
    sent = Records(other.study_path("spread")).get("gear-knn-1")
    assert sent is not None
    assert sent.model_copy(update={"files": {}}) == RECORD


def test_files_of_a_study_follow_whoever_changed_them(machines: Machines) -> None:
    """What one machine writes or deletes the other has; what the other alone has is kept, and sent in its turn."""
    one, other = machines["one"].study_path("spread"), machines["other"].study_path("spread")
    for name in ("report.html", "explain_error.txt"):
        one.mkdir(parents=True, exist_ok=True)
        (one / name).write_text("first")
    machines["one"].push("spread")
    machines["other"].pull("spread")
    assert (other / "report.html").read_text() == "first"
    (other / "trials" / "r1").mkdir(parents=True)
    (other / "trials" / "r1" / "00000.json").write_text("{}")
    (one / "report.html").write_text("second")
    (one / "explain_error.txt").unlink()
    machines["one"].push("spread")
    machines["other"].push("spread")
    machines["one"].pull("spread")
    found = [{p.relative_to(f).as_posix(): p.read_text() for p in f.rglob("*.*") if p.is_file()} for f in (one, other)]
    assert found == [{"report.html": "second", "trials/r1/00000.json": "{}"}] * 2


def test_one_driver_on_all_machines(machines: Machines) -> None:
    """The second is refused and told who holds the study; when the first has ended it may."""
    one, other = machines["one"], machines["other"]
    with one.lock("spread"):
        assert other.is_locked("spread")
        with (
            pytest.raises(UserError, match=r"another process is running this study: .* process \d+"),
            other.lock("spread"),
        ):
            pass
    assert not other.is_locked("spread")
    with other.lock("spread"):
        assert one.is_locked("spread")


def test_dead_driver_is_followed(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a process of its own machine at once, by others when its claim has run out; it cannot come back."""
    one, other = machines["one"], machines["other"]
    dead = one.shared._lease("spread") if one.shared else None
    assert dead is not None
    dead._claim("dead")
    with pytest.raises(UserError), other.lock("spread"):
        pass
    with machines["one"].lock("spread"):  # the next process there
        pass
    dead._claim("dead again")
    monkeypatch.setattr(lease, "LEASE_S", 0.0)
    with other.lock("spread"):
        monkeypatch.setattr(lease, "BEAT_S", 0.001)
        over = threading.Event()
        dead._renew(Version(1, {}), "dead again", over)  # returns, for the study is another's
        with pytest.raises(UserError, match="has taken this study over"):
            one.push("spread")


def test_ledger_is_one_for_all_machines(machines: Machines) -> None:
    """Lines in the order in which they were entered, each once."""
    paths = []
    for name, line in (("one", "a"), ("other", "b"), ("one", "c"), ("third", "a")):
        workspace = machines[name]
        path = workspace.root / "sealed" / "ledger.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with workspace.appending(path), path.open("a") as file:
            if line not in (path.read_text().splitlines() if path.exists() else []):
                file.write(f"{line}\n")
        paths.append(path)
    assert paths[-1].read_text().splitlines() == ["a", "b", "c"]


def test_server_without_exclusive_writes_is_refused(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """For two drivers could not tell who runs the study."""
    workspace = machines["one"]

    def careless(self: Objects, name: str, data: bytes) -> bool:
        self.write(name, data)
        return True

    monkeypatch.setattr(Objects, "create", careless)
    with pytest.raises(UserError, match="If-None-Match"), workspace.lock("spread"):
        pass


def test_store_is_collected_and_verified_behind_the_url(machines: Machines, tmp_path: Path) -> None:
    """Whole results, the oldest first; none while a study runs. Damage is found by the hash in the name."""
    import numpy as np

    from adloc.methods.detector import Result

    workspace, bucket = machines["one"], tmp_path / "bucket"
    assert workspace.shared is not None
    for number, key in enumerate(("a" * 64, "b" * 64)):
        for layer in ("layer2", "layer3"):
            workspace.store().add("features", key, Result({layer: np.full(1000, number, np.float32)}))
    write_record(workspace)
    objects = Objects(machines.url)
    assert verify(objects) == []
    (one, _) = sorted(bucket.glob(f"store/features/bb/{'b' * 64}/*"))
    one.write_bytes(one.read_bytes()[:-1] + b"!")
    assert verify(objects) == [one.relative_to(bucket).as_posix()]
    with machines["other"].lock("spread"), pytest.raises(UserError, match="spread is being run"):
        workspace.shared.collect(0)
    assert {each.key[0] for each in collect(objects, 5000)} == {"a"}
    assert len(list(bucket.glob("store/features/*/*/*"))) == 1
    assert len(list(bucket.glob("files/*/*"))) == 3  # the record's: it names them


def test_dataset_behind_a_url_is_the_same_dataset(
    mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed as from a disk, nothing fetched; read to the byte on any machine; a changed image is fetched again."""
    from adloc.datasets import load_samples
    from adloc.datasets.registry import read_config

    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "driver"))
    objects = Objects(f"file://{tmp_path}/bucket/mvtec")
    for path in mvtec_tree.rglob("*.png"):
        objects.write(path.relative_to(mvtec_tree).as_posix(), path.read_bytes())
    config = read_config({"kind": "mvtec_ad", "root": objects.url, "categories": ["gear"]})
    assert config.model_dump(mode="json")["root"] == objects.url
    samples = load_samples(config)
    here = load_samples(read_config({"kind": "mvtec_ad", "root": str(mvtec_tree), "categories": ["gear"]}))
    assert [sample.identity for sample in samples] == [sample.identity for sample in here]
    path, original = samples[0].source.image_path, here[0].source.image_path  # type: ignore[attr-defined]
    assert path.stat().st_mode & 0o777 == 0  # a placeholder, which no program may take for an image
    assert path.stat().st_size == original.stat().st_size
    assert samples[0].source.fingerprint() == here[0].source.fingerprint()
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "worker"))
    monkeypatch.setattr(fetched, "_listed", {})
    assert read_bytes(path) == original.read_bytes()
    assert len([p for p in (tmp_path / "worker").rglob("*") if p.is_file()]) == 1
    objects.write("gear/train/good/000.png", b"another")
    assert read_bytes(path) == b"another"
    objects.remove("gear/train/good/000.png")
    with pytest.raises(DatasetError, match="no such file"):
        read_bytes(path)


@pytest.mark.slow
def test_study_survives_a_bad_network(mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timeouts, 500s, lost answers, halves of uploads and old listings: the records of an undisturbed run on a disk.

    Another machine, with nothing but the URL, shows the same results and computes nothing.
    """
    study_file = tmp_path / "spread.yaml"
    study_file.write_text(STUDY.format(root=mvtec_tree))
    adloc("study", "run", study_file, "--workspace", tmp_path / "local")
    monkeypatch.setattr(objects_module, "TIMEOUTS", {"connect_timeout": 5, "read_timeout": 1})
    with object_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.faults = Faults(0.04, seed=3, late_s=1.5)
        url = f"s3://{BUCKET}/ws"
        monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "one"))
        adloc("study", "run", study_file, "--workspace", url)
        assert set(server.faults.done) == {"500", "reset", "cut", "late", "stale"}
        server.faults = Faults()
        monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "other"))
        rows = json.loads(adloc("study", "results", study_file, "--workspace", url, "--json").stdout)
        again = adloc("study", "run", study_file, "--workspace", url, "--json")
        copies = [Shared(url).root, *(tmp_path / "one").iterdir()]
    local = json.loads(adloc("study", "results", study_file, "--workspace", tmp_path / "local", "--json").stdout)
    assert [row["image_auroc"] for row in rows] == [row["image_auroc"] for row in local]
    assert json.loads(again.stdout)["outcome"]["n_stages"] == 0
    assert all(recorded(copy) == recorded(tmp_path / "local") for copy in copies)
    assert len(recorded(copies[0])) == N_RUNS


def test_workspace_of_the_environment_may_be_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$ADLOC_WORKSPACE may be a URL; `--shared` is for those alone."""
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ADLOC_WORKSPACE", f"file://{tmp_path}/bucket")
    assert "0 damaged" in adloc("store", "verify", "--shared").output
    assert "--shared needs --max-gb" in adloc("store", "gc", "--shared", expect=2).output
    assert "is a folder" in adloc("store", "verify", "--shared", "--workspace", tmp_path / "disk", expect=2).output
