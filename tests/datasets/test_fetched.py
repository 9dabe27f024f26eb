"""A dataset behind a URL is read as the same files in a folder are, whatever becomes of them there."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adloc.datasets import check, fetched, load_samples
from adloc.datasets.copies import by_url
from adloc.datasets.decoding import read_bytes
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.fetched import local_root
from adloc.datasets.fingerprint import FingerprintCache, fingerprints
from adloc.datasets.objects import Objects, Stat
from adloc.datasets.registry import read_config

if TYPE_CHECKING:
    from adloc.datasets.config import KindConfig
    from adloc.datasets.report import Report


@pytest.fixture
def bucket(mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """A dataset, and a machine that has seen nothing of it."""
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "a cache"))
    monkeypatch.setattr(fetched, "_listed", {})
    objects = Objects(f"file://{tmp_path}/bucket/mvtec")
    for path in mvtec_tree.rglob("*.png"):
        objects.write(path.relative_to(mvtec_tree).as_posix(), path.read_bytes())
    return objects


def config_of(objects: Objects) -> KindConfig:
    return read_config({"kind": "mvtec_ad", "root": objects.url, "categories": ["gear"]})


def folder_of(objects: Objects) -> Path:
    return local_root(Path(objects.url))


def told(report: Report) -> str:
    return "\n".join(f"{p.found} {p.rule} {p.remedy}" for p in (*report.errors, *report.warnings))


@pytest.mark.parametrize("damage", ["cut", "empty", "no mask"])
def test_mistakes_are_told_by_url(bucket: Objects, damage: str) -> None:
    """Nobody mends a copy: the URL is named where the file is, and what to add."""
    defect = next(name for name in bucket.list("gear/test") if "/good/" not in name).split("/")[2]
    name = f"gear/test/{defect}/000.png"
    if damage == "no mask":
        name = f"gear/ground_truth/{defect}/000_mask.png"
        bucket.remove(name)
    else:
        bucket.write(name, (bucket.read(name) or b"")[: 50 if damage == "cut" else 0])
    report = check(config_of(bucket))
    assert f"{bucket.url}/{name}" in told(report)
    assert "a cache" not in told(report)
    assert "%3A" not in told(report)


def test_path_of_another_machines_copy_is_told_by_url() -> None:
    """A worker's message reaches the driver; paths that are no copies stay as they are."""
    there = Problem("/w/.cache/adloc/datasets/s3%3A%2F%2Fb%2Fa%20b/x.png: gone", "see /data/x.png", "50%3A")
    assert (there.found, there.rule, there.remedy) == ("s3://b/a b/x.png: gone", "see /data/x.png", "50%3A")
    assert by_url("/data/my datasets/gear/0.png") == "/data/my datasets/gear/0.png"


def test_images_are_where_every_machine_finds_them(bucket: Objects) -> None:
    """What a study keeps of an image names its URL."""
    assert load_samples(config_of(bucket))[0].source.location.startswith(f"{bucket.url}/gear/")


def test_what_is_gone_leaves_no_folder(bucket: Objects) -> None:
    """A machine that has seen a kind of defect which was removed lists what one that never saw it lists."""
    kinds = {name.split("/")[2] for name in bucket.list("gear/test")} - {"good"}
    gone = kinds.pop()
    assert {sample.defect for sample in load_samples(config_of(bucket))} >= {gone}
    for name in bucket.list("gear"):
        if f"/{gone}/" in name:
            bucket.remove(name)
    assert gone not in {sample.defect for sample in load_samples(config_of(bucket))}
    assert not check(config_of(bucket)).errors


def test_change_within_a_second_is_seen(bucket: Objects, tmp_path: Path) -> None:
    """Of the same size too: by the tag, or by all digits of the time."""
    name, cache = "gear/train/good/000.png", tmp_path / "fingerprints.json"
    place = tmp_path / "bucket" / "mvtec" / name
    data = place.read_bytes()

    def fingerprint() -> str:
        samples = [s for s in load_samples(config_of(bucket)) if s.source.location.endswith(name)]
        (found,) = fingerprints(samples, FingerprintCache(cache)).values()
        return found.sha256

    os.utime(place, ns=(1_700_000_000_250_000_000,) * 2)
    first = fingerprint()
    place.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(place, ns=(1_700_000_000_500_000_000,) * 2)
    assert fingerprint() != first


def test_copy_of_an_earlier_version_counts(bucket: Objects) -> None:
    """It has whole seconds: it is not fetched again."""
    place = folder_of(bucket) / "gear" / "train" / "good" / "000.png"
    data = read_bytes(place)
    time_s = place.stat().st_mtime_ns // 10**9
    os.utime(place, (time_s, time_s))
    inode = place.stat().st_ino
    assert read_bytes(folder_of(bucket) / "gear" / "train" / "good" / "000.png") == data
    assert place.stat().st_ino == inode


@pytest.mark.parametrize("name", ["gear/train/good/" + "x" * 256, "gear/train/good/000.png/beside"])
def test_names_that_no_folder_has_are_refused(bucket: Objects, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object store has longer ones, and an object beside a folder of its name."""
    found = bucket.list() | {name: Stat(1, 1.0, "tag")}
    monkeypatch.setattr(Objects, "list", lambda *_: found)
    with pytest.raises(DatasetError, match="names of at most 255 bytes") as refused:
        folder_of(bucket)
    assert bucket.url in str(refused.value)


def test_full_disk_is_no_server_that_does_not_answer(bucket: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said at once, in the disk's own words."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bucket._fs, "get_file", full)
    with pytest.raises(OSError, match="No space left"):
        bucket.fetch("gear/train/good/000.png", folder_of(bucket) / "x")


def test_table_behind_a_url(bucket: Objects) -> None:
    """Its paths are relative to the folder that holds it, as on a disk."""
    names = list(bucket.list("gear/train"))
    rows = "".join(f"{name},0\n" for name in names)
    bucket.write("images.csv", f"path,label\n{rows}".encode())
    config = read_config({"kind": "table", "file": f"{bucket.url}/images.csv"})
    samples = load_samples(config)
    assert [sample.source.location for sample in samples] == [f"{bucket.url}/{name}" for name in names]
    assert config.model_dump(mode="json")["file"] == f"{bucket.url}/images.csv"
    assert read_bytes(samples[0].source.image_path) == bucket.read(names[0])  # type: ignore[attr-defined]
