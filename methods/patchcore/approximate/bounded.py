"""An inverted file that finds every neighbour: it looks into the cells that the triangle inequality does not rule out.

Notation: M bank entries of D values, C cells, P queries, K candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.patchcore.approximate.cells import InvertedFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST = 4  # cells that every query looks into, for a distance to hold the others to
_ROWS = 4096  # entries at a time
_SAFE = 1 + 1e-6  # factor on a distance, above its rounding to float32


class BoundedFile(InvertedFile):
    """A bank's entries, cell by cell, and how far those of a cell reach."""

    def __init__(
        self,
        bank: NDArray[np.floating],
        cells: NDArray[np.int32],
        centroids: NDArray[np.float32],
        reach: NDArray[np.float32],
    ) -> None:
        """Copy the entries into their cells.

        Args:
            bank: float32 or float16 (M, D).
            cells: (M,), the cell of each entry.
            centroids: (C, D).
            reach: (C,), see `reach_of`.
        """
        super().__init__(bank, cells, len(centroids))
        self._centroids, self._reach = torch.from_numpy(centroids), torch.from_numpy(reach).double()

    def nearest(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], float]:
        """Places of the k nearest entries, (P, k), and how many cells a query looks into, on average.

        |q - m| >= |q - c| - |m - c|: no entry of a cell is among the k nearest where |q - c| is beyond the cell's reach
        by more than the distance of the k-th of the entries that were compared before. That distance is taken with its
        error bound (Higham 2002, equation 3.4), so that no cell is left out for float32's rounding.

        Args:
            queries: float32 (P, D).
            k: from 1 to M.
        """
        own = torch.from_numpy(np.ascontiguousarray(queries, np.float32))
        centroids, rows = self._centroids.double(), own.double()
        squared = torch.addmm(centroids.square().sum(1), rows, centroids.T, alpha=-2)
        away = squared.add_(rows.square().sum(1, keepdim=True)).clamp_(min=0).sqrt_()  # (P, C), |q - c|
        best, places = torch.full((len(own), k), torch.inf), torch.full((len(own), k), -1, dtype=torch.int64)
        nearest = (away - self._reach).topk(min(_FIRST, away.shape[1]), dim=1, largest=False).indices
        first = torch.zeros(away.shape, dtype=torch.bool).scatter_(1, nearest, value=True)
        self._look(own, away, first, best, places)
        longest = (away + self._reach).gather(1, nearest).amax(1)
        rounding = (own.shape[1] + 6) * 2.0**-24
        bound = best.amax(1).double().add_(rounding * longest.square()).sqrt_()
        others = (away - self._reach <= bound[:, None]) & ~first
        self._look(own, away, others, best, places)
        return places.numpy(), float((first | others).sum()) / len(own)

    def _look(
        self, queries: torch.Tensor, away: torch.Tensor, wanted: torch.Tensor, best: torch.Tensor, places: torch.Tensor
    ) -> None:
        """Compare each query with the entries of its wanted cells, bool (P, C), and keep the nearest in `best`.

        Both are taken from the cell's centroid: their squares, and so the rounding, are then of the size of distances.
        """
        for cell in wanted.any(0).nonzero()[:, 0].tolist():
            rows = wanted[:, cell].nonzero()[:, 0]
            own = slice(int(self._starts[cell]), int(self._starts[cell + 1]))
            entries = self._entries[own].float() - self._centroids[cell]
            beside = queries[rows] - self._centroids[cell]
            distances = torch.addmm(entries.square().sum(1), beside, entries.T, alpha=-2)
            distances += away[rows, cell].square().float()[:, None]
            nearer = (distances.amin(1) < best[rows].amax(1)).nonzero()[:, 0]  # few, after the first cells
            if not len(nearer):
                continue
            rows, distances = rows[nearer], distances[nearer]
            found = distances.topk(min(best.shape[1], len(entries)), dim=1, largest=False, sorted=False)
            both = torch.cat([best[rows], found.values], 1).topk(best.shape[1], dim=1, largest=False, sorted=False)
            known = torch.cat([places[rows], self._places[own][found.indices]], 1)
            best[rows], places[rows] = both.values.clamp_(min=0), known.gather(1, both.indices)


def reach_of(
    bank: NDArray[np.floating], cells: NDArray[np.int32], centroids: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How far the furthest entry of each cell is from its centroid, or a little further => (C,); 0 of an empty one."""
    reach = np.zeros(len(centroids), np.float64)
    for start in range(0, len(bank), _ROWS):
        own = cells[start : start + _ROWS]
        away = bank[start : start + _ROWS].astype(np.float64) - centroids[own]
        np.maximum.at(reach, own, np.sqrt(np.square(away).sum(1)))
    return np.asarray(reach * _SAFE, np.float32)
