"""The images of a part as a method that reads them is given them: at the input size, without paths or labels."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.datasets.transform import resize_and_crop
from adloc.planning.parts import in_domain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from adloc.planning.sources import ImageStage

KEPT_BYTES = 1_000_000_000  # of resized images, 8 bits a value: what a training reads once an epoch


@dataclass(slots=True)
class PartImages:
    """See `adloc.methods.detector.Images`. What is read once is kept in memory, up to `KEPT_BYTES`.

    Attributes:
        simulating_s: seconds that simulating the shift has taken, which are no cost of a method.
    """

    _stage: ImageStage = field(repr=False)
    simulating_s: float = 0.0
    _kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    _read: set[str] = field(default_factory=set, repr=False)

    @property
    def n_images(self) -> int:
        """How many images."""
        return len(self._stage.part)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self._stage.image.input_size

    def images_read(self) -> frozenset[str]:
        """SHA-256 of the images that were handed out so far."""
        return frozenset(self._read)

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """Return these images as float32 (n, 3, height, width) in [0, 1]: the values of `prepare_image`."""
        pixels = np.stack([self._pixels(index) for index in indices])
        self._read.update(self._stage.part.fingerprints[index].sha256 for index in indices)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)) / 255

    def batches(self, batch_size: int = 32) -> Iterator[torch.Tensor]:
        """Yield consecutive images, n <= batch_size."""
        for start in range(0, self.n_images, batch_size):
            yield self.read(range(start, min(start + batch_size, self.n_images)))

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        """One image, (height, width, 3)."""
        if index in self._kept:
            return self._kept[index]
        part, image = self._stage.part, self._stage.image
        sample = part.samples[index]
        read = part.decoded(index)
        start = time.perf_counter()
        picture = in_domain(read, sample, part.shift, image)
        self.simulating_s += time.perf_counter() - start
        pixels = np.ascontiguousarray(resize_and_crop(picture.image, image))
        if (len(self._kept) + 1) * pixels.nbytes <= KEPT_BYTES:
            self._kept[index] = pixels
        return pixels
