"""Indexes of a memory bank by FAISS, as arrays: made once, taken up again wherever the same bank is.

Notation: M bank entries of D values, C cells, P queries, K candidates.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import faiss
import numpy as np

from adloc.methods.patchcore.approximate.bounded import BoundedFile, reach_of
from adloc.methods.patchcore.approximate.cells import InvertedFile
from adloc.methods.patchcore.search import settle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Made = Literal["ivf", "ivfpq", "hnsw"]

_FAISS: Any = faiss  # its types lack what is its own of an index
_FULLEST = 39  # entries a cell at least: FAISS warns of a training on fewer
_TRAINED_ON = 64  # entries a cell, at most
_ROUNDS = 10  # of k-means
_PQ_BITS, _PQ_TRAINED_ON, _PQ_VALUES = 8, 64, 8  # bits a code, entries a centroid, values a code
_LINKS, _BUILD_EFFORT = 32, 80  # of the graph: links a node, candidates looked at when one is added
_ADDED = 16_384  # entries that are read at a time
_INT = 0x7FFFFFFF


class Index:
    """Candidates for the nearest entries of a bank; a search has the same bits on any number of threads.

    FAISS trains and builds with a single thread, from a seed, so the same bank gives the same arrays.

    Attributes:
        kind: which.
        arrays: of ivf `centroids` float32 (C, D) and `cells` int32 (M,), the cell of each entry, and of one that finds
            all `reach` float32 (C,), how far a cell's entries are from its centroid at most; of ivfpq the cells and
            `structure` uint8, in FAISS's own format, with the codes; of hnsw the structure, without the entries.
        most: the largest effort.
    """

    def __init__(self, kind: Made, arrays: Mapping[str, NDArray[Any]], bank: NDArray[np.floating]) -> None:
        """Take up an index again.

        Args:
            kind: which.
            arrays: of `build_index`.
            bank: float32 or float16 (M, D), the entries that it was made of.
        """
        settle()
        self.arrays = arrays
        self.kind = kind
        self._bank_bytes = {"ivf": bank.nbytes, "hnsw": 4 * bank.size, "ivfpq": 0}[kind]
        if kind == "ivf":
            centroids = np.array(arrays["centroids"])
            self.most = len(centroids)
            self._quantizer: Any = _FAISS.IndexFlatL2(bank.shape[1])
            self._quantizer.add(centroids)
            cells = np.asarray(arrays["cells"])
            self._file = (
                BoundedFile(bank, cells, centroids, np.array(arrays["reach"]))
                if "reach" in arrays
                else InvertedFile(bank, cells, self.most)
            )
            return
        self._index: Any = _FAISS.deserialize_index(np.array(arrays["structure"]))
        if kind == "ivfpq":
            self.most, self._quantizer = int(self._index.nlist), self._index.quantizer
            return
        self.most = len(bank)
        self._entries = faiss.IndexFlatL2(bank.shape[1])  # must live as long as the index
        for entries in _pieces(bank):
            self._entries.add(entries)
        self._index.storage, self._index.own_fields = self._entries, False

    @property
    def n_bytes(self) -> int:
        """Held in memory beside the bank: ivf has its entries once more, hnsw in float32; ivfpq has codes of them."""
        return self._bank_bytes + sum(int(each.nbytes) for each in self.arrays.values())

    def candidates(self, queries: NDArray[np.float32], k: int, effort: int) -> NDArray[np.int64]:
        """Places of the K entries that the index holds for nearest, (P, K) in its own order; -1 for none.

        Args:
            queries: float32 (P, D).
            k: K.
            effort: cells that are looked into, of C; of hnsw, the entries that are kept in view. Of no account where
                all are found.
        """
        settle()
        queries = np.ascontiguousarray(queries, np.float32)
        if self.kind == "ivf" and isinstance(self._file, BoundedFile):
            return self._file.nearest(queries, k)[0]
        if self.kind == "ivf":
            return self._file.candidates(queries, self._quantizer.search(queries, effort)[1], k)
        if self.kind == "hnsw":
            chosen = _FAISS.SearchParametersHNSW(efSearch=max(effort, k))
        else:
            chosen = _FAISS.SearchParametersIVF(nprobe=effort)
        return np.asarray(self._index.search(queries, k, params=chosen)[1])

    def n_cells_within(self, queries: NDArray[np.float32], k: int) -> int:
        """Into how many cells a query looks on average to find its k nearest of all, rounded up."""
        if self.kind != "ivf" or not isinstance(self._file, BoundedFile):
            raise ValueError("only an index that finds all looks into as many cells as it must")
        return math.ceil(self._file.nearest(queries, k)[1])

    def cell_ranks(self, queries: NDArray[np.float32], places: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many cells are nearer to a query than that of each of these entries; of ivf and ivfpq.

        Args:
            queries: float32 (P, D).
            places: (P, K), of entries.
        """
        settle()
        order = self._quantizer.search(np.ascontiguousarray(queries, np.float32), self.most)[1]
        return np.take_along_axis(
            np.argsort(order, axis=1), np.asarray(self.arrays["cells"])[places].astype(np.int64), 1
        )


def build_index(kind: Made, bank: NDArray[np.floating], seed: int, *, bounded: bool = False) -> dict[str, NDArray[Any]]:
    """The arrays of an index.

    Costs, besides reading the bank: ivf and ivfpq 20 M' C D operations for k-means (M' = 64 C, C = 2 sqrt(M)) and
    2 M C D to place the entries; hnsw some 80 x 32 distances an entry.

    Args:
        kind: which.
        bank: float32 or float16 (M, D).
        seed: of k-means.
        bounded: whether an ivf is to find every neighbour.
    """
    settle()
    n_entries, dimension = bank.shape
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dimension, _LINKS)
        graph.hnsw.efConstruction = _BUILD_EFFORT
        for entries in _pieces(bank):
            graph.add(entries)
        return {"structure": faiss.serialize_index(graph, faiss.IO_FLAG_SKIP_STORAGE)}
    n_cells = max(1, min(round(2 * math.sqrt(n_entries)), n_entries // _FULLEST))
    drawn = np.random.default_rng(seed).permutation(n_entries)
    sample = np.ascontiguousarray(bank[np.sort(drawn[: _TRAINED_ON * n_cells])], np.float32)
    clustering: Any = faiss.Clustering(dimension, n_cells)
    clustering.niter, clustering.seed, clustering.max_points_per_centroid = _ROUNDS, seed & _INT, _TRAINED_ON
    quantizer: Any = faiss.IndexFlatL2(dimension)
    clustering.train(sample, quantizer)
    cells = np.concatenate([quantizer.search(entries, 1)[1][:, 0] for entries in _pieces(bank)])
    made = {"cells": cells.astype(np.int32)}
    if kind == "ivf":
        centroids = faiss.vector_to_array(clustering.centroids).reshape(n_cells, dimension)
        reach = {"reach": reach_of(bank, made["cells"], centroids)} if bounded else {}
        return made | {"centroids": centroids} | reach
    n_codes = next(n for n in range(max(1, dimension // _PQ_VALUES), 0, -1) if dimension % n == 0)
    bits = min(_PQ_BITS, max(1, int(math.log2(max(2, n_entries // _FULLEST)))))
    index: Any = faiss.IndexIVFPQ(quantizer, dimension, n_cells, n_codes, bits)
    index.by_residual = False  # one table of distances a query serves all cells
    index.pq.cp.seed, index.pq.cp.max_points_per_centroid = seed & _INT, _PQ_TRAINED_ON
    coded = np.ascontiguousarray(bank[np.sort(drawn[: _PQ_TRAINED_ON << _PQ_BITS])], np.float32)
    index.pq.train(coded)
    index.is_trained = True
    start = 0
    for entries in _pieces(bank):
        own = np.ascontiguousarray(cells[start : start + len(entries)])
        index.add_core(len(entries), faiss.swig_ptr(entries), None, faiss.swig_ptr(own))
        start += len(entries)
    return made | {"structure": faiss.serialize_index(index)}


def _pieces(bank: NDArray[np.floating]) -> Iterator[NDArray[np.float32]]:
    """Consecutive entries in float32."""
    return (np.ascontiguousarray(bank[start : start + _ADDED], np.float32) for start in range(0, len(bank), _ADDED))
