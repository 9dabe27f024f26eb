"""Images that are in memory, as a method's score steps read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class HeldFeatures:
    """See `adloc.methods.detector.Features`.

    Attributes:
        maps: {layer: float32 (N, C, H, W)}, on the CPU.
        image_size: (height, width) of the backbone's input.
    """

    maps: Mapping[str, Tensor]
    image_size: tuple[int, int]

    @property
    def n_images(self) -> int:
        """N."""
        return len(next(iter(self.maps.values())))

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, Tensor]]:
        """Yield {layer: float32 (n, C, H, W)} for consecutive images, n <= batch_size."""
        for start in range(0, self.n_images, batch_size):
            yield {layer: self.maps[layer][start : start + batch_size] for layer in layers}


@dataclass(frozen=True, slots=True, eq=False)
class HeldImages:
    """See `adloc.methods.detector.Images`.

    Attributes:
        pixels: uint8 (N, height, width, 3), at the input size.
    """

    pixels: NDArray[np.uint8]

    @property
    def n_images(self) -> int:
        """N."""
        return len(self.pixels)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def read(self, indices: Sequence[int]) -> Tensor:
        """Return these images as float32 (n, 3, height, width) in [0, 1]."""
        return as_input(self.pixels[list(indices)])

    def batches(self, batch_size: int = 32) -> Iterator[Tensor]:
        """Yield consecutive images, n <= batch_size."""
        for start in range(0, self.n_images, batch_size):
            yield as_input(self.pixels[start : start + batch_size])


def as_input(pixels: NDArray[np.uint8]) -> Tensor:
    """float32 (n, 3, height, width) in [0, 1] of uint8 (n, height, width, 3): the values of `prepare_image`."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)) / 255
