"""Indexes of a memory bank by FAISS, as arrays: made once, taken up again wherever the same bank is.

Notation: M bank entries of D values, C cells, P queries, K candidates.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import faiss
import numpy as np

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


class Index:
    """Candidates for the nearest entries of a bank; a search has the same bits on any number of threads.

    FAISS trains and builds with a single thread, from a seed, so the same bank gives the same arrays.

    Attributes:
        kind: which.
        arrays: `structure` uint8, in FAISS's own format, without the entries where the bank has them; of ivf and ivfpq,
            `cells` int32 (M,): the cell of each entry.
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
        self.kind, self._n_entries = kind, len(bank)
        self._index: Any = _FAISS.deserialize_index(np.array(arrays["structure"]))
        self.most = len(bank) if kind == "hnsw" else int(self._index.nlist)
        if kind == "hnsw":
            self._entries = faiss.IndexFlatL2(bank.shape[1])  # must live as long as the index
            for _, entries in _pieces(bank):
                self._entries.add(entries)
            self._index.storage, self._index.own_fields = self._entries, False
        elif kind == "ivf":
            cells = np.array(arrays["cells"], np.int64)
            for start, entries in _pieces(bank):
                own = cells[start : start + len(entries)]
                self._index.add_core(len(entries), faiss.swig_ptr(entries), None, faiss.swig_ptr(own))

    @property
    def n_bytes(self) -> int:
        """Held in memory beside the bank: hnsw has its entries in float32, ivf in float16, ivfpq as codes."""
        held = sum(int(each.nbytes) for each in self.arrays.values())
        per_value = {"hnsw": 4, "ivf": 2, "ivfpq": 0}[self.kind]
        return held + per_value * self._n_entries * int(self._index.d)

    def candidates(self, queries: NDArray[np.float32], k: int, effort: int) -> NDArray[np.int64]:
        """Places of the K entries that the index holds for nearest, (P, K) in its own order; -1 for none.

        Args:
            queries: float32 (P, D).
            k: K.
            effort: cells that are looked into, of C; of hnsw, the entries that are kept in view.
        """
        settle()
        if self.kind == "hnsw":
            chosen = _FAISS.SearchParametersHNSW(efSearch=max(effort, k))
        else:
            chosen = _FAISS.SearchParametersIVF(nprobe=effort)
        _, places = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=chosen)
        return np.asarray(places)

    def cell_ranks(self, queries: NDArray[np.float32], places: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many cells are nearer to a query than that of each of these entries.

        Args:
            queries: float32 (P, D).
            places: (P, K), of entries.
        """
        settle()
        order = self._index.quantizer.search(np.ascontiguousarray(queries, np.float32), self.most)[1]
        return np.take_along_axis(
            np.argsort(order, axis=1), np.asarray(self.arrays["cells"])[places].astype(np.int64), 1
        )


def build_index(kind: Made, bank: NDArray[np.floating], seed: int) -> dict[str, NDArray[Any]]:
    """The arrays of an index.

    Costs, besides reading the bank: ivf and ivfpq 20 M' C D operations for k-means (M' = 64 C, C = 2 sqrt(M)) and
    2 M C D to place the entries; hnsw some 80 x 32 distances an entry.

    Args:
        kind: which.
        bank: float32 or float16 (M, D).
        seed: of k-means.
    """
    settle()
    n_entries, dimension = bank.shape
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dimension, _LINKS)
        graph.hnsw.efConstruction = _BUILD_EFFORT
        for _, entries in _pieces(bank):
            graph.add(entries)
        return {"structure": faiss.serialize_index(graph, faiss.IO_FLAG_SKIP_STORAGE)}
    n_cells = max(1, min(round(2 * math.sqrt(n_entries)), n_entries // _FULLEST))
    drawn = np.sort(np.random.default_rng(seed).permutation(n_entries)[: _TRAINED_ON * max(n_cells, 1 << _PQ_BITS)])
    sample = np.ascontiguousarray(bank[drawn], np.float32)
    quantizer: Any = faiss.IndexFlatL2(dimension)
    index: Any
    if kind == "ivf":
        half = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexIVFScalarQuantizer(quantizer, dimension, n_cells, half, faiss.METRIC_L2, False)  # noqa: FBT003
    else:
        n_codes = next(n for n in range(max(1, dimension // _PQ_VALUES), 0, -1) if dimension % n == 0)
        bits = min(_PQ_BITS, max(1, int(math.log2(max(2, n_entries // _FULLEST)))))
        index = faiss.IndexIVFPQ(quantizer, dimension, n_cells, n_codes, bits)
        index.by_residual = False  # one table of distances a query serves all cells
        index.pq.cp.max_points_per_centroid = _PQ_TRAINED_ON
    quantizer.this.disown()  # it lives as long as the index, which frees it
    index.own_fields = True
    index.cp.niter, index.cp.seed, index.cp.max_points_per_centroid = _ROUNDS, seed & 0x7FFFFFFF, _TRAINED_ON
    index.train(sample)
    cells = []
    for _, entries in _pieces(bank):
        own = index.quantizer.search(entries, 1)[1][:, 0]
        cells.append(own.astype(np.int32))
        if kind == "ivfpq":
            index.add_core(len(entries), faiss.swig_ptr(entries), None, faiss.swig_ptr(np.ascontiguousarray(own)))
    return {"structure": faiss.serialize_index(index), "cells": np.concatenate(cells)}


def _pieces(bank: NDArray[np.floating]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Where each piece of the bank begins, and its entries in float32."""
    for start in range(0, len(bank), _ADDED):
        yield start, np.ascontiguousarray(bank[start : start + _ADDED], np.float32)
