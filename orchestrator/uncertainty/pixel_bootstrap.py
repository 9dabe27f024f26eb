"""Pixel metrics in every resample of the images, from a small count for each image instead of its pixels.

For N images and B score edges it is kept, image by image, how many normal pixels score at least each edge, how
many defect pixels do, and the sum over the image's defect regions of the share of each that does. Sums of these
over the images of a resample are the points of its ROC and PRO curves at the edges; between them the curves are
taken as straight. With the edges below the areas differ from the exact ones by less than 0.002 (a test measures
it); intervals are moved so that they belong to the exact figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from adloc.metrics.regions import PRO_LIMIT, PRO_STRICT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from adloc.uncertainty.resampling import Weights

NAMES = ("pixel_normal", "pixel_defect", "pixel_overlap", "pixel_regions")
_STEP = 31  # every so many pixels are looked at to place the edges; prime, so not in step with image rows


@dataclass(frozen=True, slots=True, eq=False)
class PixelCounts:
    """What the pixel metrics of any resample follow from. Edges descend; the last one is -inf: all pixels.

    Attributes:
        normal: uint32 (N, B) normal pixels that score at least the edge.
        defect: uint32 (N, B) defect pixels that do.
        overlap: float32 (N, B) sum over the image's regions of the share of its pixels that do.
        regions: uint32 (N,) defect regions of the image.
    """

    normal: NDArray[np.uint32]
    defect: NDArray[np.uint32]
    overlap: NDArray[np.float32]
    regions: NDArray[np.uint32]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """By the names under which results and records keep them."""
        return dict(zip(NAMES, (self.normal, self.defect, self.overlap, self.regions), strict=True))

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.generic]]) -> PixelCounts | None:
        """The counts among these arrays; None where they are not (results of earlier versions)."""
        if any(name not in arrays for name in NAMES):
            return None
        return cls(*(np.asarray(arrays[name]) for name in NAMES))


def count_pixels(
    maps: NDArray[np.floating], masks: NDArray[np.bool_], void: NDArray[np.bool_] | None = None
) -> PixelCounts | None:
    """Count the pixels of each image at edges that follow the scores of all.

    The edges are quantiles of normal scores, dense at their upper end where PRO is measured, and of defect
    scores. About 1 ms an image of 224 x 224.

    Args:
        maps: (N, height, width), raw scores.
        masks: of the same shape, True on defect pixels.
        void: of the same shape, True on pixels that count neither way; None for none.

    Returns:
        None where pixel metrics are not defined: no pixel is defective, or all are.
    """
    defects, normals = (masks, ~masks) if void is None else (masks & ~void, ~(masks | void))
    if not defects.any() or not normals.any():
        return None
    edges = _edges(maps, normals, defects)
    n, n_edges = len(maps), edges.size + 1
    counts = PixelCounts(
        np.zeros((n, n_edges), np.uint32),
        np.zeros((n, n_edges), np.uint32),
        np.zeros((n, n_edges), np.float32),
        np.zeros(n, np.uint32),
    )
    for index, (scores, mask, normal, defect) in enumerate(zip(maps, masks, normals, defects, strict=True)):
        counts.normal[index] = _reached(np.sort(scores[normal]), edges)
        if not defect.any():
            continue
        counts.defect[index] = _reached(np.sort(scores[defect]), edges)
        n_labels, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        for label in range(1, n_labels):
            region = np.sort(scores[(labels == label) & defect])
            if region.size:  # not all of it is void
                counts.regions[index] += 1
                counts.overlap[index] += _reached(region, edges) / np.float32(region.size)
    return counts


def pixel_replicates(counts: PixelCounts, weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The pixel metrics in each resample of the images, by result column => (R,) each.

    Args:
        counts: of the N images.
        weights: (R, N); every resample draws an anomalous image, or its figures are nan.
    """
    normal = weights @ counts.normal.astype(np.float32)  # (R, B)
    defect = weights @ counts.defect.astype(np.float32)
    # Shares, unlike counts, are rounded in float32, in an order that follows the number of threads; float64 holds their
    # sums exactly.
    overlap = (weights.astype(np.float64) @ counts.overlap.astype(np.float64)).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = _from_zero(normal / normal[:, -1:])
        detected = _from_zero(defect / defect[:, -1:])
        covered = _from_zero(overlap / (weights @ counts.regions.astype(np.float32))[:, None])
    return {
        "pixel_auroc": np.asarray(np.trapezoid(detected, x, axis=1), dtype=np.float32),
        "pixel_aupro": _areas_up_to(x, covered, PRO_LIMIT),
        "pixel_aupro_005": _areas_up_to(x, covered, PRO_STRICT_LIMIT),
    }


def _edges(maps: NDArray[np.floating], normals: NDArray[np.bool_], defects: NDArray[np.bool_]) -> NDArray[np.floating]:
    flat, is_normal = maps.reshape(-1), normals.reshape(-1)
    normal = flat[::_STEP][is_normal[::_STEP]]
    normal = normal if normal.size else flat[is_normal]
    defect = flat[defects.reshape(-1)][::_STEP]
    rates = np.concatenate((np.geomspace(1e-4, 0.02, 20), np.linspace(0.025, 0.35, 40), np.linspace(0.4, 0.98, 16)))
    edges = np.concatenate((np.quantile(normal, 1 - rates), np.quantile(defect, np.linspace(0, 1, 33))))
    return np.unique(edges.astype(maps.dtype))[::-1]


def _reached(ascending: NDArray[np.floating], edges: NDArray[np.floating]) -> NDArray[np.uint32]:
    """How many of the sorted scores are at least each edge, and how many there are."""
    found = np.empty(edges.size + 1, np.uint32)
    found[:-1] = ascending.size - np.searchsorted(ascending, edges, side="left")
    found[-1] = ascending.size
    return found


def _from_zero(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """With the curve's first point, where nothing is flagged."""
    return np.concatenate((np.zeros((len(shares), 1), np.float32), shares), axis=1)


def _areas_up_to(x: NDArray[np.float32], y: NDArray[np.float32], limit: float) -> NDArray[np.float32]:
    """The area under each curve (R, B + 1) from 0 to `limit`, divided by it; linear between the points."""
    left, right = x[:, :-1], x[:, 1:]
    width = right - left
    inside = np.clip(limit - left, 0, width)
    share = np.divide(inside, width, out=np.zeros_like(width), where=width > 0)
    y_end = y[:, :-1] + (y[:, 1:] - y[:, :-1]) * share
    area = (inside * (y[:, :-1] + y_end) / 2).sum(axis=1) / limit
    return np.asarray(np.minimum(area, 1), dtype=np.float32)
