"""Localisation: per-region overlap (PRO) and the other metrics of anomaly maps against masks.

PRO gives every defect region the same weight, however large it is: pixel AUROC is ruled by the large ones.
The overlap of a region r at a threshold is the share of its pixels that score at least the threshold. So each
pixel of r adds 1 / |r| / (number of regions) to the mean overlap once the threshold has fallen to its score:
the PRO curve is a weighted ROC curve, exact, and needs no loop over thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from adloc.metrics.chunk import Chunk
from adloc.metrics.curve import Curve, thin
from adloc.metrics.ranking import Ranker, ranked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.metrics.chunk import ReadChunks
    from adloc.metrics.ranking import BestF1, Ranking

PRO_LIMIT = 0.3
PRO_STRICT_LIMIT = 0.05
CURVE_POINTS = 500


@dataclass(frozen=True, slots=True, eq=False)
class PixelMetrics:
    """How well the anomaly maps of a part find the defects' pixels. Undefined figures are nan.

    Attributes:
        auroc: area under the ROC curve over all pixels of all images.
        auprc: average precision over the same pixels.
        aupro: PRO up to a false-positive rate of 0.3.
        aupro_005: PRO up to a false-positive rate of 0.05.
        best_f1: the largest F1 over the same pixels and its threshold: for choosing one, never a final figure.
        n_regions: defect regions.
        roc: the ROC curve, thinned for plotting.
        pro: mean per-region overlap (y) over the false-positive rate (x), thinned for plotting.
    """

    auroc: float
    auprc: float
    aupro: float
    aupro_005: float
    best_f1: BestF1
    n_regions: int
    roc: Curve
    pro: Curve


def pixel_metrics(
    maps: NDArray[np.floating],
    masks: NDArray[np.bool_],
    *,
    void: NDArray[np.bool_] | None = None,
    curve_points: int = CURVE_POINTS,
) -> PixelMetrics:
    """Every metric of all pixels together of N anomaly maps, from one sort.

    Args:
        maps: (N, height, width), raw scores; from a memory-mapped file as well.
        masks: of the same shape, True on defect pixels.
        void: of the same shape, True on pixels that count neither way, defect or not; None for none.
        curve_points: the largest number of points kept of each curve.

    Returns:
        The metrics; nan when no pixel is defective, or all are.

    Raises:
        ValueError: a score is nan, the shapes differ, or masks are not boolean.
    """
    return measure(rank_pixels(lambda: [Chunk.whole(maps, masks, void)]), curve_points)


def rank_pixels(read: ReadChunks) -> Ranking:
    """The pixels of all images ranked, from two passes; it holds the defect pixels and a chunk of the others.

    Whatever the chunks, the result has the same bits: their counts are whole numbers.

    Args:
        read: gives all chunks, the same at each of its two calls.

    Raises:
        ValueError: a score is nan, the shapes differ, or masks are not boolean.
    """
    anomalous, weights = [np.zeros(0, np.float32)], [np.zeros(0)]
    for chunk in read():
        weights.append(pixel_weights(chunk.masks, chunk.void))
        anomalous.append(ranked(chunk.maps[chunk.defects]))
    ranker = Ranker(np.concatenate(anomalous), np.concatenate(weights))
    for chunk in read():
        ranker.add(ranked(chunk.maps[chunk.normals]))
    return ranker.ranking()


def measure(ranking: Ranking, curve_points: int) -> PixelMetrics:
    """Every metric of ranked pixels, whose weights are those of `region_weights`."""
    pro = ranking.curve(ranking.weight)
    return PixelMetrics(
        auroc=ranking.auroc(),
        auprc=ranking.average_precision(),
        aupro=area_up_to(pro, PRO_LIMIT),
        aupro_005=area_up_to(pro, PRO_STRICT_LIMIT),
        best_f1=ranking.largest_f1(),
        n_regions=round(float(ranking.weight.sum())),  # each region's pixels weigh 1 together
        roc=thin(ranking.roc_curve(), curve_points),
        pro=thin(pro, curve_points),
    )


def pro_curve(maps: NDArray[np.floating], masks: NDArray[np.bool_], void: NDArray[np.bool_] | None = None) -> Curve:
    """Mean per-region overlap (y) over the false-positive rate (x), from (0, 0) to (1, 1).

    Regions are 8-connected sets of defect pixels within an image; two defects that touch are one region. The
    false-positive rate counts the non-defect pixels of all images, those of images without defects too.
    Pixels with the same score are flagged together. A void pixel counts neither way, nor towards its region's size.

    Args:
        maps: (N, height, width), raw scores.
        masks: of the same shape, True on defect pixels.
        void: of the same shape, True on void pixels; None for none.

    Returns:
        The curve; a single point of nan when no pixel is defective, or all are.

    Raises:
        ValueError: a score is nan, the shapes differ, or masks are not boolean.
    """
    ranking = rank_pixels(lambda: [Chunk.whole(maps, masks, void)])
    return ranking.curve(ranking.weight)


def aupro(maps: NDArray[np.floating], masks: NDArray[np.bool_], limit: float = PRO_LIMIT) -> float:
    """PRO: the area under the per-region-overlap curve up to a false-positive rate, divided by that rate.

    Source: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, section 5. A constant map gives
    limit / 2, not 0.5. It is not the overlap at the threshold of a study, and figures for different limits do
    not compare.

    Args:
        maps: (N, height, width), raw scores.
        masks: of the same shape, True on defect pixels.
        limit: the largest false-positive rate, in (0, 1].

    Returns:
        In [0, 1]; nan when no pixel is defective, or all are.

    Raises:
        ValueError: the limit is outside (0, 1], a score is nan, the shapes differ, or masks are not boolean.

    Example:
        >>> import numpy as np
        >>> mask = np.array([[[True, False, False, False]]])
        >>> aupro(np.array([[[0.9, 0.3, 0.2, 0.1]]], dtype=np.float32), mask)
        1.0
    """
    return area_up_to(pro_curve(maps, masks), limit)


def area_up_to(curve: Curve, limit: float) -> float:
    """The trapezoidal area below a curve from x = 0 to `limit`, divided by `limit`.

    The curve is continued linearly between its points, so at `limit` too.

    Raises:
        ValueError: the limit is outside (0, 1].
    """
    if not 0 < limit <= 1:
        message = f"the limit is {limit}; it is a false-positive rate and must be above 0 and at most 1"
        raise ValueError(message)
    x, y = curve.x, curve.y
    n_inside = int(np.searchsorted(x, limit, side="right"))
    if n_inside == 0:  # nan: the curve is undefined
        return math.nan
    if n_inside < x.size:
        slope = (y[n_inside] - y[n_inside - 1]) / (x[n_inside] - x[n_inside - 1])
        at_limit = y[n_inside - 1] + slope * (limit - x[n_inside - 1])
        x, y = np.append(x[:n_inside], limit), np.append(y[:n_inside], at_limit)
    # Rounding must not lift the area above 1; the curve itself never is above 1.
    return min(1.0, float(np.trapezoid(y, x)) / limit)


def label_regions(masks: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """The region of every defect pixel, and the number of regions.

    Args:
        masks: (N, height, width), True on defect pixels.

    Returns:
        int64 (number of defect pixels,) in the order of `masks.nonzero()`, counted from 0 over all images;
        and the number of regions.

    Raises:
        ValueError: masks are not boolean, or not of three dimensions.
    """
    masks = np.asarray(masks)
    if masks.dtype != np.bool_ or masks.ndim != 3:  # noqa: PLR2004  (N, height, width)
        message = f"masks are {masks.dtype} {masks.shape}; they must be bool (N, height, width)"
        raise ValueError(message)
    found: list[NDArray[np.int64]] = []
    n_regions = 0
    for mask in masks:
        if not mask.any():
            continue
        n_labels, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)  # 0 = no defect
        found.append(labels[mask].astype(np.int64) + (n_regions - 1))
        n_regions += n_labels - 1
    return (np.concatenate(found) if found else np.zeros(0, dtype=np.int64)), n_regions


def region_weights(region_of: NDArray[np.int64], n_regions: int) -> NDArray[np.float64]:
    """1 / |region| for every defect pixel; the curve divides by the sum, which is the number of regions."""
    if region_of.size == 0:
        return np.zeros(0)
    return (1.0 / np.maximum(1, np.bincount(region_of, minlength=n_regions)))[region_of]


def pixel_weights(masks: NDArray[np.bool_], void: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """1 / |region| for every defect pixel that is not void, in the order of `masks.nonzero()`.

    Regions are those of the whole mask: void pixels may lie inside of one, and make it smaller but not two.

    Args:
        masks: bool (N, height, width).
        void: of the same shape, or None.
    """
    region_of, n_regions = label_regions(masks)
    return region_weights(region_of if void is None else region_of[~void[masks]], n_regions)
