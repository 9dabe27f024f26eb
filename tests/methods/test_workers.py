"""Work spread over threads comes back in order, and leaves nothing behind."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import torch

from adloc.methods.backbone import resolve_weights
from adloc.methods.network import load_backbone
from adloc.methods.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(n_workers: int) -> None:
    """Whoever is done first."""

    def square(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number * number

    assert list(spread(square, range(50), n_workers)) == [number * number for number in range(50)]


def test_items_are_taken_as_results_are_asked_for() -> None:
    """No more than three items a worker are held, so that what is read ahead fits into memory."""
    taken: list[int] = []

    def count() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = spread(abs, count(), 2)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(taken) == 10 + 5


def test_an_exception_is_raised_in_its_turn() -> None:
    """The items before it are done and handed out; of those behind it only what was begun is done."""
    done: list[int] = []

    def work(number: int) -> int:
        if number == 7:
            raise ValueError(number)
        time.sleep(0.001)
        done.append(number)
        return number

    results = spread(work, range(1000), 2)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="7"):
        next(results)
    assert set(done) >= set(range(7))
    assert len(done) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("spread")]


def test_torchs_threads_are_as_they_were() -> None:
    """In a worker torch has the threads asked for; outside, and for threads begun later, nothing changes."""
    before = torch.get_num_threads()
    for n_threads in (1, 2):
        assert set(spread(lambda _: torch.get_num_threads(), range(9), 3, n_threads)) == {n_threads}
        assert torch.get_num_threads() == before
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))  # noqa: B023
        thread.start()
        thread.join()
        assert later == [before]


def test_a_network_bears_several_passes_at_a_time() -> None:
    """Each pass gets the features of its own images, with the same bits for any number of workers."""
    file = resolve_weights("resnet18", "random", seed=0, download=False)
    network = load_backbone("resnet18", file, ("layer1", "layer3"), 0, torch.device("cpu"))
    images = torch.rand(24, 3, 64, 96, generator=torch.Generator().manual_seed(0)).split(2)
    one, three = list(spread(network, images, 1)), list(spread(network, images, 3))
    assert all(torch.equal(a[layer], b[layer]) for a, b in zip(one, three, strict=True) for layer in network.layers)
    assert not torch.equal(one[0]["layer3"], one[1]["layer3"])
