"""A few numbers of an image that move when light, lens or camera move, for the drift watch.

Each image's numbers follow from that image alone, to the bit: no batch, no order. The watch looks at their ranks only,
so their units and scales do not matter.

Notation: N images, S statistics, L layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PIXEL_STATISTICS = ("brightness", "contrast", "sharpness", "red", "blue")
_LUMA = (299, 587, 114)  # thousandths of red, green and blue: Rec. ITU-R BT.601, as Pillow's "L"


def pixel_statistics(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The statistics of `PIXEL_STATISTICS`, float64 (N, 5).

    brightness: mean luma, 0 to 255. contrast: standard deviation of luma. sharpness: mean square of luma's Laplacian
    over four neighbours, divided by luma's variance: falls with blur, grows with noise, and knows nothing of brightness
    and contrast; 0 for a flat image. red, blue: their shares of the sum of the three channels; 1/3 for a black image.

    Args:
        images: RGB (N, height, width, 3), at the model's input size, at least 3 x 3.

    Raises:
        ValueError: not uint8, or another shape.
    """
    least = 3  # pixels a side that have four neighbours somewhere
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < least:  # noqa: PLR2004
        raise ValueError(f"{images.dtype} {images.shape}: it must be uint8 (N, height, width, 3), 3 x 3 or more")
    return np.array([_of_pixels(image) for image in images]).reshape(-1, len(PIXEL_STATISTICS))


def feature_names(layers: tuple[str, ...]) -> tuple[str, ...]:
    """Names of what `feature_statistics` gives for these layers.

    Example:
        >>> feature_names(("layer2",))
        ('layer2 level', 'layer2 energy')
    """
    return tuple(f"{layer} {name}" for layer in layers for name in ("level", "energy"))


def feature_statistics(maps: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
    """For each layer, in the order of `maps`: level, the mean; energy, the root of the mean square: float64 (N, 2 L).

    Args:
        maps: {layer: (N, C, H, W)}, all with the same N.

    Raises:
        ValueError: no layer, or numbers of images that differ.
    """
    if len({len(array) for array in maps.values()}) != 1:
        raise ValueError(f"maps of {[array.shape for array in maps.values()]}")
    columns = [[_of_map(each) for each in array] for array in maps.values()]
    return np.concatenate([np.array(column, np.float64).reshape(-1, 2) for column in columns], axis=1)


def _of_pixels(image: NDArray[np.uint8]) -> tuple[float, ...]:
    """The five statistics of one image."""
    channels = image.astype(np.int64)
    thousandths = sum(weight * channels[:, :, c] for c, weight in enumerate(_LUMA))
    luma = np.asarray(thousandths) / 1000  # of integers, so that a flat image is exactly flat
    inner = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    variance = 0.0 if luma.min() == luma.max() else float(luma.var())
    sharpness = float((laplacian**2).mean()) / variance if variance else 0.0
    sums = channels.sum(axis=(0, 1))
    red, _, blue = sums / sums.sum() if sums.any() else (1 / 3, 1 / 3, 1 / 3)
    return float(luma.mean()), variance**0.5, sharpness, float(red), float(blue)


def _of_map(array: NDArray[np.floating]) -> tuple[float, float]:
    """Mean, and root of the mean square, of one image's maps (C, H, W) of a layer."""
    values = array.astype(np.float64)
    return float(values.mean()), float((values**2).mean()) ** 0.5
