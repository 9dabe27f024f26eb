"""Pixel metrics in bounded memory: from two passes over the maps, with the largest possible error of each figure.

The first pass counts pixels by the upper half of their scores' bits, the second by bins that divide these where it
matters. A bin's lower edge is a threshold like any other, so every corner of the curves is a true point of the
exact ones; only what happens inside a bin is not known. There the curve rises from one corner to the next within
a rectangle, of which the figure takes half: the error is at most half of the rectangles' areas together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adloc.metrics.pimo import ImageRecall, NormalTail
from adloc.metrics.ranking import Ranking
from adloc.metrics.regions import CURVE_POINTS, PRO_LIMIT, PRO_STRICT_LIMIT, PixelMetrics, measure, pixel_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from adloc.metrics.chunk import Chunk, ReadChunks

N_BINS = 1 << 18  # 8 MB of counts
_HALF = 16  # bits
_COARSE = 1 << _HALF
_PIXELS = 1 << 20  # counted at a time
_ROUNDING = 1e-12  # of the sums themselves


@dataclass(frozen=True, slots=True, eq=False)
class StreamedMetrics:
    """Pixel metrics, and how far each may be from the exact figure; nan where that is not defined.

    Attributes:
        metrics: the figures and curves; the threshold of the largest F1 is a bin's lower edge.
        aupimo: exact, see `adloc.metrics.pimo`.
        auroc_error: bound of |auroc - exact|.
        auprc_error: of the average precision.
        aupro_error: of PRO up to a false-positive rate of 0.3.
        aupro_005_error: of PRO up to 0.05.
        f1_error: of the largest F1: how much larger it may be at another threshold.
    """

    metrics: PixelMetrics
    aupimo: float
    auroc_error: float
    auprc_error: float
    aupro_error: float
    aupro_005_error: float
    f1_error: float


def stream_pixel_metrics(
    read: ReadChunks, n_normal: int, *, n_bins: int = N_BINS, curve_points: int = CURVE_POINTS
) -> StreamedMetrics:
    """Every pixel metric, without holding more than a chunk of float32 maps.

    Args:
        read: gives all chunks, the same at each of its two calls.
        n_normal: how many of the images are normal.
        n_bins: among which the scores are divided, beside 65536 that are always there.
        curve_points: the largest number of points kept of each curve.

    Raises:
        ValueError: a score is nan, maps are not float32, or masks do not fit them.
    """
    counts, tail = _Counts.empty(_COARSE), NormalTail(n_normal)
    for chunk in read():
        counts.add(chunk, lambda scores: ordered(scores) >> _HALF)
        tail.add_normal(chunk)
    division = _divide(counts, n_bins)
    starts = np.concatenate(([0], np.cumsum(division)[:-1]))

    def bins_of(scores: NDArray[np.floating]) -> NDArray[np.int64]:
        codes = ordered(scores)
        coarse = codes >> _HALF
        within = (codes & np.uint32(_COARSE - 1)).astype(np.int64) * division[coarse] >> _HALF
        return np.asarray(starts[coarse] + within)

    counts, recall = _Counts.empty(int(division.sum())), ImageRecall(tail.levels())
    for chunk in read():
        counts.add(chunk, bins_of)
        recall.add_anomalous(chunk)
    return _measure(counts, division, curve_points, recall.aupimo())


def ordered(scores: NDArray[np.floating]) -> NDArray[np.uint32]:
    """Codes in the order of the scores, equal for equal ones: the bits of a float, mirrored below zero.

    Raises:
        ValueError: a score is nan, or they are not float32.
    """
    if scores.dtype != np.float32:
        message = f"scores are {scores.dtype}; streaming counts the bits of float32"
        raise ValueError(message)
    if np.isnan(scores.min(initial=0)):
        message = "a score is nan; a nan has no rank: find the method or the image that gives it"
        raise ValueError(message)
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


@dataclass(slots=True)
class _Counts:
    """What is counted in each of B bins.

    Attributes:
        normal: int64 (B,), pixels without a defect.
        anomalous: int64 (B,), defect pixels.
        weight: float64 (B,), the sum of 1 / |region| of defect pixels.
    """

    normal: NDArray[np.int64]
    anomalous: NDArray[np.int64]
    weight: NDArray[np.float64]

    @classmethod
    def empty(cls, n_bins: int) -> _Counts:
        return cls(np.zeros(n_bins, np.int64), np.zeros(n_bins, np.int64), np.zeros(n_bins))

    def add(self, chunk: Chunk, bins_of: Callable[[NDArray[np.floating]], NDArray[np.integer]]) -> None:
        """Count a chunk, some pixels at a time: what is made on the way takes 45 bytes for each of these."""
        weights = pixel_weights(chunk.masks, chunk.void)
        scores = chunk.maps.reshape(-1)
        is_defect, is_normal = chunk.defects.reshape(-1), chunk.normals.reshape(-1)
        n_bins, n_weighed = len(self.normal), 0
        for start in range(0, scores.size, _PIXELS):
            band = slice(start, start + _PIXELS)
            bins = bins_of(scores[band])
            defect = bins[is_defect[band]]
            self.normal += np.bincount(bins[is_normal[band]], minlength=n_bins)
            self.anomalous += np.bincount(defect, minlength=n_bins)
            self.weight += np.bincount(defect, weights[n_weighed : n_weighed + defect.size], minlength=n_bins)
            n_weighed += defect.size


def _divide(counts: _Counts, n_bins: int) -> NDArray[np.int64]:
    """How many bins each coarse one is divided into: at least 1, at most one for every float32.

    The error of a bin that is divided into n falls with n, from the area of its rectangle; for a given number of
    bins the sum is least when n goes with the root of the area.
    """
    root = np.sqrt(counts.normal * counts.weight)
    share = root / max(root.sum(), math.ulp(0))
    return np.asarray(np.clip(np.floor(share * n_bins), 1, _COARSE), dtype=np.int64)


def _measure(counts: _Counts, division: NDArray[np.int64], curve_points: int, aupimo: float) -> StreamedMetrics:
    """The figures of scores rounded down to the edges of their bins, and how far off that may be."""
    coarse = np.repeat(np.arange(_COARSE), division)
    within = np.arange(len(coarse)) - np.repeat(np.cumsum(division) - division, division)
    seen = np.flatnonzero(counts.normal + counts.anomalous)
    edges = _edges(coarse[seen], within[seen], division[coarse[seen]])
    normal, anomalous, weight = counts.normal[seen], counts.anomalous[seen], counts.weight[seen]
    above = np.cumsum(normal[::-1])[::-1] - normal
    next_above = np.append(edges[1:], np.float32(np.inf))
    hit = np.flatnonzero(anomalous)[::-1]
    ranking = Ranking(
        scores=edges[hit],
        above=above[hit],
        tied=normal[hit],
        anomalous=anomalous[hit],
        weight=weight[hit],
        next_above=next_above[hit],
        lowest=float(edges[0]) if seen.size else math.nan,
        n_normal=int(normal.sum()),
        n_anomalous=int(anomalous.sum()),
    )
    metrics = measure(ranking, curve_points)
    # A coarse bin with a bin for every float32 has no inside.
    unsure = (division[coarse[seen]] < _COARSE)[hit]
    return StreamedMetrics(
        metrics,
        aupimo,
        auroc_error=_error(ranking, ranking.anomalous * unsure, 1.0),
        auprc_error=_precision_error(ranking, unsure),
        aupro_error=_error(ranking, ranking.weight * unsure, PRO_LIMIT),
        aupro_005_error=_error(ranking, ranking.weight * unsure, PRO_STRICT_LIMIT),
        f1_error=_f1_error(ranking, unsure),
    )


def _edges(coarse: NDArray[np.int64], within: NDArray[np.int64], division: NDArray[np.int64]) -> NDArray[np.float32]:
    """The smallest score of each bin."""
    codes = ((coarse << _HALF) - (-(within << _HALF) // division)).astype(np.uint32)
    edges = np.where(codes >> 31, codes & np.uint32((1 << 31) - 1), ~codes).view(np.float32)
    edges[np.isnan(edges)] = -np.inf  # the codes below that of -inf, with which it shares a bin, are of no score
    return edges


def _error(ranking: Ranking, gain: NDArray[np.int64] | NDArray[np.float64], limit: float) -> float:
    """Bound of the error of the area up to a false-positive rate, divided by it.

    Args:
        ranking: of the bins that have defect pixels.
        gain: (M,) what the curve rises by in each of them, 0 where the inside is known.
        limit: the false-positive rate.
    """
    if ranking.one_class:
        return math.nan
    total = ranking.weight.sum() if gain.dtype == np.float64 else ranking.n_anomalous
    left, width = ranking.above / ranking.n_normal, ranking.tied / ranking.n_normal
    inside = np.clip(limit - left, 0, width)
    half = np.where(left + width <= limit, 0.5, 1.0)  # cut by the limit, the rest of a rectangle may be all or nothing
    return float(np.sum(half * inside * gain)) / float(total) / limit + _ROUNDING


def _precision_error(ranking: Ranking, unsure: NDArray[np.bool_]) -> float:
    """Bound of the error of the average precision.

    The figure takes the precision at the bin's lower edge for each of its defect pixels. Theirs lies between that of
    one more hit after all the bin's normal pixels, and that of all its hits before any of them.
    """
    if ranking.one_class:
        return math.nan
    hits = np.cumsum(ranking.anomalous)
    at_edge = hits / (hits + ranking.above + ranking.tied)
    first = hits - ranking.anomalous + 1
    least, most = first / (first + ranking.above + ranking.tied), hits / (hits + ranking.above)
    lower, higher = ((gap * unsure * ranking.anomalous).sum() for gap in (at_edge - least, most - at_edge))
    return float(max(lower, higher)) / ranking.n_anomalous + _ROUNDING


def _f1_error(ranking: Ranking, unsure: NDArray[np.bool_]) -> float:
    """How much larger F1 may be inside a bin than at the best edge: were its hits to come before its normal pixels."""
    if ranking.one_class:
        return math.nan
    hits = np.cumsum(ranking.anomalous)
    most = 2 * hits / (hits + ranking.above + ranking.tied * ~unsure + ranking.n_anomalous)
    return float(most.max()) - ranking.largest_f1().f1 + _ROUNDING
