"""Points on a grid of integers, on which squared distances have no rounding error at all.

Notation: n points of d dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

_ROWS = {"cpu": 2048, "cuda": 32768}  # points of a block: a GPU is kept waiting by many small ones


@dataclass(frozen=True, slots=True)
class Grid:
    """Points as multiples of a unit, rounded where they are read: the points themselves are the only copy.

    With integers of at most b bits, no sum on the way to |x|^2 + |c|^2 - 2 x c exceeds 4 d 2^2b. b is chosen so
    that this stays within the 2^53 of float64 (b = 22 for d = 128, 20 for d = 1536). Any order of summation
    then gives the same bits, whatever the block sizes, the library or the device; equal distances are equal,
    and nothing is lost to cancellation.

    Attributes:
        points: float32 (n, d), on any device.
        unit: the length of the grid's unit in the units of the points, a power of 2.
    """

    points: Tensor
    unit: float

    @classmethod
    def of(cls, points: Tensor) -> Grid:
        """The finest grid for these points.

        Args:
            points: float32 (n, d), n and d at least 1.

        Raises:
            MethodError: a value is not finite.
        """
        least, most = (float(each) for each in torch.aminmax(points))
        largest = max(-least, most)
        if not (math.isfinite(least) and math.isfinite(most)):
            raise MethodError(
                "the embeddings of the training patches hold NaN or infinity",
                "features must be finite",
                "check the backbone's weights, and the images",
            )
        bits = min(23, (51 - math.ceil(math.log2(points.shape[1]))) // 2)
        return cls(points, math.ldexp(1.0, math.frexp(largest)[1] - bits) if largest > 0 else 1.0)

    def __len__(self) -> int:
        """How many points, n."""
        return len(self.points)

    def rows(self, which: slice | Tensor, out: Tensor | None = None) -> Tensor:
        """Some points as integers, float32 (k, d), in `out` where it is given."""
        if isinstance(which, slice):
            return torch.div(self.points[which], self.unit, out=out).round_()
        return torch.index_select(self.points, 0, which, out=out).div_(self.unit).round_()

    def blocks(self) -> Iterator[Tensor]:
        """All points in their order as integers, float64, some thousand at a time."""
        for rows in self._slices():
            yield self.rows(rows).double()

    def squared_to(self, centres: Tensor, owners: Tensor | None = None) -> Tensor:
        """Squared distance of each point to a centre, float64 (n,).

        Written to one array: small results between large blocks that come and go leave glibc's heap in pieces,
        1 KB a point of 128 dimensions.

        Args:
            centres: float32 (k, d), integers no larger than those of the points; float32 holds the differences.
            owners: int64 (n,), which of them; None for the only one.
        """
        found = torch.empty(len(self), dtype=torch.float64, device=self.points.device)
        for rows in self._slices():
            differences = self.rows(rows).sub_(centres if owners is None else centres[owners[rows]])
            found[rows] = differences.double().square_().sum(1)
        return found

    def _slices(self) -> Iterator[slice]:
        """All points in their order, some thousand at a time."""
        n_rows = _ROWS[self.points.device.type]
        return (slice(start, start + n_rows) for start in range(0, len(self), n_rows))
