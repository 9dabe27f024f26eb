"""A memory bank behind an index: which entries are found is the index's word, their distances are exact.

Notation: N images of P queries each, D values an embedding, M bank entries, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adloc.methods.patchcore.search import Neighbours, Searched, blocks_of
from adloc.methods.workers import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.methods.patchcore.approximate.index import Index
    from adloc.methods.patchcore.search import Metric

_COMPARED_BYTES = 16 << 20  # of the candidates that are compared with their queries at a time


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard an index looks.

    Attributes:
        looked: see `Index.candidates`.
        spare: candidates a neighbour that are then compared exactly.
    """

    looked: int
    spare: int


class IndexedBank(Searched):
    """Bank entries found by an index; an image has the same bits alone or among others, on any number of threads.

    Distances are sums of squared differences in float32: those of `MemoryBank` up to its rounding.
    """

    def __init__(self, bank: NDArray[np.floating], metric: Metric, index: Index, effort: Effort) -> None:
        """Search so.

        Args:
            bank: float32 or float16 (M, D); of a memory-mapped file only what is compared is read.
            metric: of the method.
            index: of this bank.
            effort: how hard to look.
        """
        super().__init__(bank, metric)
        self._index, self._effort = index, effort

    def find(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """See `Searched.find`."""
        k = min(k, self.n_entries)
        return Neighbours.joined(spread(lambda block: self._find(block, k), blocks_of(queries)))

    def _find(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """The neighbours of the queries (P, D) of a single image."""
        n_candidates = min(k * self._effort.spare, self.n_entries)
        places = self._index.candidates(queries, n_candidates, self._effort.looked)
        short = np.flatnonzero((places >= 0).sum(axis=1) < k)
        if short.size:  # the cells that were looked into hold too few
            places[short] = self._index.candidates(queries[short], n_candidates, self._index.most)
        return nearest_of(queries, places, self._bank, k)


def nearest_of(
    queries: NDArray[np.float32], places: NDArray[np.int64], bank: NDArray[np.floating], k: int
) -> Neighbours:
    """The k nearest among the candidates of each query; of several at equal distance the one that was picked first.

    Args:
        queries: float32 (P, D).
        places: int64 (P, C), candidates; -1 for none.
        bank: (M, D).
        k: at most C.
    """
    found_squared, found = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int32)
    n_together = max(1, _COMPARED_BYTES // (4 * places.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), n_together):
        rows = slice(start, start + n_together)
        own = np.sort(places[rows], axis=1)  # by place, so that the sort below, which is stable, breaks ties by it
        squared = np.square(queries[rows, None] - bank[own]).sum(axis=2, dtype=np.float32)
        squared[own < 0] = np.inf
        nearest = np.argsort(squared, axis=1, kind="stable")[:, :k]
        found_squared[rows] = np.take_along_axis(squared, nearest, 1)
        found[rows] = np.take_along_axis(own, nearest, 1)
    return Neighbours(found_squared, found)
