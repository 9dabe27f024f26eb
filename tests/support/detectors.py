"""What tests of detectors share: features or images in memory, and a method's steps run one after another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from adloc.methods import load_detector
from adloc.methods.detector import ImageContext, Result, StepContext

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel
    from torch import Tensor

    from adloc.methods.method import Method

CPU = torch.device("cpu")
Results = dict[str, Result]


@dataclass(frozen=True)
class HeldFeatures:
    """Features in memory, handed out at most `largest` images at a time; notes how many were asked for."""

    maps: dict[str, Tensor]
    image_size: tuple[int, int] = (48, 80)
    largest: int = 1000
    batch_sizes: list[int] = field(default_factory=list)

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(next(iter(self.maps.values())))

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, Tensor]]:
        """Yield consecutive images."""
        self.batch_sizes.append(batch_size)
        step = min(batch_size, self.largest)
        for start in range(0, self.n_images, step):
            yield {layer: self.maps[layer][start : start + step] for layer in layers}

    def pick(self, *images: int) -> HeldFeatures:
        """Keep the named images, in this order."""
        return replace(self, maps={layer: maps[list(images)] for layer, maps in self.maps.items()})


@dataclass(frozen=True)
class HeldImages:
    """Images in memory, float32 (N, 3, height, width), handed out at most `largest` at a time."""

    pixels: Tensor
    largest: int = 1000

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(self.pixels)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.pixels.shape[-2:]
        return int(height), int(width)

    def read(self, indices: Sequence[int]) -> Tensor:
        """Give the named images."""
        return self.pixels[list(indices)]

    def batches(self, batch_size: int = 32) -> Iterator[Tensor]:
        """Yield consecutive images."""
        yield from self.pixels.split(min(batch_size, self.largest))

    def pick(self, *images: int) -> HeldImages:
        """Keep the named images, in this order."""
        return replace(self, pixels=self.pixels[list(images)])


def draw_images(n_images: int, seed: int) -> HeldImages:
    """Noise of 12 x 20 pixels in 256 levels, as of 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    return HeldImages(torch.randint(256, (n_images, 3, 12, 20), generator=generator).float() / 255)


def draw_features(n_images: int, seed: int) -> HeldFeatures:
    """Four layers of positive noise, on maps of 12 x 20, 6 x 10, 3 x 5 and 2 x 3."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"layer1": (6, 12, 20), "layer2": (8, 6, 10), "layer3": (12, 3, 5), "layer4": (16, 2, 3)}
    return HeldFeatures({layer: torch.rand(n_images, *shape, generator=generator) for layer, shape in shapes.items()})


def draw_two_layers(n_images: int, seed: int, odd: int | None = None) -> HeldFeatures:
    """Two layers of noise on maps of 6 x 10 and 3 x 5; image number `odd` has a patch like no other's."""
    generator = torch.Generator().manual_seed(seed)
    maps = {
        "layer2": torch.rand((n_images, 8, 6, 10), generator=generator),
        "layer3": torch.rand((n_images, 12, 3, 5), generator=generator),
    }
    if odd is not None:
        maps["layer2"][odd, :, 2, 7] += 4.0
    return HeldFeatures(maps)


def take(
    method: Method,
    params: BaseModel,
    train: HeldFeatures | HeldImages,
    scored: HeldFeatures | HeldImages,
    seed: int = 0,
) -> Results:
    """All steps of a method: fitted on one part, the other scored."""
    detector = load_detector(method)
    results: Results = {}
    for step in (each for each in method.steps if each.is_taken(params)):
        part = scored if step.part == "score" else train
        context = (
            ImageContext(params, part, dict(results), seed, CPU)
            if isinstance(part, HeldImages)
            else StepContext(params, part, dict(results), seed, CPU)
        )
        results[step.name] = getattr(detector, step.name)(context)
    return results
