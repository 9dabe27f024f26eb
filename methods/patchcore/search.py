"""Nearest neighbours in the memory bank, by FAISS.

Notation: N images of P queries each, D values an embedding, M bank entries, K neighbours.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

import faiss
import numpy as np

from adloc.methods.memory import free_bytes
from adloc.methods.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch
    from numpy.typing import NDArray

Metric = Literal["euclidean", "cosine"]

_WHOLE_BYTES = 512 << 20  # of a bank, up to which it is indexed as a whole
_SEGMENT = 16_384  # entries indexed at a time of a larger one: 100 MB of 1536 values; a multiple of _WIDTH

_WIDTH = 256  # entries of a matrix product: every one has this width, at places that are multiples of it
_MOST = 512  # queries of a product
_BY_BLAS = 10_000  # values of its queries from which a search is a matrix product: some dozen patches, no single vector
_FAR = np.float32(1e15)  # each value of an entry that fills up: its squared distance is beyond any, and finite


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Gpu:
    """What FAISS works with on a GPU: 1.5 GB there and 256 MB pinned here, which take 0.1 s to get.

    All that search a device at a time share it, and the last of them lets go of it. FAISS lets one thread in.
    """

    resources: faiss.StandardGpuResources = field(default_factory=faiss.StandardGpuResources)
    lock: threading.Lock = field(default_factory=threading.Lock)


_GPUS: WeakValueDictionary[int, Gpu] = WeakValueDictionary()
_GPUS_LOCK = threading.Lock()


def gpu_of(device: torch.device) -> Gpu | None:
    """That of a device, to be held while it is searched; None where torch or FAISS have no GPU."""
    if device.type != "cuda" or not faiss.get_num_gpus():
        return None
    with _GPUS_LOCK:
        found = _GPUS.get(device.index or 0)
        if found is None:
            found = _GPUS[device.index or 0] = Gpu()
        return found


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Nearest bank entries of queries, nearest first; of several at equal distance the one that was picked first.

    Attributes:
        squared: float32 (N * P, K), squared Euclidean distances.
        indices: int32 (N * P, K), places in the memory bank.
    """

    squared: NDArray[np.float32]
    indices: NDArray[np.int32]

    @classmethod
    def none(cls, n_queries: int) -> Neighbours:
        """Of queries that found nothing."""
        return cls(np.empty((n_queries, 0), np.float32), np.empty((n_queries, 0), np.int32))

    @classmethod
    def joined(cls, parts: Iterable[Neighbours]) -> Neighbours:
        """Of the queries of all parts, one after the other."""
        found = list(parts)
        return cls(np.concatenate([f.squared for f in found]), np.concatenate([f.indices for f in found]))

    def merged(self, later: Neighbours, k: int) -> Neighbours:
        """The k nearest of both.

        Args:
            later: the same queries' neighbours among later entries of the bank.
            k: all of them where there are fewer.
        """
        squared = np.concatenate([self.squared, later.squared], axis=1)
        indices = np.concatenate([self.indices, later.indices], axis=1)
        nearest = np.argsort(squared, axis=1, kind="stable")[:, :k]
        return Neighbours(np.take_along_axis(squared, nearest, 1), np.take_along_axis(indices, nearest, 1))


class Searched(ABC):
    """Entries of a memory bank that can be searched.

    Attributes:
        n_entries: M.
    """

    def __init__(self, bank: NDArray[np.floating], metric: Metric) -> None:
        """Keep the entries, (M, D), which are read from wherever they are."""
        self._bank = bank
        self._metric = metric
        self.n_entries = len(bank)

    @abstractmethod
    def find(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """The k nearest entries of each query, as far as they are found; all of them where there are fewer.

        Args:
            queries: float32 (N, P, D), of N images. An image's neighbours have the same bits whichever others are
                searched with it.
            k: at least 1.
        """

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
        around = self.find(np.asarray(self._bank[nearest], np.float32)[:, None], k).indices
        squared = np.empty(around.shape, np.float32)
        for row, (query, found, star) in enumerate(zip(queries, around, nearest, strict=True)):
            squared[row] = np.square(query - self._bank[_put_first(found, star)]).sum(axis=1, dtype=np.float32)
        return self.to_distance(squared)

    def to_distance(self, squared: NDArray[np.float32]) -> NDArray[np.float32]:
        """The metric's distance of squared Euclidean ones."""
        return squared / np.float32(2) if self._metric == "cosine" else np.sqrt(squared)


def search_exactly(bank: NDArray[np.floating], metric: Metric, device: torch.device, first: int = 0) -> Searched:
    """The entries in one index or, where that would be a large copy of them, in segments that are indexed in turn.

    Either finds the same, to the bit.

    Args:
        bank: float32 or float16 (M, D), of unit length where the metric is cosine; from a memory-mapped file as well.
        metric: of the method.
        device: as in `MemoryBank`, which a bank in float32 is one of on a GPU.
        first: place of the first of these entries in the whole bank, where they are a segment of it.
    """
    in_turn = bank.dtype == np.float16 or bank.nbytes > (_room(device) if gpu_of(device) else _WHOLE_BYTES)
    return (SegmentedBank if in_turn else MemoryBank)(bank, metric, device, first)


def _room(device: torch.device) -> int:
    """Bytes of a GPU that a bank may take: half of what is free."""
    return (free_bytes(device) or 0) // 2


class SegmentedBank(Searched):
    """Entries searched exactly, a segment after the other: beside them only a segment is held, in float32.

    On a GPU, which has memory of its own, all of them stay where they fit in half of what is free.
    """

    def __init__(self, bank: NDArray[np.floating], metric: Metric, device: torch.device, first: int = 0) -> None:
        """Keep the entries; see `search_exactly`."""
        super().__init__(bank, metric)
        self._device, self._first = device, first
        self._gpu = gpu_of(device)  # held for all segments
        self._keeps = self._gpu is not None and 4 * bank.size <= _room(device)
        self._kept: dict[int, MemoryBank] = {}

    def find(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """As `MemoryBank.find`."""
        found = Neighbours.none(queries.shape[0] * queries.shape[1])
        for start in range(0, self.n_entries, _SEGMENT):
            found = found.merged(self._segment(start).find(queries, k), k)
        return found

    def _segment(self, start: int) -> MemoryBank:
        """The entries from this place on."""
        if start in self._kept:
            return self._kept[start]
        entries = np.asarray(self._bank[start : start + _SEGMENT], np.float32)
        segment = MemoryBank(entries, self._metric, self._device, self._first + start)
        if self._keeps:
            self._kept[start] = segment
        return segment


class MemoryBank(Searched):
    """Bank entries in an index that is searched exactly, on a GPU where both torch and FAISS have it.

    A bank may be searched whole or in segments whose lists are merged, with any number of threads, an image alone or
    among others: the result has the same bits. In which order OpenBLAS sums an element of a matrix product may depend
    on the product's size, on the element's place in it, and on how several threads share it (seen on AMD's
    processors, the first two not on Intel's). So FAISS multiplies by 256 entries at a time, and a segment is filled
    up at both ends, with entries that are further than any, to where the whole bank's products begin and end; no
    product has queries of two images, and a single thread computes each, several at a time. Every element stands at
    the same place of a product of the same size, whatever else is searched. On a GPU the last bits may differ.

    FAISS computes |q|^2 + |m|^2 - 2 q m in float32: an entry's distance to itself is not always 0, but up to
    some 5e-4 of its length (the root of float32's rounding). Distances that matter are far above that.

    Attributes:
        n_entries: M.
    """

    def __init__(self, bank: NDArray[np.float32], metric: Metric, device: torch.device, first: int = 0) -> None:
        """Index the entries.

        Args:
            bank: float32 (M, D), of unit length where the metric is cosine.
            metric: euclidean, or cosine: 1 - cos, half the squared distance of unit vectors.
            device: a GPU is used when this is one and the installed FAISS sees one.
            first: place of the first of these entries in the whole bank, where they are a segment of it.
        """
        super().__init__(bank, metric)
        self._first = first
        self._index: faiss.Index = faiss.IndexFlatL2(bank.shape[1])
        self._gpu = gpu_of(device)  # must live as long as the index
        self._ahead = first % _WIDTH
        behind = -(first + len(bank)) % _WIDTH
        with self._gpu.lock if self._gpu else nullcontext():
            if self._gpu:
                self._index = faiss.index_cpu_to_gpu(self._gpu.resources, device.index or 0, self._index)
            self._index.add(np.full((self._ahead, bank.shape[1]), _FAR))
            self._index.add(np.ascontiguousarray(bank, dtype=np.float32))
            self._index.add(np.full((behind, bank.shape[1]), _FAR))

    def find(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """The k nearest entries of each query; all of them where there are fewer.

        Args:
            queries: float32 (N, P, D), of N images. An image's neighbours have the same bits whichever others are
                searched with it.
            k: at least 1.
        """
        n_images, n_queries, dimension = queries.shape
        k = min(k, self.n_entries)
        if k == 0:
            return Neighbours.none(n_images * n_queries)
        if self._gpu:
            with self._gpu.lock:
                return self._search(queries.reshape(-1, dimension), k)
        return Neighbours.joined(spread(lambda block: self._search_alone(block, k), blocks_of(queries)))

    def _search_alone(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """Search on the CPU, with this thread alone."""
        settle()
        return self._search(queries, k)

    def _search(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """The k nearest entries of queries (P, D)."""
        # Never a single one: FAISS has code of its own for that, which rounds in another way.
        squared, indices = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), max(k, 2))
        return Neighbours(
            np.maximum(squared[:, :k], 0), indices[:, :k].astype(np.int32) + np.int32(self._first - self._ahead)
        )


def settle() -> None:
    """Let FAISS compute with this thread alone, in products of one size: the number that others work with stays."""
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_database_bs = _WIDTH
    faiss.cvar.distance_compute_blas_threshold = _BY_BLAS


def blocks_of(queries: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Queries (N, P, D) in blocks that are searched at a time, none of them of two images."""
    n_blocks = math.ceil(queries.shape[1] / _MOST)
    return (block for image in queries for block in np.array_split(image, n_blocks))


def _put_first(indices: NDArray[np.int32], wanted: np.int32) -> NDArray[np.int32]:
    """The index wanted, then the others; an entry's duplicates may have pushed it out of its own list."""
    return np.concatenate([[wanted], indices[indices != wanted]])[: len(indices)].astype(np.int32)
