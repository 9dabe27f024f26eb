"""Distances to the memory bank turned into patch scores and image scores.

Notation: N images, H x W patches, K neighbours; d_1 <= d_2 <= ... the distances of a patch to its neighbours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def weigh_every_patch(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """Patch scores d_1 (1 - exp(-d_1) / sum_i exp(-d_i)).

    A patch counts less the more its nearest entry stands out from the next ones. The weight depends on the
    unit of d: where activations are large it is nearly 0 for most patches, and can invert a ranking. Computed
    in float64 as 1 - 1 / sum_i exp(d_1 - d_i), for exp(-d) itself underflows from d = 745 on.

    Args:
        distances: float32 (..., K), ascending.

    Returns:
        float32 (...).
    """
    nearest = distances[..., 0].astype(np.float64)
    total = np.ones_like(nearest)
    for each in np.moveaxis(distances[..., 1:], -1, 0):
        total += np.exp(nearest - each)
    return np.asarray(nearest * (1 - 1 / total), dtype=np.float32)


def weigh_max_patch(support: NDArray[np.float32]) -> NDArray[np.float64]:
    """The weight of an image's score, 1 - exp(d(q, m*)) / sum_m exp(d(q, m)) (Roth et al. 2022, equation 7).

    q is the image's patch of the largest distance, m* its nearest bank entry; the sum goes over the entries
    around m*, itself included. The largest distance is subtracted first, so that nothing overflows.

    Args:
        support: float32 (N, K), d(q, m) with m* first.

    Returns:
        float64 (N,), from 0 to 1.
    """
    distances = support.astype(np.float64)
    powers = np.exp(distances - distances.max(axis=1, keepdims=True))
    return np.asarray(1 - powers[:, 0] / powers.sum(axis=1))


def score_images(patch_scores: NDArray[np.float32], image_score: Literal["max"] | float) -> NDArray[np.float32]:
    """The score of each image from those of its patches.

    Args:
        patch_scores: float32 (N, H, W).
        image_score: "max", or q: the mean of the top q percent, rounded up to whole patches.

    Returns:
        float32 (N,).
    """
    flat = patch_scores.reshape(len(patch_scores), -1)
    if image_score == "max":
        return np.asarray(flat.max(axis=1))
    n_patches = flat.shape[1]
    # The tolerance keeps 7 % of 100 patches at 7: 7 * 100 / 100 may come out as 7.000000000000001.
    n_top = max(1, math.ceil(image_score * n_patches / 100 - 1e-9))
    top = np.partition(flat, n_patches - n_top, axis=1)[:, n_patches - n_top :]
    return np.asarray(np.sort(top, axis=1).mean(axis=1, dtype=np.float64), dtype=np.float32)
