"""One vector an image: the mean of each channel over the whole feature map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from adloc.methods.detector import Features


def pool_images(features: Features, layers: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
    """Average every feature map over all its places (global average pooling).

    Summed in float64, each image by itself: its bits depend on no other.

    Args:
        features: of N images.
        layers: of C channels each.

    Returns:
        {layer: float32 (N, C)}.
    """
    found: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in layers}
    for batch in features.batches(layers):
        for layer in layers:
            found[layer] += [image.double().mean(dim=(1, 2)).float().numpy() for image in batch[layer]]
    return {layer: np.stack(vectors) for layer, vectors in found.items()}
