"""Stage results behind a URL: several machines, one store; nothing is lost, whatever order they write in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.datasets.objects import Objects
from adloc.methods.detector import Result
from adloc.remote import results
from adloc.remote.results import SharedStore

if TYPE_CHECKING:
    from pathlib import Path

KEY, OTHER = "ab" * 32, "cd" * 32


class Machines:
    """Machines with copies of their own, and a folder in the place of a bucket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bucket = folder / "bucket"

    def __getitem__(self, name: str) -> SharedStore:
        """A process on that machine."""
        return SharedStore(self.folder / name / "store", Objects(f"file://{self.bucket}"))


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """None has anything; listings are always asked for anew."""
    monkeypatch.setattr(results, "FRESH_S", 0.0)
    return Machines(tmp_path)


def layer(value: float) -> np.ndarray:
    return np.full((2, 3), value, np.float32)


def test_result_of_one_machine_is_another_ones(machines: Machines) -> None:
    """To the bit, with facts and seconds, and kept there: the second time nothing is fetched."""
    machines["a"].put("kind", KEY, Result({"x": layer(1)}, {"n": 2}, 3.0))
    back = machines["b"].get("kind", KEY)
    assert back is not None
    assert (back.arrays["x"].tolist(), back.facts, back.seconds) == (layer(1).tolist(), {"n": 2}, 3.0)
    (only,) = machines.bucket.glob("store/kind/*/*/*")
    only.unlink()
    assert machines["b"].get("kind", KEY) is not None
    assert machines["c"].get("kind", KEY) is None


def test_layers_of_two_machines_are_joined(machines: Machines) -> None:
    """Each adds what it has computed, neither having seen the other's: both have both, by name without a download."""
    machines["a"].add("features", KEY, Result({"layer2": layer(2)}, {}, 1.0))
    machines["b"].add("features", KEY, Result({"layer3": layer(3)}, {}, 5.0))
    assert machines["c"].has("features", KEY, ["layer2", "layer3"])
    assert not machines["c"].has("features", KEY, ["layer2", "layer4"])
    assert not (machines.folder / "c").exists()
    for name in "abc":
        joined = machines[name].get("features", KEY, lambda kept: len(kept.arrays) == 2)
        assert joined is not None
        assert {layer: float(array[0, 0]) for layer, array in joined.arrays.items()} == {"layer2": 2, "layer3": 3}
        assert joined.seconds == 5.0


def test_furthest_of_several_is_taken(machines: Machines) -> None:
    """A smaller extent that arrives later takes nothing away, and whoever needs more is given it."""
    for name, extent in (("a", 0.5), ("b", 0.1), ("c", 0.3)):
        machines[name].put("coreset", KEY, Result({"x": layer(extent)}, {"extent": extent}))
    for name in "abcd":
        found = machines[name].get("coreset", KEY, lambda kept: float(kept.facts["extent"]) >= 0.4)
        assert found is not None, name
        assert found.facts["extent"] == 0.5


def test_what_is_newly_asked_for_is_taken_from_another_machine(machines: Machines) -> None:
    """A result that an earlier version kept is not enough; one that is, of the same key, comes in its place."""
    machines["a"].put("evaluation", KEY, Result({}, {"measured": "old"}))
    assert machines["b"].get("evaluation", KEY) is not None
    machines["a"].put("evaluation", KEY, Result({}, {"measured": "old new"}))
    found = machines["b"].get("evaluation", KEY, lambda kept: "new" in str(kept.facts["measured"]))
    assert found is not None


def test_damaged_object_is_as_good_as_none(machines: Machines) -> None:
    """Its bytes are not those of its name: it is taken away, and what is computed anew is found by all."""
    machines["a"].put("kind", KEY, Result({"x": layer(1)}))
    (only,) = machines.bucket.glob("store/kind/*/*/*")
    content = bytearray(only.read_bytes())
    content[-1] ^= 0xFF
    only.write_bytes(content)
    assert machines["b"].get("kind", KEY) is None
    assert not only.exists()
    machines["b"].put("kind", KEY, Result({"x": layer(1)}))
    assert machines["c"].get("kind", KEY) is not None


def test_forgotten_result_is_not_taken_from_an_old_copy(machines: Machines) -> None:
    """What was removed by one machine, for `--fresh`, is computed again by another that still has a copy."""
    machines["a"].put("kind", KEY, Result({"x": layer(1)}))
    worker = machines["b"]
    assert worker.get("kind", KEY) is not None
    worker.recall("kind", [KEY])
    assert worker.get("kind", KEY) is not None  # it is behind the URL: the copy is good
    machines["a"].remove("kind", KEY)
    assert machines["c"].get("kind", KEY) is None
    worker.recall("kind", [KEY])
    assert worker.get("kind", KEY) is None


def test_copies_of_what_is_computed_afresh_are_let_go_of(machines: Machines) -> None:
    """Also of what was computed again already; the machine that did keeps what is new, and so does who was there."""
    for name in "ab":
        for key in (KEY, OTHER):
            machines[name].put("kind", key, Result({"x": layer(1)}))
    machines["a"].forget([("kind", KEY), ("kind", OTHER)])
    machines["a"].put("kind", KEY, Result({"x": layer(2)}))
    for name in "abc":
        store = machines[name]
        for _ in range(2):
            store.let_go()
            found = store.get("kind", KEY)
            assert found is not None
            assert (name, float(found.arrays["x"][0, 0])) == (name, 2)
            assert store.get("kind", OTHER) is None


def test_two_machines_forget_at_a_time(machines: Machines) -> None:
    """Neither misses what the other has forgotten."""
    one, other = machines["a"], machines["b"]
    for key in (KEY, OTHER):
        one.put("kind", key, Result({"x": layer(1)}))
        assert other.get("kind", key) is not None
    one.forget([("kind", KEY)])
    other.forget([("kind", OTHER)])
    for name in "ab":
        machines[name].let_go()
        assert not machines[name].path("kind", KEY).exists()
        assert not machines[name].path("kind", OTHER).exists()


def test_mark_is_seen_by_those_who_see_the_store(machines: Machines, tmp_path: Path) -> None:
    """As long as the block lasts; a store elsewhere does not see it."""
    with machines["a"].probe() as mark:
        assert machines["b"].sees(mark)
        assert not Machines(tmp_path / "elsewhere")["a"].sees(mark)
    assert not machines["b"].sees(mark)


def test_weights_that_a_machine_lacks_are_the_drivers(machines: Machines, tmp_path: Path) -> None:
    """By their SHA-256, whatever their path; without them the missing file is named."""
    import hashlib

    from adloc.methods.errors import MethodError
    from adloc.planning.sources import Network

    path = tmp_path / "own.safetensors"
    path.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    network = Network("resnet18", str(path), sha256, 0)
    machines["a"].share_weights({sha256: path})
    path.unlink()
    found = machines["b"].weights(network).path
    assert found is not None
    assert found.read_bytes() == b"weights"
    with pytest.raises(MethodError, match=r"own\.safetensors"):
        machines["b"].weights(Network("resnet18", str(path), "0" * 64, 0))
