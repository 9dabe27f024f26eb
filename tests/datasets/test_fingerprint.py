"""The identity of content, and a cache that must never hide a change."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.fingerprint import FingerprintCache, fingerprints
from adloc.datasets.readers.mvtec_layout import list_category
from adloc.datasets.sample import Fingerprint, Picture, Sample
from adloc.datasets.textures import TextureImage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[FileImage]:
    """Count what is really decoded and hashed."""
    seen: list[FileImage] = []
    original = FileImage.fingerprint

    def count(self: FileImage) -> Fingerprint:
        seen.append(self)
        return original(self)

    monkeypatch.setattr(FileImage, "fingerprint", count)
    return seen


@dataclass(frozen=True)
class Generated:
    """A package's own source without a file: grey of some level, whose generator counts its versions."""

    name: str
    level: int = 127
    version: int | None = 1

    @property
    def location(self) -> str:
        """Its name."""
        return self.name

    def stamp(self) -> str | None:
        """All that its pixels follow from; without a version, nothing that can be trusted."""
        return None if self.version is None else repr(self)

    def read(self) -> Picture:
        """Return a grey image."""
        return Picture(np.full((8, 8, 3), self.level, np.uint8), np.zeros((8, 8), np.bool_))

    def fingerprint(self) -> Fingerprint:
        """Return the hash of its pixels."""
        return Fingerprint(hashlib.sha256(self.read().image.tobytes()).hexdigest(), "", 8, 8)


def test_hashes_are_those_of_the_files(mvtec_tree: Path) -> None:
    """SHA-256 of the bytes of image and mask, with height and width the right way round."""
    samples = list_category(mvtec_tree / "strip").samples
    known = fingerprints(samples)
    assert list(known) == [sample.identity for sample in samples]
    for sample in (samples[0], samples[-1]):
        fingerprint = known[sample.identity]
        assert fingerprint.sha256 == hashlib.sha256(sample.source.image_path.read_bytes()).hexdigest()
        mask = sample.source.mask_path
        expected = hashlib.sha256(mask.read_bytes()).hexdigest() if mask else ""
        assert fingerprint.mask_sha256 == expected
        assert (fingerprint.height, fingerprint.width) == (40, 90)


def test_a_second_call_opens_no_file(mvtec_copy: Path, hashed: list[FileImage], tmp_path: Path) -> None:
    """What is in the cache file is not hashed again, by another process either."""
    samples = list_category(mvtec_copy / "gear").samples
    first = fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))
    assert len(hashed) == len(samples)
    second = fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))
    assert len(hashed) == len(samples)
    assert second == first


@pytest.mark.parametrize("name", ["test/hole/002.png", "ground_truth/hole/002_mask.png"])
def test_a_changed_file_is_hashed_again(mvtec_copy: Path, hashed: list[FileImage], tmp_path: Path, name: str) -> None:
    """Another time of change is enough, of the image or of its mask; the other files are left alone."""
    samples = list_category(mvtec_copy / "gear").samples
    first = fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))
    hashed.clear()
    size = (mvtec_copy / "gear" / name).stat().st_size
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(mvtec_copy / "gear" / name)
    assert (mvtec_copy / "gear" / name).stat().st_size != size
    second = fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))
    assert [source.image_path.name for source in hashed] == ["002.png"]
    assert [key for key in first if first[key] != second[key]] == ["gear/test/hole/002.png"]


def test_a_file_changed_just_now_is_not_remembered(mvtec_copy: Path, hashed: list[FileImage], tmp_path: Path) -> None:
    """It may change again within one tick of the file system's clock, so it is hashed the next time too."""
    samples = list_category(mvtec_copy / "gear").samples
    os.utime(mvtec_copy / "gear/train/good/003.png")
    for _ in range(2):
        fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))
    assert [source.image_path.name for source in hashed[len(samples) :]] == ["003.png"]


def test_a_file_that_is_gone_is_not_taken_from_the_cache(mvtec_copy: Path, tmp_path: Path) -> None:
    """A cached fingerprint does not stand in for a file that was deleted."""
    samples = list_category(mvtec_copy / "gear").samples
    fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))
    (mvtec_copy / "gear/train/good/003.png").unlink()
    with pytest.raises(DatasetError, match=r"003\.png: no such file"):
        fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))


def test_all_damaged_files_are_named_and_the_others_kept(
    mvtec_copy: Path, hashed: list[FileImage], tmp_path: Path
) -> None:
    """Three damaged files are one error that names three; the sound ones need not be hashed again."""
    names = ["train/good/001.png", "test/hole/004.png", "ground_truth/glare/000_mask.png"]
    samples = list_category(mvtec_copy / "gear").samples
    whole = {name: (mvtec_copy / "gear" / name).read_bytes() for name in names}
    for name in names:
        (mvtec_copy / "gear" / name).write_bytes(whole[name][: len(whole[name]) // 2])
    with pytest.raises(DatasetError) as caught:
        fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))
    assert len(caught.value.problems) == 3
    assert all(f"gear/{name}: does not decode" in str(caught.value) for name in names)
    hashed.clear()
    for name in names:
        (mvtec_copy / "gear" / name).write_bytes(whole[name])
    fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))
    assert len(hashed) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 0}', '{"format": 1, "entries": {"a": [1]}}'])
def test_a_damaged_cache_is_written_anew(
    mvtec_copy: Path, hashed: list[FileImage], tmp_path: Path, content: str
) -> None:
    """A torn or foreign cache file is as good as none, and whole again afterwards."""
    path = tmp_path / "cache.json"
    path.write_text(content)
    samples = list_category(mvtec_copy / "gear").samples
    fingerprints(samples, FingerprintCache(path))
    hashed.clear()
    fingerprints(samples, FingerprintCache(path))
    assert hashed == []


def test_two_caches_of_one_file_keep_each_others_entries(mvtec_copy: Path, tmp_path: Path) -> None:
    """Saving adds to what another process has saved in the meantime, and leaves no other file behind."""
    path = tmp_path / "cache" / "cache.json"
    one, other = FingerprintCache(path), FingerprintCache(path)
    fingerprints(list_category(mvtec_copy / "gear").samples, one)
    fingerprints(list_category(mvtec_copy / "strip").samples, other)
    assert len(json.loads(path.read_text())["entries"]) == 52
    assert list(path.parent.iterdir()) == [path]


def test_sources_of_packages_are_cached_by_their_stamps(tmp_path: Path) -> None:
    """A source that is no file is known by its stamp, in another process too; another parameter is another image."""
    samples = [Sample("gear", f"{i}", "train", "good", Generated(f"gear {i}", i)) for i in range(3)]
    cache = FingerprintCache(tmp_path / "cache.json")
    first = fingerprints(samples, cache)
    again = FingerprintCache(tmp_path / "cache.json")
    assert [again.get(sample.source) for sample in samples] == list(first.values())
    assert again.get(replace(samples[0].source, name="other")) is None


def test_changed_content_of_a_package_s_source_is_noticed(tmp_path: Path) -> None:
    """Another level, or another version of the code that draws it, is hashed again under the same name."""
    for source, level in ((Generated("gear"), 127), (Generated("gear", 9), 9), (Generated("gear", 9, version=2), 9)):
        cache = FingerprintCache(tmp_path / "cache.json")
        assert cache.get(source) is None
        (found,) = fingerprints([Sample("gear", "0", "train", "good", source)], cache).values()
        assert found.sha256 == hashlib.sha256(bytes([level] * 8 * 8 * 3)).hexdigest()


def test_a_source_that_cannot_tell_its_state_is_hashed_every_time(tmp_path: Path) -> None:
    """Without a stamp nothing is remembered: rather too much work than a change that goes unseen."""
    source = Generated("gear", version=None)
    fingerprints([Sample("gear", "0", "train", "good", source)], FingerprintCache(tmp_path / "cache.json"))
    assert FingerprintCache(tmp_path / "cache.json").get(source) is None


def test_a_cache_of_earlier_versions_holds(mvtec_copy: Path, tmp_path: Path) -> None:
    """Files stood there under their absolute paths, what is generated under its repr with an empty stamp."""
    path = mvtec_copy / "gear/train/good/003.png"
    state, texture = path.stat(), TextureImage("brick", "train/good/000.png", 42, 64)
    stamp = f"{path}|{state.st_size}|{state.st_mtime_ns}"
    entries = {str(path): [stamp, "a", "", 64, 64, "", ""], repr(texture): ["", "b", "", 64, 64, "", ""]}
    (tmp_path / "cache.json").write_text(json.dumps({"format": 2, "entries": entries}))
    cache = FingerprintCache(tmp_path / "cache.json")
    assert cache.get(FileImage(path)) == Fingerprint("a", "", 64, 64)
    assert cache.get(texture) == Fingerprint("b", "", 64, 64)


def test_progress_counts_every_hashed_image(mvtec_copy: Path) -> None:
    """Progress goes from one to all in steps of one."""
    samples, steps = list_category(mvtec_copy / "gear").samples, []
    fingerprints(samples, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(i + 1, len(samples)) for i in range(len(samples))]


def test_an_interrupt_keeps_what_was_hashed(mvtec_copy: Path, hashed: list[FileImage], tmp_path: Path) -> None:
    """Interrupted after ten images, the next call starts from those ten."""
    samples = list_category(mvtec_copy / "gear").samples

    def interrupt(done: int, _total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fingerprints(samples, FingerprintCache(tmp_path / "cache.json"), interrupt)
    hashed.clear()
    fingerprints(samples, FingerprintCache(tmp_path / "cache.json"))
    assert len(hashed) == len(samples) - 10
