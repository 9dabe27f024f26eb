"""The store keeps results whole or not at all."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adloc.computing import store as store_module
from adloc.computing.store import Store
from adloc.methods.detector import Result

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


def test_arrays_are_added_to_those_of_another_writer(tmp_path: Path) -> None:
    """A writer that has not seen the other's arrays keeps them; an array of the same name is replaced."""
    one, other = Store(tmp_path), Store(tmp_path)
    one.add("kind", KEY, Result({"a": np.zeros(3), "b": np.zeros(3)}, {}, 2.0))
    other.add("kind", KEY, Result({"b": np.ones(3), "c": np.ones(3)}, {}, 1.0))
    back = one.get("kind", KEY)
    assert back is not None
    assert {name: array.tolist() for name, array in back.arrays.items()} == {
        "a": [0, 0, 0], "b": [1, 1, 1], "c": [1, 1, 1],
    }  # fmt: skip
    assert back.seconds == 2.0


def test_arrays_added_at_once_are_all_kept(tmp_path: Path) -> None:
    """Eight writers under one key, none of which waits for another to end."""
    start = threading.Barrier(8)

    def add(number: int) -> None:
        start.wait()
        Store(tmp_path).add("kind", KEY, Result({f"array {number}": np.full(5, number)}))

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add, range(8)))
        back = Store(tmp_path).get("kind", KEY)
        assert back is not None
        assert {name: int(array[0]) for name, array in back.arrays.items()} == {f"array {i}": i for i in range(8)}
        Store(tmp_path).remove("kind", KEY)


def test_reader_maps_the_file_that_it_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger result put in its place while it is read leaves the reader with the whole of the old one."""
    Store(tmp_path).put("kind", KEY, Result({"a": np.arange(5), "b": np.arange(5) + 10}, {"n": 1}))
    whole, calls = store_module._map, []

    def interrupted(*arguments: Any) -> np.ndarray:
        if not calls:
            calls.append(arguments)
            Store(tmp_path).put("kind", KEY, Result({n: np.full(500, -1) for n in "abc"}, {"n": 2}))
        return whole(*arguments)

    monkeypatch.setattr(store_module, "_map", interrupted)
    back = Store(tmp_path).get("kind", KEY)
    assert back is not None
    assert back.facts == {"n": 1}
    assert {name: array.tolist() for name, array in back.arrays.items()} == {
        "a": [0, 1, 2, 3, 4], "b": [10, 11, 12, 13, 14],
    }  # fmt: skip
    assert not (tmp_path / "damaged").exists()
    now = Store(tmp_path).get("kind", KEY)
    assert now is not None
    assert now.facts == {"n": 2}


def test_result_collected_while_it_is_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process deletes between the reading and the note that it was used is still given."""
    store = Store(tmp_path)
    store.put("kind", KEY, make_result())
    whole = os.utime

    def collected(path: Path, *rest: Any) -> None:
        path.unlink()
        whole(path, *rest)

    monkeypatch.setattr(os, "utime", collected)
    back = store.get("kind", KEY)
    assert back is not None
    np.testing.assert_array_equal(back.arrays["order"], make_result().arrays["order"])
    assert store.get("kind", KEY) is None


def test_two_may_collect_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results and leftovers that another process deletes first are passed over, and nothing else is."""
    store = Store(tmp_path)
    keys = [f"{i:032x}" for i in range(4)]
    for key in keys:
        store.put("kind", key, make_result())
    entries = store.entries()
    first = next(entries)
    store.remove("kind", keys[2])
    assert [first.key, *(entry.key for entry in entries)] == [keys[0], keys[1], keys[3]]

    whole = Path.stat
    doomed = {store.path("kind", keys[1]), first.path.with_name(".left.tmp")}
    for path in doomed:
        path.touch()

    def collected(path: Path, **how: Any) -> os.stat_result:
        if path in doomed:
            doomed.remove(path)
            path.unlink()
        return whole(path, **how)

    monkeypatch.setattr(Path, "stat", collected)
    assert {entry.key for entry in store.collect(0)} == {keys[0], keys[3]}
    assert doomed == set()
    assert store.verify() == []
