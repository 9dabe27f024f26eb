"""Patch maps expanded to the size at which a defect is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BORDERS = {"edge_twice": cv2.BORDER_REFLECT, "edge_once": cv2.BORDER_REFLECT_101}
_TRUNCATE = 4.0  # the Gaussian is cut off at this many sigmas


def expand_maps(
    patch_maps: NDArray[np.float32],
    size: tuple[int, int],
    sigma: float = 0.0,
    border: Literal["edge_twice", "edge_once"] = "edge_twice",
) -> NDArray[np.float32]:
    """Anomaly maps: patch maps upsampled bilinearly, then optionally blurred.

    Upsampling takes patches for areas (align_corners=False). The Gaussian's kernel reaches 4 sigma to each side; it
    is applied along one axis after the other.

    Args:
        patch_maps: float32 (N, H, W).
        size: (height, width) of the anomaly maps, in pixels.
        sigma: of the Gaussian, in pixels of the anomaly maps; 0 for none.
        border: how the map is mirrored beyond its border: with the edge twice (d c b a | a b c d), as in SciPy's
            gaussian_filter, or once (d c b | a b c d), as in anomalib's blur.

    Returns:
        float32 (N, height, width).
    """
    maps = torch.from_numpy(np.array(patch_maps, dtype=np.float32))[:, None]
    expanded = functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()
    if sigma > 0:
        side = 2 * int(_TRUNCATE * sigma + 0.5) + 1
        for index, each in enumerate(expanded):
            expanded[index] = cv2.GaussianBlur(each, (side, side), sigma, borderType=_BORDERS[border])
    return expanded
