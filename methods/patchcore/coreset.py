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

from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

_PICKED = -1.0  # distance of a point that is a centre already; all others have 0 or more
_BLOCK_BYTES = 8 << 20  # of the distances that one matrix product of the update makes
_FEWEST, _MOST = 2048, 16384  # candidates


@dataclass(frozen=True, slots=True)
class Coreset:
    """The picks of a greedy k-centre; the first m' of them are the picks of a coreset of m'.

    Attributes:
        order: int64 (m,), indices of the points in the order of picking, the first centre included.
        radius: float32 (m,), the covering radius after each pick: the distance from the point that is worst
            covered to its nearest centre, in the units of the points.
        elapsed_s: float32 (m,), seconds from the start to each pick.
    """

    order: NDArray[np.int64]
    radius: NDArray[np.float32]
    elapsed_s: NDArray[np.float32]


def count_picks(ratio: float, n_points: int) -> int:
    """How many of n points a ratio keeps: ratio * n rounded half up, at least 1. Grows with the ratio."""
    return min(n_points, max(1, math.floor(ratio * n_points + 0.5)))


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


def to_grid(points: Tensor) -> tuple[Tensor, float]:
    """Round points to a grid of integers on which squared distances have no rounding error at all.

    With integers of at most b bits, no sum on the way to a squared distance exceeds 4 d 2^2b. b is chosen so
    that this stays within the 2^53 of float64 (b = 22 for d = 128, 20 for d = 1536). Any order of summation
    then gives the same bits, whatever the block sizes, the library or the device; equal distances are equal,
    and |x|^2 + |c|^2 - 2 x c loses nothing to cancellation.

    Args:
        points: float32 (n, d).

    Returns:
        The integers as float32 (n, d), and the length of the grid's unit in the units of the points.

    Raises:
        MethodError: a value is not finite.
    """
    largest = float(points.abs().max())
    if not math.isfinite(largest):
        raise MethodError(
            "the embeddings of the training patches hold NaN or infinity",
            "features must be finite",
            "check the backbone's weights, and the images",
        )
    bits = min(23, (51 - math.ceil(math.log2(points.shape[1]))) // 2)
    unit = math.ldexp(1.0, math.frexp(largest)[1] - bits) if largest > 0 else 1.0
    return (points / unit).round_(), unit


def pick_greedily(points: Tensor, n_picks: int, first: int | None = None) -> Coreset:
    """The exact greedy k-centre of the points, furthest first (Gonzalez 1985; Roth et al. 2022, algorithm 1).

    The first centre is the point furthest from the mean, unless one is named: a deterministic choice, and part of
    the coreset.
    Each next one is the point furthest from its nearest centre; the lowest index of several. Distances are
    those of the points rounded by `to_grid`, by about a millionth of the largest coordinate; on these the
    picks are exact.

    Only the furthest few thousand points, the candidates, learn of a pick at once. They alone matter as long
    as the furthest of them is further than every other point was when they were chosen: distances only
    shrink. Then all picks since are applied to all points by a matrix product, and candidates chosen anew.
    The products are 2 n m d float64 operations: 163,856 points of 128 dimensions at 5 % take 3.3 s on two
    cores. There is no short cut for m = n, for the order must be that of all smaller coresets: some 20 times that.

    Args:
        points: float32 (n, d), on any device.
        n_picks: from 1 to n.
        first: index of the first centre, from 0 to n - 1; None for the point furthest from the mean.

    Raises:
        MethodError: a point is not finite.
    """
    start = time.perf_counter()
    integers, unit = to_grid(points)
    order = np.empty(n_picks, np.int64)
    elapsed_s = np.empty(n_picks, np.float32)
    # The distance of a pick to the centres before it is the covering radius before it is picked.
    radius = np.zeros(n_picks + 1, np.float32)
    for number, (index, squared) in enumerate(_furthest_first(integers, first)):
        radius[number] = unit * math.sqrt(squared)
        if number == n_picks:
            break
        order[number] = index
        elapsed_s[number] = time.perf_counter() - start
    return Coreset(order, radius[1:], elapsed_s)


def _furthest_first(points: Tensor, first: int | None) -> Iterator[tuple[int, float]]:
    """All points of the integer grid in the order of picking, with the squared distance to those before."""
    norms = _squared_norms(points)
    if first is None:
        first = int(_distances_to_mean(points, norms).argmax())  # the lowest index of several, here and below
    yield first, math.inf  # no centre before it
    nearest = torch.full_like(norms, torch.inf)  # squared distance to the nearest centre
    _apply(points, norms, nearest, torch.tensor([first], device=points.device))
    n_left = len(points) - 1
    n_candidates = _FEWEST
    while n_left:
        pool = _choose_candidates(nearest, min(n_candidates, n_left))
        indices: list[int] = pool.indices.tolist()
        vectors, own_norms = points[pool.indices].double(), norms[pool.indices]
        # All pairs at once while they are few: a pick then reads a row of this table and needs no product.
        few = len(indices) <= _FEWEST
        pairs = _squared_distances(vectors, own_norms) if few else None
        distances = nearest[pool.indices]
        picks: list[int] = []
        while True:
            furthest, place = (each.item() for each in distances.max(0))
            place = int(place)
            if furthest == _PICKED or not pool.holds_the_furthest(furthest, indices[place]):
                break
            yield indices[place], furthest
            picks.append(indices[place])
            to_pick = (
                torch.addmv(own_norms + own_norms[place], vectors, vectors[place], alpha=-2)
                if pairs is None
                else pairs[place]
            )
            torch.minimum(distances, to_pick, out=distances)
            distances[place] = _PICKED
        _apply(points, norms, nearest, torch.tensor(picks, device=points.device))
        n_left -= len(picks)
        # A round costs about as much as 3 candidate distances for every point (choosing, converting), and a
        # candidate distance for every candidate and pick; half and half is best.
        share = len(picks) * len(indices) / (3 * len(points))
        if share < 1:
            n_candidates = min(2 * n_candidates, _MOST)
        elif share > 2:  # noqa: PLR2004
            n_candidates = max(n_candidates // 2, _FEWEST)


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
    bound, bound_index = nearest.where(nearest < least, _PICKED).max(0)
    return _Candidates(indices, float(bound), int(bound_index))


def _apply(points: Tensor, norms: Tensor, nearest: Tensor, picks: Tensor) -> None:
    """Let all points know of the picks, in blocks of bounded memory; `nearest` is changed in place."""
    # The centres' norms are one more coordinate, which is 1 in every point: the product is |c|^2 - 2 x c, of whole
    # numbers still, and what it is written to need not be filled with the norms first (a sixth of the time).
    centres = torch.cat([points[picks].double().mul_(-2), norms[picks, None]], dim=1).T.contiguous()
    n_rows = min(len(points), max(1, _BLOCK_BYTES // (8 * max(centres.shape))))
    with_one = centres.new_ones(n_rows, len(centres))
    products = centres.new_empty(n_rows, len(picks))
    for start in range(0, len(points), n_rows):
        rows = slice(start, min(start + n_rows, len(points)))
        count = rows.stop - start
        with_one[:count, :-1] = points[rows]
        torch.mm(with_one[:count], centres, out=products[:count])
        nearest[rows] = nearest[rows].minimum(products[:count].amin(1).add_(norms[rows]))
    nearest[picks] = _PICKED


def _squared_distances(vectors: Tensor, norms: Tensor) -> Tensor:
    """float64 (K, K), between all pairs."""
    return torch.addmm(norms, vectors, vectors.T, alpha=-2).add_(norms[:, None])


def _distances_to_mean(points: Tensor, norms: Tensor) -> Tensor:
    """Squared, float64 (n,), to the point of the grid nearest to the mean."""
    mean = torch.stack([block.sum(0) for block in _blocks(points)]).sum(0).div(len(points)).round()
    return torch.cat([block @ mean for block in _blocks(points)]).mul(-2).add_(norms).add_(mean @ mean)


def _squared_norms(points: Tensor) -> Tensor:
    """float64 (n,)."""
    return torch.cat([block.square().sum(1) for block in _blocks(points)])


def _blocks(points: Tensor) -> Iterator[Tensor]:
    """The points in float64, some thousand at a time."""
    return (points[start : start + 8192].double() for start in range(0, len(points), 8192))
