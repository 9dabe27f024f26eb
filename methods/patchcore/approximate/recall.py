"""How hard an index must look: the least that finds the asked share of the neighbours of a sample of patches.

Notation: P sampled patches, D values an embedding, K neighbours.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adloc.methods.errors import MethodError
from adloc.methods.patchcore.approximate.bank import Effort, IndexedBank, nearest_of
from adloc.methods.patchcore.bank import embed_parts
from adloc.methods.patchcore.search import search_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from adloc.methods.detector import StepContext
    from adloc.methods.patchcore.approximate.config import SearchConfig
    from adloc.methods.patchcore.approximate.index import Index
    from adloc.methods.patchcore.params import MemoryBankParams
    from adloc.methods.patchcore.search import Metric

N_SAMPLED = 1024  # patches; the standard error of a recall of .99 is .003
_SPARES = {"ivf": (1,), "ivfpq": (4, 16, 64)}  # candidates a neighbour, tried from the fewest
_LEAST_IN_VIEW = 16
_BOUNDED_SPARE = 2  # so that what is within float32's rounding of the last neighbour is compared exactly too


@dataclass(frozen=True, slots=True)
class Recall:
    """What an index finds of the sample.

    Attributes:
        first: share of the patches whose nearest entry, or one at its distance, is found.
        every: share of the K nearest that are found.
    """

    first: float
    every: float

    @property
    def least(self) -> float:
        """The smaller of the two."""
        return min(self.first, self.every)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The effort that was chosen.

    Attributes:
        effort: how hard to look.
        recall: measured with it.
        us_per_patch: microseconds by the clock of a search with it, and of one that is exact.
        exact_us_per_patch: the same, of a flat index.
    """

    effort: Effort
    recall: Recall
    us_per_patch: float
    exact_us_per_patch: float


def sample_patches(context: StepContext, params: MemoryBankParams) -> NDArray[np.float32]:
    """Embeddings of patches drawn from every image of a part alike, float32 (P, D)."""
    rng = np.random.default_rng(context.seed)
    n_each = -(-N_SAMPLED // max(1, context.features.n_images))
    found = []
    for embeddings in embed_parts(context, params):
        for image in embeddings:
            patches = image.reshape(-1, image.shape[-1])
            drawn = np.sort(rng.permutation(len(patches))[:n_each])
            found.append(patches[drawn])
    return np.concatenate(found)


def choose_effort(
    index: Index,
    bank: NDArray[np.floating],
    sample: NDArray[np.float32],
    k: int,
    search: SearchConfig,
    metric: Metric,
    device: torch.device,
) -> Chosen:
    """The least effort, among some that grow, that reaches the recall on the sample.

    Patches that are entries themselves, as where a train part is sampled, are left out: they are too easy to find.

    Args:
        index: of the bank.
        bank: (M, D).
        sample: float32 (P, D).
        k: K.
        search: which index, and the recall that is asked for.
        metric: of the method.
        device: of the exact search.

    Raises:
        MethodError: no effort reaches it, or every patch is an entry.
    """
    start = time.perf_counter()
    exact = search_exactly(bank, metric, device).find(sample[None], min(k, len(bank)))
    exact_s = time.perf_counter() - start
    true = nearest_of(sample, exact.indices.astype(np.int64), bank, exact.indices.shape[1]).squared
    outside = true[:, 0] > 0
    sample, true = sample[outside], true[outside]
    if not len(sample):
        raise MethodError(
            "every patch of the sample is an entry of the memory bank",
            "the recall of an index is measured on patches that are not in it",
            "keep a validation part (split.train_fraction), lower coreset_ratio, or use search: {index: flat}",
        )
    best = 0.0
    for effort in _efforts(index, sample, exact.indices[outside], search):
        start = time.perf_counter()
        found = IndexedBank(bank, metric, index, effort).find(sample[None], true.shape[1])
        seconds = time.perf_counter() - start
        recall = compare(found.squared, true)
        if recall.least >= search.recall or search.bounded:
            return Chosen(effort, recall, 1e6 * seconds / len(sample), 1e6 * exact_s / len(outside))
        best = max(best, recall.least)
    raise MethodError(
        f"search: {search.index} finds at most {best:.4f} of the nearest entries",
        f"recall {search.recall:g} is asked for, of patches of the validation part",
        "use index: ivf, which finds them all when it looks into every cell; or lower search.recall",
    )


def _efforts(
    index: Index, sample: NDArray[np.float32], true: NDArray[np.int32], search: SearchConfig
) -> Iterator[Effort]:
    """From little to much.

    How many cells must be looked into to have the asked share of the true neighbours among the candidates follows from
    where these are. Of ivfpq half of the misses that are allowed are for the cells, the others for the codes.
    """
    if search.bounded:
        yield Effort(index.n_cells_within(sample, _BOUNDED_SPARE * true.shape[1]), _BOUNDED_SPARE)
        return
    if search.index == "hnsw":
        looked = _LEAST_IN_VIEW
        while looked < index.most:
            yield Effort(looked, 1)
            looked = -(-looked * 3 // 2)
        return
    misses = (1 - search.recall) / (2 if search.index == "ivfpq" else 1)
    ranks = index.cell_ranks(sample, true)
    looked = max(_reached(ranks[:, :1], 1 - misses), _reached(ranks, 1 - misses))
    spares = _SPARES[search.index]
    yield from (Effort(looked, spare) for spare in spares)
    while looked < index.most:
        looked = min(index.most, -(-looked * 5 // 4))
        yield Effort(looked, spares[-1])


def _reached(ranks: NDArray[np.int64], share: float) -> int:
    """How many cells, the nearest first, hold this share of the neighbours of these ranks, counted from 0."""
    ascending = np.sort(ranks, axis=None)
    return int(ascending[min(len(ascending), max(1, math.ceil(share * len(ascending)))) - 1]) + 1


def compare(found: NDArray[np.float32], true: NDArray[np.float32]) -> Recall:
    """How many of the true neighbours are found, by their distances: entries at equal ones are as good.

    Args:
        found: float32 (P, K), squared distances of what was found, ascending.
        true: the same, of the K nearest.
    """
    return Recall(float((found[:, 0] <= true[:, 0]).mean()), float((found <= true[:, -1:]).mean()))
