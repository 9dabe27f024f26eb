"""How far every point is from its nearest centre, kept up to date while centres are added.

Notation: n points x of d dimensions, centres c, p of them added at a time; G groups of points, each around a pivot a.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from adloc.methods.workers import spread

if TYPE_CHECKING:
    from torch import Tensor

    from adloc.methods.patchcore.grid import Grid

PICKED = -1.0  # squared distance of a point that is a centre already; all others have 0 or more
# Of the distances that one matrix product of all points makes. A GPU is given more at a time: with 8 MB, 400,000
# points of 1536 dimensions took three times as long on an H200, most of it starting its kernels.
_BLOCK_BYTES = {"cpu": 8 << 20, "cuda": 128 << 20}
_GROUP_BYTES = 2 << 20  # of those that one of a group makes, in float32
_GROUP = 1024  # points of a group, at most
_REGROUPED_AT = 8  # times as many pivots
_TOGETHER = 16  # groups that a thread takes at a time
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
        self.nearest = grid.squared_to(grid.rows(slice(first, first + 1)))
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
        n_rows = min(len(self.grid), max(1, _BLOCK_BYTES[vectors.device.type] // (8 * max(centres.shape))))
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
    """Points by the pivot that is nearest to them, those of one pivot in shells around it.

    Attributes:
        indices: int64 (n,), the points, group by group.
        from_pivot: float64 (n,), their squared distances to their pivots.
        nearest: float64 (n,), to their nearest centres.
        starts: where the groups begin in these, and n: G + 1 numbers.
        pivots: float32 (G, d).
        reach: float64 (G,), squared: a centre that is no nearer to the pivot is nobody's new nearest one.
    """

    indices: Tensor
    from_pivot: Tensor
    nearest: Tensor
    starts: list[int]
    pivots: Tensor
    reach: Tensor


class PrunedCover(Cover):
    """The same distances on a CPU, most pairs computed in float32 and many not at all.

    By the triangle inequality |x - c| >= |a - c| - |x - a|, no point of a group has c as its new nearest centre where
    |a - c| is at least the largest |x - a| + (its distance so far), the group's reach (after Elkan 2003, lemma 1).
    For what is left, a product in float32 of the differences to the pivot, which float32 holds exactly, tells by its
    error bound which points can have come nearer, and to which centre; these distances alone are computed in float64.
    So they are the same to the last bit, whatever is left out. Where points lie in clusters a twentieth of the pairs
    is left; where they do not, float32 takes half the time of float64.
    """

    def __init__(self, grid: Grid, first: int) -> None:
        """Begin with one centre.

        Args:
            grid: the points, on a CPU.
            first: index of the centre.
        """
        super().__init__(grid, first)
        self._centres = torch.tensor([first])
        self._n_pivots = 1
        owners = torch.zeros(len(grid), dtype=torch.int64)
        self._groups = self._group(owners, self._centres)

    def add(self, picks: Tensor) -> None:
        """Let all points know of more centres; see `Cover.add`."""
        self._centres = torch.cat([self._centres, picks])
        groups, vectors = self._groups, self.grid.rows(picks)
        squared = _squared_distances(groups.pivots.double(), vectors.double())
        within = squared < groups.reach[:, None]

        def update(numbers: list[int]) -> None:
            space = _Space.of(_GROUP, vectors)
            for number in numbers:
                which = within[number].nonzero()[:, 0]
                self._update(groups, number, vectors.index_select(0, which), squared[number, which], space)

        reached = within.any(1).nonzero()[:, 0].tolist()
        for _ in spread(update, (reached[i : i + _TOGETHER] for i in range(0, len(reached), _TOGETHER))):
            pass  # each changes its own points
        self.nearest[groups.indices] = groups.nearest
        self.nearest[self._centres] = PICKED
        self._regroup()

    def _update(self, groups: _Groups, number: int, centres: Tensor, squared: Tensor, space: _Space) -> None:
        """Let the points of one group know of some centres, float32 (p, d), at these squared distances to its pivot."""
        here = slice(*groups.starts[number : number + 2])
        indices, from_pivot, nearest = groups.indices[here], groups.from_pivot[here], groups.nearest[here]
        pivot = groups.pivots[number]
        offsets, biases = centres - pivot, squared.float()
        columns = offsets.T.contiguous()  # a tenth faster
        error = _largest_error(len(pivot), float(from_pivot[-1]), float(squared.max()))
        n_rows = max(1, len(space.products) // len(centres))
        for low in range(0, len(indices), n_rows):
            some = indices[low : low + n_rows]
            points = self.grid.rows(some, out=space.points[: len(some)]).sub_(pivot)
            products = space.products[: len(some) * len(centres)].view(len(some), -1)
            torch.addmm(biases, points, columns, alpha=-2, out=products)  # |x - c|^2 - |x - a|^2
            which = torch.from_numpy(products.numpy().argmin(1))[:, None]  # torch's takes eight times as long
            lowest = products.gather(1, which)[:, 0]
            room = nearest[low : low + n_rows] - from_pivot[low : low + n_rows]
            maybe = (lowest < room.add_(error)).nonzero()[:, 0]
            if not len(maybe):
                continue
            second = products.scatter_(1, which, torch.inf).amin(1)
            differences = points.index_select(0, maybe).sub_(offsets.index_select(0, which[maybe, 0]))
            found = differences.double().square_().sum(1)
            alike = (second <= lowest + 2 * error)[maybe]
            if alike.any():
                points = self.grid.rows(some[maybe[alike]]).double()
                found[alike] = _squared_distances(points, centres.double()).amin(1)
            maybe += low
            nearest[maybe] = nearest[maybe].minimum(found)
        groups.reach[number] = _reach(from_pivot, nearest)

    def _regroup(self) -> None:
        """Group the points anew around more of the centres, until groups are small."""
        n_pivots = min(len(self._centres), len(self.grid) // _GROUP)
        if n_pivots < _REGROUPED_AT * self._n_pivots:
            return
        self._n_pivots = n_pivots
        pivots = self._centres[:n_pivots]
        vectors = self.grid.rows(pivots)
        bias = vectors.square().sum(1)
        owners = torch.empty(len(self.grid), dtype=torch.int64)
        n_rows = max(1, _GROUP_BYTES // (4 * n_pivots))

        def assign(start: int) -> None:
            rows = slice(start, start + n_rows)
            products = torch.addmm(bias, self.grid.rows(rows), vectors.T, alpha=-2)
            owners[rows] = torch.from_numpy(products.numpy().argmin(1))

        for _ in spread(assign, range(0, len(self.grid), n_rows)):
            pass
        self._groups = self._group(owners, pivots)

    def _group(self, owners: Tensor, pivots: Tensor) -> _Groups:
        """Points by their pivot, int64 (n,), and by their distance to it."""
        vectors = self.grid.rows(pivots)
        squared = self.grid.squared_to(vectors, owners)
        by_distance = squared.argsort()
        indices = by_distance[owners[by_distance].argsort(stable=True)]
        starts, of = [0], []
        for owner, count in enumerate(torch.bincount(owners, minlength=len(pivots)).tolist()):
            n_shells, start = math.ceil(count / _GROUP), starts[-1]
            starts += [start + count * shell // n_shells for shell in range(1, n_shells + 1)]
            of += [owner] * n_shells
        from_pivot, nearest = squared[indices], self.nearest[indices]
        reach = torch.stack([_reach(from_pivot[low:high], nearest[low:high]) for low, high in pairwise(starts)])
        return _Groups(indices, from_pivot, nearest, starts, vectors[of], reach)


@dataclass(frozen=True, slots=True)
class _Space:
    """What a thread computes in, made once: glibc asks the system for the pages of a new array each time.

    Attributes:
        points: float32 (at most the points of a group, d).
        products: float32, one after the other.
    """

    points: Tensor
    products: Tensor

    @classmethod
    def of(cls, n_points: int, centres: Tensor) -> _Space:
        """For so many points at once, and centres, float32 (p, d)."""
        n_products = max(len(centres), min(n_points * len(centres), _GROUP_BYTES // 4))
        return cls(centres.new_empty(n_points, centres.shape[1]), centres.new_empty(n_products))


def _reach(from_pivot: Tensor, nearest: Tensor) -> Tensor:
    """Squared distance from the pivot from which on a centre is not nearer to any of the points, float64 ()."""
    return from_pivot.sqrt().add_(nearest.clamp(min=0).sqrt_()).max().mul_(_SAFE).square_()


def _largest_error(dimension: int, from_pivot: float, squared: float) -> float:
    """Of |c - a|^2 - 2 (x - a)(c - a) as a sum of d + 1 products in float32, whatever the order of summation.

    Higham 2002, equation 3.4: (d + 2) u / (1 - (d + 2) u) times the sum of the terms' absolute values, which
    Cauchy and Schwarz bound; and room for what is added to a product in float32.
    """
    rounding = (dimension + 6) * 2.0**-24
    return rounding / (1 - rounding) * (squared + 2 * math.sqrt(from_pivot * squared)) * _SAFE


def _squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """float64 (k, p), between all pairs of points of the grid."""
    products = torch.addmm(right.square().sum(1), left, right.T, alpha=-2)
    return products.add_(left.square().sum(1, keepdim=True))
