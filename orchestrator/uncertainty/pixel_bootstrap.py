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

from adloc.metrics.chunk import Chunk, EveryNth
from adloc.metrics.regions import PRO_LIMIT, PRO_STRICT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from adloc.metrics.chunk import ReadChunks
    from adloc.uncertainty.resampling import Weights

NAMES = ("pixel_normal", "pixel_defect", "pixel_overlap", "pixel_regions")
PRO_LIMITS = (PRO_LIMIT, PRO_STRICT_LIMIT)
_METRICS = ("pixel_auroc", "pixel_aupro", "pixel_aupro_005")
_ROWS = 64  # resamples at a time: what is in work stays in the processor's cache, and asks for no new memory
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
    return count_chunks(lambda: [Chunk.whole(maps, masks, void)])


def count_chunks(read: ReadChunks) -> PixelCounts | None:
    """As `count_pixels`, of maps that come some images at a time.

    Args:
        read: gives all chunks, the same at each of its three calls at most.
    """
    edges = _edges(read)
    if edges is None:
        return None
    normal, defect, overlap, regions = [], [], [], []
    for chunk in read():
        for scores, mask, is_normal, is_defect in zip(
            chunk.maps, chunk.masks, chunk.normals, chunk.defects, strict=True
        ):
            normal.append(_reached(np.sort(scores[is_normal]), edges))
            defect.append(_reached(np.sort(scores[is_defect]), edges))
            overlap.append(np.zeros(edges.size + 1, np.float32))
            regions.append(0)
            n_labels, labels = (
                cv2.connectedComponents(mask.astype(np.uint8), connectivity=8) if mask.any() else (0, mask)
            )
            for label in range(1, n_labels):
                region = np.sort(scores[(labels == label) & is_defect])
                if region.size:  # not all of it is void
                    regions[-1] += 1
                    overlap[-1] += _reached(region, edges) / np.float32(region.size)
    return PixelCounts(np.stack(normal), np.stack(defect), np.stack(overlap), np.array(regions, np.uint32))


def pixel_replicates(counts: PixelCounts, weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The pixel metrics in each resample of the images, by result column => (R,) each.

    Args:
        counts: of the N images.
        weights: (R, N); every resample draws an anomalous image, or its figures are nan.
    """
    # In float64 sums of counts and of shares are exact: in float32 their rounding would follow the number of threads.
    kinds = [np.asarray(each, np.float64) for each in (counts.normal, counts.defect, counts.overlap, counts.regions)]
    blocks = [_areas(kinds, weights[start : start + _ROWS]) for start in range(0, len(weights), _ROWS)]
    return {name: np.concatenate(areas) for name, areas in zip(_METRICS, zip(*blocks, strict=True), strict=True)}


def _areas(kinds: Sequence[NDArray[np.float64]], weights: Weights) -> tuple[NDArray[np.float32], ...]:
    """The metrics of some resamples."""
    drawn = weights.astype(np.float64)
    normal, defect, overlap, regions = (np.asarray(drawn @ kind, np.float32) for kind in kinds)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = _from_zero(normal / normal[:, -1:])  # (R, B)
        detected = _from_zero(defect / defect[:, -1:])
        covered = _from_zero(overlap / regions[:, None])
    return np.asarray(np.trapezoid(detected, x, axis=1), np.float32), *_areas_up_to(x, covered, PRO_LIMITS)


def _edges(read: ReadChunks) -> NDArray[np.floating] | None:
    """Descending scores at which pixels are counted; None where no pixel is defective, or all are."""
    pixels, normals, defects = (EveryNth(_STEP) for _ in range(3))
    normal, defect = [], []
    n_normal = 0
    for chunk in read():
        scores, is_normal = chunk.maps.reshape(-1), chunk.normals.reshape(-1)
        normal.append(pixels.of(scores)[normals.of(is_normal)])
        defect.append(defects.of(scores[chunk.defects.reshape(-1)]))
        n_normal += int(np.count_nonzero(is_normal))
    if n_normal == 0 or not any(each.size for each in defect):
        return None
    if not any(each.size for each in normal):  # so few that none was among those looked at
        normal = [chunk.maps[chunk.normals] for chunk in read()]
    rates = np.concatenate((np.geomspace(1e-4, 0.02, 20), np.linspace(0.025, 0.35, 40), np.linspace(0.4, 0.98, 16)))
    seen = np.concatenate(normal)
    edges = np.concatenate((np.quantile(seen, 1 - rates), np.quantile(np.concatenate(defect), np.linspace(0, 1, 33))))
    return np.unique(edges.astype(seen.dtype))[::-1]


def _reached(ascending: NDArray[np.floating], edges: NDArray[np.floating]) -> NDArray[np.uint32]:
    """How many of the sorted scores are at least each edge, and how many there are."""
    found = np.empty(edges.size + 1, np.uint32)
    found[:-1] = ascending.size - np.searchsorted(ascending, edges, side="left")
    found[-1] = ascending.size
    return found


def _from_zero(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """With the curve's first point, where nothing is flagged."""
    return np.concatenate((np.zeros((len(shares), 1), np.float32), shares), axis=1)


def _areas_up_to(x: NDArray[np.float32], y: NDArray[np.float32], limits: Sequence[float]) -> list[NDArray[np.float32]]:
    """The area under each curve (R, B + 1) from 0 to each limit, divided by it; linear between the points."""
    left, width, y_left, rise = x[:, :-1], x[:, 1:] - x[:, :-1], y[:, :-1], y[:, 1:] - y[:, :-1]
    divisor = np.maximum(width, np.finfo(np.float32).tiny)  # where nothing is wide, nothing is inside
    found: list[NDArray[np.float32]] = []
    for limit in limits:
        inside = np.minimum(np.maximum(limit - left, 0), width)
        area = (inside * (y_left + (y_left + rise * (inside / divisor))) / 2).sum(axis=1) / limit
        found.append(np.asarray(np.minimum(area, 1), dtype=np.float32))
    return found
