"""A curve traced by lowering the threshold, and its reduction to a few hundred points for a plot."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """K points, from the highest threshold (nothing is flagged) to the lowest (everything is).

    Attributes:
        x: float64 (K,).
        y: float64 (K,).
        thresholds: float64 (K,), descending; point i is where score >= thresholds[i] is flagged. The first is
            inf and stands for "above every score", even where a score is itself inf.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def thin(curve: Curve, n_points: int = 500) -> Curve:
    """Keep at most `n_points` points of a curve, those that a line through the others would miss most.

    Douglas and Peucker's refinement (1973), stopped by the number of points instead of a tolerance: the
    endpoints are kept, then again and again the point that lies furthest from the line through its kept
    neighbours. Points that lie exactly on such a line are never kept. For plots only: areas are computed from
    the whole curve.

    Raises:
        ValueError: `n_points` is below 2.
    """
    if n_points < 2:  # noqa: PLR2004  a line has two ends
        message = f"n_points is {n_points}; a curve has two ends, so it must be at least 2"
        raise ValueError(message)
    n_all = curve.x.size
    if n_all <= n_points:
        return curve
    kept = [0, n_all - 1]
    segments = [_furthest(curve, 0, n_all - 1)]
    while segments and len(kept) < n_points:
        gain, split, start, stop = heapq.heappop(segments)
        if gain == 0:
            break
        kept.append(split)
        segments_of_split = ((start, split), (split, stop))
        for low, high in segments_of_split:
            if high - low > 1:
                heapq.heappush(segments, _furthest(curve, low, high))
    chosen = np.sort(np.asarray(kept))
    return Curve(x=curve.x[chosen], y=curve.y[chosen], thresholds=curve.thresholds[chosen])


def _furthest(curve: Curve, start: int, stop: int) -> tuple[float, int, int, int]:
    """(-distance, index, start, stop) of the inner point furthest from the line start - stop."""
    x = curve.x[start + 1 : stop] - curve.x[start]
    y = curve.y[start + 1 : stop] - curve.y[start]
    width = curve.x[stop] - curve.x[start]
    height = curve.y[stop] - curve.y[start]
    length = float(np.hypot(width, height))
    distance = np.abs(x * height - y * width) / length if length > 0 else np.hypot(x, y)
    best = int(np.argmax(distance))
    return -float(distance[best]), start + 1 + best, start, stop
