"""Files that are trusted are held to: a bit that flips is found, and an old file without a checksum is read."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adloc.computing.store import Store
from adloc.cost.account import Account
from adloc.datasets.checked import DamagedError, crc32_of, from_checked, to_checked
from adloc.datasets.fingerprint import FingerprintCache
from adloc.datasets.sample import Fingerprint
from adloc.methods.detector import Result
from adloc.record import records as records_module
from adloc.record.heatmaps import png_bytes
from adloc.record.panels import lay_out
from adloc.record.records import Records, RunRecord
from adloc.record.verified import Verified, state_of
from adloc.report.strips import Strip, Strips
from adloc.tracking.index import TrackingIndex
from adloc.tuning.trial_records import TrialRecord, TrialRecords
from handmade import finding, images, record, setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TICK_S = 0.05  # more than the file system's clock takes from one time to the next
VALUE: dict[str, Any] = {"name": "Löt\u2028stelle", "n": 12, "share": 0.1, "inside": {"a": [1, None, True]}}


def flips(content: bytes) -> Iterator[bytes]:
    """The content with each of its bits flipped in turn."""
    for place in range(len(content)):
        for bit in range(8):
            yield content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.mark.parametrize("indent", [None, 1])
def test_every_flipped_bit_is_found(indent: int | None) -> None:
    """In the values, the keys, the blanks between them, and in the checksum itself."""
    content = to_checked(VALUE, indent=indent).encode()
    assert json.loads(from_checked(content)) == VALUE
    for flipped in flips(content):
        with pytest.raises(DamagedError):
            from_checked(flipped)


@pytest.mark.parametrize("length", range(len(to_checked({"n": 1}))))
def test_part_of_a_file_is_no_file(length: int) -> None:
    """However little is missing."""
    with pytest.raises(ValueError):  # noqa: PT011  # of this module, or of JSON where the head is gone
        json.loads(from_checked(to_checked({"n": 1}).encode()[:length]))


@pytest.mark.parametrize("content", [b'{"n": 1}', b"{}", b"", b'{"format": 2, "entries": {}}', b'{\n "study": "x"}'])
def test_file_from_before_there_were_checksums_is_read(content: bytes) -> None:
    """As it is."""
    assert from_checked(content) == content


class Source:
    """An image that has not changed."""

    location = "brick/001.png"

    def stamp(self) -> str:
        """Always one."""
        return "1 2 3"


def write_fingerprints(root: Path) -> Path:
    """A cache of one image."""
    cache = FingerprintCache(root / "fingerprints.json")
    cache.put(Source(), Fingerprint("ab" * 32, "cd" * 32, 64, 64), "1 2 3")  # type: ignore[arg-type]
    cache.save()
    return cache.path


def read_fingerprints(root: Path) -> object:
    """What it knows of the image."""
    return FingerprintCache(root / "fingerprints.json").get(Source())  # type: ignore[arg-type]


def trial() -> TrialRecord:
    """A trial."""
    who = {"study": "s", "search": "x", "method": "padim", "revision": 1, "number": 0, "repeat": 0, "category": None}
    found = {"state": "complete", "params": {"a": 0.25}, "hyperparameters": {"a": 0.25}, "figures": {"val_pro": 0.5}}
    return TrialRecord.model_validate(who | found | {"started": "2026-01-01T00:00:00+00:00", "seconds": 1.0})


def write_search(root: Path) -> Path:
    """What is searched."""
    records = TrialRecords(root, "x", {"space": {"a": [0, 1]}})
    records.begin({"space": {"a": [0, 1]}})
    records.write(trial())
    return root / "trials" / "x" / "search.json"


def write_trial(root: Path) -> Path:
    """What a trial found."""
    write_search(root)
    return root / "trials" / "x" / "r1" / "00000.json"


def read_search(root: Path) -> object:
    """What is known of the search and its trials; nothing where either is damaged."""
    records = TrialRecords(root, "x", {"space": {"a": [0, 1]}})
    return (records.fingerprint(), records.all()) if records.fingerprint() and records.all() else None


def write_index(root: Path) -> Path:
    """An index of one run."""
    index = TrackingIndex(root / "mlflow.json")
    index.location, index.parent, index.runs = "here", "p", {"run": {"mlflow_run_id": "m", "key": "k"}}
    index.save()
    return root / "mlflow.json"


def read_index(root: Path) -> object:
    """What it knows."""
    return TrackingIndex(root / "mlflow.json").runs or None


def write_account(root: Path) -> Path:
    """What a study took."""
    Account("here", 1.0, 2.0, (), 3.0, 4.0, 5.0, 6.0, {"fit": (1.0, 2.0)}).write(root)
    (path,) = root.glob("*.json")
    return path


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "fingerprints": (write_fingerprints, read_fingerprints),
    "search": (write_search, read_search),
    "trial": (write_trial, read_search),
    "index": (write_index, read_index),
    "account": (write_account, Account.read),
}


@pytest.mark.parametrize(("write", "read"), KINDS.values(), ids=KINDS)
def test_damaged_file_is_as_good_as_none(
    tmp_path: Path, write: Callable[[Path], Path], read: Callable[[Path], object]
) -> None:
    """Nothing of it is believed, and nothing is raised; without its checksum it is read as before."""
    path = write(tmp_path)
    content, found = path.read_bytes(), read(tmp_path)
    assert found is not None
    for flipped in [*flips(content)][:: max(1, len(content) // 60)]:
        path.write_bytes(flipped)
        assert read(tmp_path) is None
    for damaged in (content[: len(content) // 2], bytes(len(content)), b""):
        path.write_bytes(damaged)
        assert read(tmp_path) is None
    path.write_bytes(from_checked(content))
    assert read(tmp_path) == found


def written(root: Path) -> tuple[Records, RunRecord]:
    """A record with two files beside it."""
    records = Records(root)
    draft = records.draft("run")
    (draft / "images.csv").write_text("part,score\n")
    (draft / "heatmaps").mkdir()
    (draft / "heatmaps" / "001.png").write_bytes(bytes(range(200)))
    records.write(record(run_id="run"))
    found = records.get("run")
    assert found is not None
    return records, found


def test_every_file_of_a_record_is_held_to(tmp_path: Path) -> None:
    """The record itself, and by its checksums the others; one from before it had any is taken as it is."""
    records, found = written(tmp_path)
    time.sleep(TICK_S)
    assert set(found.files) == {"images.csv", "heatmaps/001.png"}
    for path in (records.path("run") / name for name in found.files):
        content = path.read_bytes()
        for flipped in flips(content[:20]):
            path.write_bytes(flipped + content[20:])
            assert not records.is_whole(found)
        path.unlink()
        assert not records.is_whole(found)
        path.write_bytes(content)
        assert records.is_whole(found)
    assert records.is_whole(found.model_copy(update={"files": {}}))
    path = records.path("run") / "record.json"
    content = path.read_bytes()
    for flipped in [*flips(content)][::50]:
        path.write_bytes(flipped)
        assert Records(tmp_path).get("run") is None
    path.write_bytes(from_checked(content))
    assert Records(tmp_path).get("run") == found


def crc_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read for their checksum, as they are."""
    names: list[str] = []
    checksum = records_module._crc32

    def read(path: Path) -> str:
        names.append(path.name)
        return checksum(path)

    monkeypatch.setattr(records_module, "_crc32", read)
    return names


def test_a_picture_is_read_again_only_where_it_was_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What figures are made of is read by every process; a picture once, and again when its file has another time."""
    _, found = written(tmp_path)
    path = tmp_path / "records" / "run" / "heatmaps" / "001.png"
    read = crc_reads(monkeypatch)

    def names() -> list[str]:
        read.clear()
        assert Records(tmp_path).is_whole(found)
        return sorted(read)

    assert names() == ["images.csv"]
    time.sleep(TICK_S)
    os.utime(path, ns=(0, 0))
    assert names() == ["001.png", "images.csv"]
    assert names() == ["images.csv"]
    (tmp_path / ".verified").unlink()
    assert names() == ["001.png", "images.csv"]
    assert names() == ["images.csv"]
    content = (tmp_path / ".verified").read_bytes()
    for flipped in flips(content):
        (tmp_path / ".verified").write_bytes(flipped)
        assert names() == ["001.png", "images.csv"]
    copy = tmp_path.with_name("copy")
    shutil.copytree(tmp_path, copy)
    read.clear()
    assert Records(copy).is_whole(found)
    assert sorted(read) == ["001.png", "images.csv"]


def test_a_picture_that_was_changed_behind_its_times_is_found(tmp_path: Path) -> None:
    """By the time of the change, which no program sets back; and by who reads it in full, whatever that says."""
    records, found = written(tmp_path)
    path = records.path("run") / "heatmaps" / "001.png"
    before = path.stat()
    time.sleep(TICK_S)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not records.is_whole(found)
    assert not Records(tmp_path).is_whole(found)
    checksums = {"heatmaps/001.png": found.files["heatmaps/001.png"]}
    Verified(tmp_path / ".verified").add("run", state_of(records.path("run"), checksums))
    assert Records(tmp_path).is_whole(found), "as if the disk had turned a bit by itself: no time tells"
    assert Records(tmp_path).damaged_files(found) == ["heatmaps/001.png"]


def test_a_picture_is_held_to_its_checksum_when_it_is_shown(tmp_path: Path) -> None:
    """Whatever its times say: a report with a damaged picture is told which, and how to have it again."""
    path = tmp_path / "00-common-001.png"
    content = png_bytes(lay_out([(name, np.zeros((60, 60, 3), np.uint8)) for name in "abcd"]))
    shown = finding(setting("k"), images([0.1, 0.9], [0, 1]), files={f"heatmaps/{path.name}": crc32_of(content)})
    strip, whole = Strip(shown, "brick/1.png", path), Strips()
    path.write_bytes(content)
    panels = whole.panels(strip)
    assert panels is not None
    assert (panels.picture.height, whole.damaged) == (60, ())
    for flipped in [*flips(content)][:: len(content) // 5]:
        path.write_bytes(flipped)
        damaged = Strips()
        assert damaged.panels(strip) is None
        assert str(path) in damaged.damaged[0]


def test_facts_in_the_store_are_held_to(tmp_path: Path) -> None:
    """As the arrays are: a radius of 1.5 that becomes 1.7 is found, and the stage computed again."""
    store = Store(tmp_path)
    store.put("fit", "ab" * 32, Result({"bank": np.arange(6.0)}, {"radius": 1.5}, 2.0))
    path = store.path("fit", "ab" * 32)
    content = path.read_bytes()
    assert content.count(b"1.5") == 1
    path.write_bytes(content.replace(b"1.5", b"1.7"))
    assert Store(tmp_path).get("fit", "ab" * 32, lambda _: True) is None
    assert list(tmp_path.glob("damaged/*"))
