"""The store keeps results whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.methods.detector import Result
from adloc.store import Store

if TYPE_CHECKING:
    from pathlib import Path

KEY = "0123456789abcdef0123456789abcdef"


def make_result() -> Result:
    """A result with arrays of several types and shapes."""
    arrays = {
        "scores": np.linspace(0, 1, 7, dtype=np.float32),
        "order": np.arange(12, dtype=np.int64).reshape(3, 4)[:, ::-1],
        "mask": np.array([[True, False], [False, True]]),
        "empty": np.zeros((0, 5), np.float32),
    }
    return Result(arrays, {"n": 3, "name": "x", "ratio": 0.5}, 1.25)


def test_result_comes_back_as_it_was(tmp_path: Path) -> None:
    """Arrays, facts and seconds survive the disk bit by bit, in a process that did not write them."""
    Store(tmp_path).put("kind", KEY, make_result())
    back = Store(tmp_path).get("kind", KEY)
    assert back is not None
    assert back.facts == {"n": 3, "name": "x", "ratio": 0.5}
    assert back.seconds == 1.25
    for name, array in make_result().arrays.items():
        assert back.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays[name], array)


def test_arrays_are_mapped_and_read_only(tmp_path: Path) -> None:
    """Reading copies nothing, and nobody can change what is kept."""
    Store(tmp_path).put("kind", KEY, make_result())
    back = Store(tmp_path).get("kind", KEY)
    assert back is not None
    assert isinstance(back.arrays["scores"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        back.arrays["scores"][0] = 1


def test_absent_is_none(tmp_path: Path) -> None:
    """A key that was never put gives None."""
    assert Store(tmp_path).get("kind", KEY) is None


@pytest.mark.parametrize("where", ["header", "data", "end", "all"])
def test_damaged_file_is_set_aside(tmp_path: Path, where: str) -> None:
    """Whatever part of a file is damaged, it is kept for inspection and the result counts as absent."""
    store = Store(tmp_path)
    store.put("kind", KEY, make_result())
    path = store.path("kind", KEY)
    content = bytearray(path.read_bytes())
    if where == "header":
        content[20] ^= 0xFF
    elif where == "data":
        content[-1] ^= 0x01
    elif where == "end":
        del content[-5:]
    else:
        content.clear()
    path.write_bytes(content)
    assert Store(tmp_path).get("kind", KEY) is None
    assert not path.exists()
    assert len(list((tmp_path / "damaged").iterdir())) == 1


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that breaks off leaves neither the result nor a leftover."""
    store = Store(tmp_path)

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        store.put("kind", KEY, make_result())
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    """Over the cap, what was read longest ago is deleted, and no more than needed."""
    store = Store(tmp_path)
    keys = [f"{i:032x}" for i in range(4)]
    for age, key in enumerate(keys):
        store.put("kind", key, make_result())
        os.utime(store.path("kind", key), (1000 + age, 1000 + age))
    assert store.get("kind", keys[0]) is not None  # now the latest used
    size = next(store.entries()).n_bytes
    gone = store.collect(2.5 * size)
    assert {entry.key for entry in gone} == {keys[1], keys[2]}
    assert store.get("kind", keys[0])
    assert store.get("kind", keys[3])


def test_verify_finds_damage_behind_the_memory_of_a_process(tmp_path: Path) -> None:
    """`verify` reads everything, also what this process has checked before."""
    store = Store(tmp_path)
    store.put("kind", KEY, make_result())
    path = store.path("kind", KEY)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x01
    path.write_bytes(content)
    assert store.verify() == [path]
    assert store.verify() == []
