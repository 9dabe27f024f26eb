"""sPRO: per-region overlap that is whole once enough of a defect is found; for logical anomalies (MVTec LOCO).

Bergmann et al., "Beyond Dents and Scratches: Logical Constraints in Unsupervised Anomaly Detection and Localization",
IJCV 130, 2022, section 4. Where a screw is missing, everywhere that it could lie is marked, and it is enough to find
as many pixels as a screw has: the saturation threshold s of a region A. Its overlap with the flagged pixels P is
min(|A and P| / s, 1); sPRO is the mean over regions. Only the s highest pixels of a region can raise it, by 1 / s each,
so the curve is a weighted ROC curve as PRO's is, and exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adloc.metrics.ranking import rank
from adloc.metrics.regions import PRO_STRICT_LIMIT, area_up_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from adloc.metrics.curve import Curve


@dataclass(frozen=True, slots=True, eq=False)
class SaturatedRegion:
    """One region of an image; regions of an image may overlap.

    Attributes:
        image: its number among the maps.
        mask: bool (height, width), True on the region.
        saturation: pixels that are enough, above 0 and at most the region's; as large as the region, it is plain PRO.
    """

    image: int
    mask: NDArray[np.bool_]
    saturation: float


def saturation(area: int, threshold: float, *, relative: bool) -> float:
    """Pixels that are enough to find of a region, by an entry of MVTec LOCO's `defects_config.json`.

    Args:
        area: pixels of the region, at the size at which the threshold is stated.
        threshold: `saturation_threshold`: pixels, or with `relative_saturation` a share of the region.
        relative: `relative_saturation`.

    Example:
        >>> saturation(500, 0.4, relative=True), saturation(500, 2000, relative=False)
        (200.0, 500.0)
    """
    return min(float(area), threshold * area if relative else threshold)


def spro_curve(
    maps: NDArray[np.floating], regions: Sequence[SaturatedRegion], void: NDArray[np.bool_] | None = None
) -> Curve:
    """Mean saturated overlap of the regions (y) over the false-positive rate (x), from (0, 0) to (1, 1).

    The rate is over the pixels of all images that lie in no region. Exact; all maps must be at hand.

    Args:
        maps: (N, height, width), raw scores.
        regions: those of all images; one without a pixel is refused, for it has no overlap.
        void: of the shape of `maps`, True on pixels that count neither way, of which no region has any; None for none.

    Returns:
        The curve; a single point of nan without regions, or without pixels outside of them.

    Raises:
        ValueError: a saturation is not above 0 and at most the region's size, a region has a void pixel, a score is
            nan, or shapes differ.
    """
    inside = np.zeros(maps.shape, dtype=np.bool_)
    by_image: dict[int, list[SaturatedRegion]] = {}
    for region in regions:
        n_pixels = int(region.mask.sum())
        if not 0 < region.saturation <= n_pixels:
            message = f"a region of {n_pixels} pixels has the saturation {region.saturation}; above 0, at most its size"
            raise ValueError(message)
        inside[region.image] |= region.mask
        by_image.setdefault(region.image, []).append(region)
    weights = [np.zeros(0)]
    for image in sorted(by_image):
        own = np.zeros(maps.shape[1:])
        for region in by_image[image]:
            own[region.mask] += _gains(maps[image][region.mask], region.saturation)
        weights.append(own[inside[image]])
    if void is None:
        ranking = rank(maps, inside, np.concatenate(weights))
    elif (inside & void).any():
        raise ValueError("a region has void pixels; leave them out of its mask")
    else:
        ranking = rank(maps[~void], inside[~void], np.concatenate(weights))
    return ranking.curve(ranking.weight)


def auspro(
    maps: NDArray[np.floating],
    regions: Sequence[SaturatedRegion],
    limit: float = PRO_STRICT_LIMIT,
    void: NDArray[np.bool_] | None = None,
) -> float:
    """The area under the sPRO curve up to a false-positive rate, divided by that rate; nan where it is not defined.

    Args:
        maps: (N, height, width), raw scores.
        regions: those of all images.
        limit: the largest false-positive rate; 0.05 in the paper's tables.
        void: as in `spro_curve`.

    Raises:
        ValueError: as in `spro_curve`, or the limit is outside (0, 1].

    Example:
        >>> import numpy as np
        >>> region = SaturatedRegion(0, np.array([[True, True, False, False]]), saturation=1)
        >>> auspro(np.array([[[0.9, 0.0, 0.2, 0.1]]], dtype=np.float32), [region])
        1.0
    """
    return area_up_to(spro_curve(maps, regions, void), limit)


def _gains(scores: NDArray[np.floating], enough: float) -> NDArray[np.float64]:
    """What each pixel of a region adds to its overlap: (number of pixels,), together 1.

    Of tied pixels the last may add less than the others; they are flagged together, so their sum is what counts.
    """
    order = np.argsort(-scores, kind="stable")
    gains = np.zeros(scores.size)
    whole = math.floor(enough)
    gains[order[:whole]] = 1
    if whole < enough:
        gains[order[whole]] = enough - whole
    return gains / enough
