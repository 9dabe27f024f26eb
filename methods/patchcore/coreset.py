"""The greedy coreset: which training patches the memory bank keeps, in the order in which they are picked.

Notation: n points of d dimensions, m picks.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.patchcore.cover import PICKED, Cover, PrunedCover
from adloc.methods.patchcore.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

_FEWEST, _MOST = 2048, 16384  # candidates
_IN_TABLE = 512  # candidates with a table of all their pairs, at most


@dataclass(frozen=True, slots=True)
class Coreset:
    """The picks of a greedy k-centre; the first m' of them are the picks of a coreset of m'.

    Attributes:
        order: int64 (m,), indices of the points in the order of picking, the first centre included.
        radius: float32 (m,), the covering radius after each pick: the distance from the point that is worst
            covered to its nearest centre, in the units of the points.
        elapsed_s: float32 (m,), seconds from the start to each pick.
        reach: how far a point can be from the nearest of those that could be picked; 0 where all could.
    """

    order: NDArray[np.int64]
    radius: NDArray[np.float32]
    elapsed_s: NDArray[np.float32]
    reach: float = 0.0


def projection_matrix(dimension: int, target: int | None, seed: int) -> Tensor | None:
    """A Gaussian Johnson-Lindenstrauss projection, float32 (d, target); the same on every device.

    Entries are drawn from N(0, 1 / target), so that squared distances keep their expectation.

    Returns:
        None where nothing would be gained: no target, or one that is not below the dimension.
    """
    if target is None or target >= dimension:
        return None
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(dimension, target, generator=generator) / math.sqrt(target)


def pick_greedily(points: Tensor, n_picks: int, first: int | None = None) -> Coreset:
    """The exact greedy k-centre of the points, furthest first (Gonzalez 1985; Roth et al. 2022, algorithm 1).

    The first centre is the point furthest from the mean, unless one is named: a deterministic choice, and part of
    the coreset.
    Each next one is the point furthest from its nearest centre; the lowest index of several. Distances are
    those of the points rounded to their `Grid`, by about a millionth of the largest coordinate; on these the
    picks are exact.

    Only the furthest few thousand points, the candidates, learn of a pick at once. They alone matter as long
    as the furthest of them is further than every other point was when they were chosen: distances only
    shrink. Then all picks since are applied to all points by a matrix product, on a CPU to those within their reach
    (see `PrunedCover`), and candidates chosen anew.
    All products are 2 n m d operations, of which pruning leaves a twentieth to four fifths. There is no short cut for
    m = n, for the order must be that of all smaller coresets.
    Memory beyond the points is a few numbers a point, and blocks of bounded size.

    Args:
        points: float32 (n, d), on any device.
        n_picks: from 1 to n.
        first: index of the first centre, from 0 to n - 1; None for the point furthest from the mean.

    Raises:
        MethodError: a point is not finite.
    """
    start = time.perf_counter()
    grid = Grid.of(points)
    order = np.empty(n_picks, np.int64)
    elapsed_s = np.empty(n_picks, np.float32)
    # The distance of a pick to the centres before it is the covering radius before it is picked.
    radius = np.zeros(n_picks + 1, np.float32)
    for number, (index, squared) in enumerate(_furthest_first(grid, first)):
        radius[number] = grid.unit * math.sqrt(squared)
        if number == n_picks:
            break
        order[number] = index
        elapsed_s[number] = time.perf_counter() - start
    return Coreset(order, radius[1:], elapsed_s)


def _furthest_first(grid: Grid, first: int | None) -> Iterator[tuple[int, float]]:
    """All points of the grid in the order of picking, with the squared distance to those before."""
    if first is None:
        first = _furthest_from_mean(grid)
    yield first, math.inf  # no centre before it
    pruned = grid.points.device.type == "cpu" and torch.get_float32_matmul_precision() == "highest"
    cover = PrunedCover(grid, first) if pruned else Cover(grid, first)
    n_left = len(grid) - 1
    n_candidates = _FEWEST
    while n_left:
        pool = _choose_candidates(cover.nearest, min(n_candidates, n_left))
        picks = []
        for index, squared in _picked_of(pool, grid, cover.nearest):
            yield index, squared
            picks.append(index)
        cover.add(torch.tensor(picks, device=grid.points.device))
        n_left -= len(picks)
        # A round costs about as much as 10 candidate distances for every point (choosing, converting), and a
        # candidate distance for every candidate and pick; half and half is best.
        share = len(picks) * len(pool.indices) / (10 * len(grid))
        if share < 1:
            n_candidates = min(2 * n_candidates, _MOST)
        elif share > 2:  # noqa: PLR2004
            n_candidates = max(n_candidates // 2, _FEWEST)


def _picked_of(pool: _Candidates, grid: Grid, nearest: Tensor) -> Iterator[tuple[int, float]]:
    """The picks among some candidates, as long as no other point is further, with their squared distances.

    Again only the furthest of them learn of a pick at once: from a table of all their pairs, on the CPU whatever the
    device. So a GPU is waited for some times a table, not at each pick: for all candidates' distances, from which the
    table is chosen on the CPU, and for its pairs.
    """
    vectors = grid.rows(pool.indices).double()
    norms = vectors.square().sum(1)
    indices = pool.indices.tolist()
    distances = nearest[pool.indices]
    n_left, n_in_table = len(indices), _IN_TABLE
    while n_left:
        on_host = distances.cpu()
        table = _choose_candidates(on_host, min(n_in_table, n_left))
        chosen = table.indices.to(vectors.device)
        pairs = _squared_distances(vectors[chosen], norms[chosen]).cpu().numpy()
        places, left = table.indices.tolist(), on_host[table.indices].numpy()
        picks: list[int] = []
        for _ in places:
            which = int(left.argmax())
            squared, place = float(left[which]), places[which]
            if not table.holds_the_furthest(squared, place):
                break
            if not pool.holds_the_furthest(squared, indices[place]):
                return
            yield indices[place], squared
            np.minimum(left, pairs[which], out=left)
            left[which] = PICKED
            picks.append(place)
        picked = torch.tensor(picks, device=vectors.device)
        centres, biases = vectors[picked].T, norms[picked]
        for start in range(0, len(vectors), _FEWEST):  # in blocks: all products at once would be 50 MB
            rows = slice(start, start + _FEWEST)
            squared_to = torch.addmm(biases, vectors[rows], centres, alpha=-2).amin(1).add_(norms[rows])
            distances[rows] = distances[rows].minimum(squared_to)
        distances[picked] = PICKED
        n_left -= len(picks)
        # A table of which few are picked, where whole clusters are equally far, is not worth its square.
        few = 8 * len(picks) < n_in_table
        n_in_table = max(n_in_table // 2, _IN_TABLE // 8, 1) if few else min(2 * n_in_table, _IN_TABLE)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The furthest points, and a bound for all others.

    Attributes:
        indices: int64 (K,), ascending.
        bound: no other point is further than this.
        bound_index: the lowest index of the others at just this distance.
    """

    indices: Tensor
    bound: float
    bound_index: int

    def holds_the_furthest(self, distance: float, index: int) -> bool:
        """Whether the furthest candidate comes before every other point."""
        return distance > self.bound or (distance == self.bound and index < self.bound_index)


def _choose_candidates(nearest: Tensor, count: int) -> _Candidates:
    """The furthest points; of those at equal distance the ones of lowest index."""
    least = nearest.topk(count).values[-1]
    above, equal = (nearest > least).nonzero()[:, 0], (nearest == least).nonzero()[:, 0]
    taken = count - len(above)
    indices = torch.cat([above, equal[:taken]]).sort().values
    if taken < len(equal):
        return _Candidates(indices, float(least), int(equal[taken]))
    bound, bound_index = nearest.where(nearest < least, PICKED).max(0)
    return _Candidates(indices, float(bound), int(bound_index))


def _squared_distances(vectors: Tensor, norms: Tensor) -> Tensor:
    """float64 (K, K), between all pairs."""
    return torch.addmm(norms, vectors, vectors.T, alpha=-2).add_(norms[:, None])


def _furthest_from_mean(grid: Grid) -> int:
    """The point furthest from the grid's point nearest to the mean, the lowest index of several."""
    total = torch.zeros(grid.points.shape[1], dtype=torch.float64, device=grid.points.device)
    for block in grid.blocks():
        total += block.sum(0)
    return int(grid.squared_to(total.div_(len(grid)).round_().float()[None]).argmax())
