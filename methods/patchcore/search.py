"""Nearest neighbours in the memory bank, by FAISS.

Notation: P queries, D values an embedding, M bank entries, K neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import faiss
import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Metric = Literal["euclidean", "cosine"]


class MemoryBank:
    """Bank entries that can be searched exactly, on a GPU where both torch and FAISS have it.

    FAISS computes |q|^2 + |m|^2 - 2 q m in float32: an entry's distance to itself is not always 0, but up to
    some 5e-4 of its length (the root of float32's rounding), and entries that are equally near come in no
    promised order. Distances that matter are far above that.

    Attributes:
        n_entries: M.
    """

    def __init__(self, bank: NDArray[np.float32], metric: Metric, device: torch.device) -> None:
        """Index the entries.

        Args:
            bank: float32 (M, D), of unit length where the metric is cosine.
            metric: euclidean, or cosine: 1 - cos, half the squared distance of unit vectors.
            device: a GPU is used when this is one and the installed FAISS sees one.
        """
        self._bank = bank
        self._metric = metric
        self._index: faiss.Index = faiss.IndexFlatL2(bank.shape[1])
        if device.type == "cuda" and faiss.get_num_gpus() > 0:
            self._resources = faiss.StandardGpuResources()  # must live as long as the index
            self._index = faiss.index_cpu_to_gpu(self._resources, device.index or 0, self._index)
        self._index.add(np.ascontiguousarray(bank, dtype=np.float32))
        self.n_entries = len(bank)

    def find(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """The k nearest entries of each query, nearest first.

        Args:
            queries: float32 (P, D).
            k: at most M.

        Returns:
            Distances float32 (P, K) in the bank's metric (not squared), and indices int32 (P, K).
        """
        squared, indices = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        return self._to_distance(np.maximum(squared, 0)), indices.astype(np.int32)

    def support(self, queries: NDArray[np.float32], nearest: NDArray[np.int32], k: int) -> NDArray[np.float32]:
        """Distances to the surroundings of each query's nearest entry m*, for Roth et al. 2022, equation 7.

        The surroundings are the k bank entries nearest to m*, m* itself the first of them.

        Args:
            queries: float32 (P, D).
            nearest: int32 (P,), the index of m*.
            k: at most M.

        Returns:
            float32 (P, K): d(q, m*), then d(q, m) for the others, in the order of their distance to m*.
        """
        _, around = self.find(self._bank[nearest], k)
        around = np.stack([_put_first(row, each) for row, each in zip(around, nearest, strict=True)])
        difference = queries[:, None, :] - self._bank[around]
        return self._to_distance(np.square(difference).sum(axis=2, dtype=np.float32))

    def _to_distance(self, squared: NDArray[np.float32]) -> NDArray[np.float32]:
        """The metric's distance of squared Euclidean ones."""
        return squared / np.float32(2) if self._metric == "cosine" else np.sqrt(squared)


def _put_first(indices: NDArray[np.int32], wanted: np.int32) -> NDArray[np.int32]:
    """The index wanted, then the others; an entry's duplicates may have pushed it out of its own list."""
    return np.concatenate([[wanted], indices[indices != wanted]])[: len(indices)].astype(np.int32)
