"""The bank searched in segments: a ratio's result is the same to the last bit, whatever it was built on."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adloc.methods.detector import Result, StepContext
from adloc.methods.patchcore.detector import PatchCore
from adloc.methods.patchcore.params import PatchCoreParams
from adloc.methods.patchcore.search import MemoryBank
from plans import plan_of_grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor


CPU = torch.device("cpu")


class Held:
    """Features of n images in memory: two layers of positive noise, in which a third of the images come twice."""

    image_size = (48, 80)

    def __init__(self, n_images: int, seed: int) -> None:
        """Draw them."""
        generator = torch.Generator().manual_seed(seed)
        shapes = {"layer2": (n_images, 24, 12, 10), "layer3": (n_images, 40, 6, 5)}
        self.maps = {layer: torch.rand(shape, generator=generator) for layer, shape in shapes.items()}
        for maps in self.maps.values():
            maps[: n_images // 3] = maps[-(n_images // 3) :]
        self.n_images = n_images

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, Tensor]]:
        """Yield consecutive images."""
        for start in range(0, self.n_images, batch_size):
            yield {layer: self.maps[layer][start : start + batch_size] for layer in layers}


TRAIN, TEST = Held(21, seed=1), Held(19, seed=2)


@pytest.fixture(scope="module")
def coreset() -> Result:
    """Half of the 2520 training patches."""
    return PatchCore().coreset(StepContext(PatchCoreParams(coreset_ratio=0.5), TRAIN, {}, 0, CPU))


def search(coreset: Result, ratio: float, k: int = 9, base: Result | None = None, metric: str = "euclidean") -> Result:
    """The search at a ratio, from nothing or from another one."""
    params = PatchCoreParams.model_validate({"coreset_ratio": ratio, "neighbours": k, "metric": metric,
                                             "reweight": "none"})  # fmt: skip
    return PatchCore().search(StepContext(params, TEST, {"coreset": coreset}, 0, CPU, base))


def assert_same_bits(one: Result, other: Result) -> None:
    """Every array, byte by byte, and every fact."""
    assert one.facts == other.facts
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        assert array.tobytes() == other.arrays[name].tobytes(), name


@settings(max_examples=12, deadline=None)
@given(st.sets(st.floats(0.0005, 0.5), min_size=1, max_size=4), st.sampled_from([1, 3, 9, 40]))
def test_any_chain_of_ratios_gives_the_bits_of_a_search_from_nothing(
    coreset: Result, ratios: set[float], k: int
) -> None:
    """Ratios one after the other, each going on from the one before, and the last of them at once."""
    found: Result | None = None
    for ratio in sorted(ratios):
        found = search(coreset, ratio, k, base=found)
    assert found is not None
    assert_same_bits(found, search(coreset, max(ratios), k))


def test_longer_lists_may_be_built_on(coreset: Result) -> None:
    """A base with more neighbours than are asked for gives the same first ones."""
    base = search(coreset, 0.1, k=30)
    assert_same_bits(search(coreset, 0.3, k=5, base=base), search(coreset, 0.3, k=5))


def test_shorter_lists_are_refused(coreset: Result) -> None:
    """Lists of 3 neighbours cannot be made into lists of 9, unless the base has no more than 3 entries."""
    with pytest.raises(ValueError, match="9 neighbours cannot go on from one for 3"):
        search(coreset, 0.3, k=9, base=search(coreset, 0.1, k=3))
    few = search(coreset, 0.0012, k=3)  # 3 entries
    assert_same_bits(search(coreset, 0.3, k=9, base=few), search(coreset, 0.3, k=9))


def test_cosine_is_built_in_the_same_way(coreset: Result) -> None:
    """The other metric, and a base of fewer entries than neighbours are asked for."""
    base = search(coreset, 0.002, metric="cosine")
    assert base.arrays["squared"].shape[-1] == 5
    assert_same_bits(search(coreset, 0.2, base=base, metric="cosine"), search(coreset, 0.2, metric="cosine"))


def test_a_ratio_that_adds_no_entry_costs_no_search(coreset: Result) -> None:
    """Two ratios of the same number of picks have the same result."""
    base = search(coreset, 0.1)
    assert_same_bits(search(coreset, 0.10001, base=base), base)


@pytest.mark.parametrize("dimension", [1, 20, 96, 1536])
@pytest.mark.parametrize("n_queries", [1, 15, 300, pytest.param(5000, marks=pytest.mark.slow)])
def test_faiss_sums_in_one_order_whatever_the_width(dimension: int, n_queries: int) -> None:
    """Merged lists of odd segments have the bits of one list, for few and many queries of few and many values."""
    rng = np.random.default_rng(dimension + n_queries)
    bank: NDArray[np.float32] = rng.random((1400, dimension), dtype=np.float32)
    bank[700:720] = bank[3]
    queries = rng.random((1, n_queries, dimension), dtype=np.float32)
    queries[0, 0] = bank[3]
    whole = MemoryBank(bank, "euclidean", CPU).find(queries, 9)
    for cuts in ([1], [1025], [7, 130, 711], [1399]):
        found = MemoryBank(bank[: cuts[0]], "euclidean", CPU).find(queries, 9)
        for first, stop in pairwise([*cuts, len(bank)]):
            found = found.merged(MemoryBank(bank[first:stop], "euclidean", CPU, first).find(queries, 9), 9)
        np.testing.assert_array_equal(found.squared, whole.squared)
        np.testing.assert_array_equal(found.indices, whole.indices)


def test_each_ratio_builds_on_the_next_smaller_one() -> None:
    """Whatever their order in the file; the smallest builds on nothing."""
    plan = plan_of_grid({"coreset_ratio": [0.2, 0.01, 0.1]})
    searches = [stage for stage in plan.stages.values() if stage.kind == "patchcore.search"]
    ratios = {stage.key: stage.params.coreset_ratio for stage in searches}
    assert {(ratios[key], ratios[base.key]) for key, base in plan.bases.items()} == {(0.2, 0.1), (0.1, 0.01)}
    assert len(plan.bases) == 4  # validation and test part
    for key, base in plan.bases.items():
        assert plan.stages[key].source.key == base.source.key


def test_what_a_stage_builds_on_changes_no_key() -> None:
    """A ratio has the same key alone and among others: results do not depend on what they were built on."""
    alone, among = plan_of_grid({"coreset_ratio": [0.1]}), plan_of_grid({"coreset_ratio": [0.01, 0.05, 0.1, 0.2]})
    assert set(alone.stages) <= set(among.stages)


def test_what_is_built_on_reaches_as_far_as_what_builds_on_it() -> None:
    """A base has as many neighbours as the ratios above it ask for."""
    plan = plan_of_grid({"coreset_ratio": [0.01, 0.1], "neighbours": [3, 9]})
    assert {plan.extents[base.key] for base in plan.bases.values()} == {9.0}
