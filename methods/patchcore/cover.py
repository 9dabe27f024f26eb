"""How far every point is from its nearest centre, kept up to date while centres are added.

Notation: n points x of d dimensions, centres c, p of them added at a time; G groups of points, each around a pivot a.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from adloc.methods.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from adloc.methods.patchcore.grid import Grid

PICKED = -1.0  # squared distance of a point that is a centre already; all others have 0 or more
_BLOCK_BYTES = 8 << 20  # of the distances that one matrix product of all points makes
_GROUP_BYTES = 2 << 20  # of those that one of a group makes
_FEWEST = 512  # points of a group, on the average
_MOST = 2048  # points of a group
_TOGETHER = 32  # groups that a thread takes at a time
_SAMPLE = 2048  # points that tell whether grouping pays
_WORTH = 0.1  # share of the pairs below which it does: what is left costs some three times as much a pair
_SAFE = 1 + 1e-12  # factor on a sum of two square roots, far above their rounding


class Cover:
    """Squared distances to the nearest centre, exact on the grid, by all pairs of a point and an added centre.

    Attributes:
        grid: the points.
        nearest: float64 (n,), squared distance to the nearest centre; PICKED where the point is one.
    """

    def __init__(self, grid: Grid, first: int) -> None:
        """Begin with one centre.

        Args:
            grid: the points.
            first: index of the centre.
        """
        self.grid = grid
        self.nearest = grid.squared_to(grid.rows(slice(first, first + 1)).double())
        self.nearest[first] = PICKED

    def add(self, picks: Tensor) -> None:
        """Let all points know of more centres, in blocks of bounded memory.

        Args:
            picks: int64 (p,), indices of points.
        """
        vectors = self.grid.rows(picks).double()
        norms = vectors.square().sum(1)
        # The norms are one more coordinate, which is 1 in every point: the product is |c|^2 - 2 x c, and what it is
        # written to need not be filled with the norms first (a sixth of the time).
        centres = torch.cat([vectors.mul_(-2), norms[:, None]], dim=1).T.contiguous()
        n_rows = min(len(self.grid), max(1, _BLOCK_BYTES // (8 * max(centres.shape))))
        with_one = centres.new_ones(n_rows, len(centres))
        products = centres.new_empty(n_rows, len(picks))
        for start in range(0, len(self.grid), n_rows):
            rows = slice(start, min(start + n_rows, len(self.grid)))
            count = rows.stop - start
            points = with_one[:count]
            points[:, :-1] = self.grid.rows(rows)
            torch.mm(points, centres, out=products[:count])
            squared = products[:count].amin(1).add_(points[:, :-1].square().sum(1))
            self.nearest[rows] = self.nearest[rows].minimum(squared)
        self.nearest[picks] = PICKED


@dataclass(frozen=True, slots=True)
class _Groups:
    """Points by a centre that was their nearest when they were grouped, their pivot.

    Attributes:
        indices: int64 (n,), the points, group by group, within a group by distance.
        from_pivot: float64 (n,), their squared distances to their pivots.
        starts: where the groups begin in these, and n: G + 1 numbers.
        pivots: float64 (G, d).
        reach: float64 (G,), squared: a centre that is no nearer to the pivot is nobody's new nearest one.
    """

    indices: Tensor
    from_pivot: Tensor
    starts: list[int]
    pivots: Tensor
    reach: Tensor


class PrunedCover(Cover):
    """The same distances, without most of the pairs where points lie in clusters.

    By the triangle inequality |x - c| >= |a - c| - |x - a|, no point of a group has c as its new nearest centre where
    |a - c| is at least the largest |x - a| + (its distance so far), the group's reach (after Elkan 2003, lemma 1).
    For what is left, a product in float32 of the differences to the pivot, which float32 holds exactly, tells by its
    error bound which points can have come nearer; those alone are computed in float64. So the distances are the same
    to the last bit, whatever is left out.

    Each time the centres have doubled, until groups are small, a sample tells which share of the pairs would be left.
    Points are grouped only where it is small: on features without clusters all pairs are computed, as ever.
    """

    def __init__(self, grid: Grid, first: int) -> None:
        """Begin with one centre.

        Args:
            grid: the points, on a CPU.
            first: index of the centre.
        """
        super().__init__(grid, first)
        self._centres = torch.tensor([first])
        self._looked_at = 1  # centres
        self._nearest_centre = torch.empty(0, dtype=torch.int64)  # of each point, from the first grouping on
        self._groups: _Groups | None = None

    def add(self, picks: Tensor) -> None:
        """Let all points know of more centres; see `Cover.add`."""
        if self._groups is None:
            super().add(picks)
        else:
            self._add_where_reached(self._groups, picks)
        self._centres = torch.cat([self._centres, picks])
        n_centres = len(self._centres)
        if n_centres >= 2 * self._looked_at and n_centres * _FEWEST <= len(self.grid):
            self._looked_at = n_centres
            self._look(picks)

    def _look(self, picks: Tensor) -> None:
        """Group the points by their nearest centre if few pairs with the last picks had been left by that."""
        centres = self.grid.rows(self._centres).double()
        if self._groups is None:
            sample = torch.arange(0, len(self.grid), math.ceil(len(self.grid) / _SAMPLE))
            squared, owners = _squared_distances(self.grid.rows(sample).double(), centres).min(1)
            reach = _reach(squared, squared)
            reach = torch.zeros(len(centres), dtype=torch.float64).scatter_reduce(0, owners, reach, "amax")
            left = _squared_distances(centres, self.grid.rows(picks).double()) < reach[:, None]
            if left.sum(1)[owners].sum() > _WORTH * len(sample) * len(picks):
                return
            n_rows = max(1, _BLOCK_BYTES // (8 * len(centres)))
            starts = range(0, len(self.grid), n_rows)
            self._nearest_centre = torch.empty(len(self.grid), dtype=torch.int64)
            for start in starts:
                block = self.grid.rows(slice(start, start + n_rows)).double()
                self._nearest_centre[start : start + n_rows] = _squared_distances(block, centres).argmin(1)
            self._nearest_centre[self._centres] = torch.arange(len(centres))
        self._groups = self._group(centres)

    def _group(self, centres: Tensor) -> _Groups:
        """Points by their nearest centre, large groups in shells around it."""
        squared = self.nearest.clamp(min=0)
        by_distance = squared.argsort()
        indices = by_distance[self._nearest_centre[by_distance].argsort(stable=True)]
        from_pivot = squared[indices]
        starts, owners = [0], []
        for owner, count in enumerate(torch.bincount(self._nearest_centre, minlength=len(centres)).tolist()):
            n_shells, start = math.ceil(count / _MOST), starts[-1]
            starts += [start + count * shell // n_shells for shell in range(1, n_shells + 1)]
            owners += [owner] * n_shells
        furthest = from_pivot[torch.tensor(starts[1:]) - 1]
        return _Groups(indices, from_pivot, starts, centres[owners], _reach(furthest, furthest))

    def _add_where_reached(self, groups: _Groups, picks: Tensor) -> None:
        """Let the points of all groups know of the centres within their reach."""
        vectors, n_known = self.grid.rows(picks).double(), len(self._centres)

        def update(some: list[_Reached]) -> None:
            for each in some:
                self._update(groups, each, vectors, n_known)

        for _ in spread(update, _reached(groups, vectors)):
            pass  # each changes its own points
        self._nearest_centre[picks] = torch.arange(n_known, n_known + len(picks))
        self.nearest[picks] = PICKED

    def _update(self, groups: _Groups, group: _Reached, vectors: Tensor, n_known: int) -> None:
        """Let the points of one group know of the centres within its reach."""
        here = slice(*groups.starts[group.number : group.number + 2])
        indices, from_pivot = groups.indices[here], groups.from_pivot[here]
        nearest = self.nearest[indices]
        pivot, centres = groups.pivots[group.number], vectors.index_select(0, group.centres)
        offsets = (centres - pivot).float().mul_(-2).T
        squared = group.squared[group.centres]
        reached = (_reach(from_pivot, nearest) > squared.min()).nonzero()[:, 0]
        n_rows = max(1, _GROUP_BYTES // (4 * len(centres)))
        for low in range(0, len(reached), n_rows):
            some = reached[low : low + n_rows]
            points = self.grid.rows(indices[some]).sub_(pivot.float())
            products = torch.addmm(squared.float(), points, offsets)  # |x - c|^2 - |x - a|^2
            error = _largest_error(len(pivot), float(from_pivot[some[-1]]), float(squared.max()))
            lowest = products.amin(1)
            maybe = (lowest.double() < nearest[some] - from_pivot[some] + error).nonzero()[:, 0]
            if not len(maybe):
                continue
            closest = products.index_select(0, maybe)
            which = closest.argmin(1)
            exact = points.index_select(0, maybe).double().add_(pivot)
            found = (exact - centres.index_select(0, which)).square_().sum(1)
            alike = (closest <= (lowest[maybe] + 2 * error)[:, None]).sum(1) > 1
            if alike.any():
                exact = exact[alike]
                all_pairs = _squared_distances(exact, centres)
                found[alike], which[alike] = all_pairs.min(1)
            rows = some[maybe]
            nearer = found < nearest[rows]
            rows, found = rows[nearer], found[nearer]
            nearest[rows] = found
            self.nearest[indices[rows]] = found
            self._nearest_centre[indices[rows]] = n_known + group.centres[which[nearer]]
        groups.reach[group.number] = _reach(from_pivot, nearest).max()


def _reach(from_pivot: Tensor, nearest: Tensor) -> Tensor:
    """Squared distance from the pivot from which on a centre is not nearer to a point, float64, like the arguments."""
    return from_pivot.sqrt().add_(nearest.clamp(min=0).sqrt_()).mul_(_SAFE).square_()


def _largest_error(dimension: int, from_pivot: float, squared: float) -> float:
    """Of |c - a|^2 - 2 (x - a)(c - a) as a sum of d + 1 products in float32, whatever the order of summation.

    Higham 2002, equation 3.4: (d + 2) u / (1 - (d + 2) u) times the sum of the terms' absolute values, which
    Cauchy and Schwarz bound.
    """
    rounding = (dimension + 4) * 2.0**-24
    return rounding / (1 - rounding) * (squared + 2 * math.sqrt(from_pivot * squared)) * _SAFE


def _squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """float64 (k, p), between all pairs of points of the grid."""
    products = torch.addmm(right.square().sum(1), left, right.T, alpha=-2)
    return products.add_(left.square().sum(1, keepdim=True))


@dataclass(frozen=True, slots=True)
class _Reached:
    """A group that some centres may have come nearer to.

    Attributes:
        number: of the group.
        centres: int64, which of the centres.
        squared: float64 (p,), of all of them, squared distances to the pivot.
    """

    number: int
    centres: Tensor
    squared: Tensor


def _reached(groups: _Groups, vectors: Tensor) -> Iterator[list[_Reached]]:
    """Groups with the centres within their reach, some at a time."""
    for start in range(0, len(groups.pivots), 8 * _TOGETHER):
        here = slice(start, start + 8 * _TOGETHER)
        squared = _squared_distances(groups.pivots[here], vectors)
        within = squared < groups.reach[here, None]
        reached = [
            _Reached(start + i, within[i].nonzero()[:, 0], squared[i]) for i in within.any(1).nonzero()[:, 0].tolist()
        ]
        yield from (reached[i : i + _TOGETHER] for i in range(0, len(reached), _TOGETHER))
