"""Places of an image described by several layers, and the nearest of them in other images.

Notation: N images, H x W the grid, D channels of the pyramid, P places, k neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from adloc.methods.embedding import embed
from adloc.methods.patchcore.search import Neighbours
from adloc.methods.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from adloc.methods.detector import Features


@dataclass(frozen=True, slots=True)
class Pyramid:
    """How a place is described: the values of all layers there, deeper maps upsampled, without averaging.

    Attributes:
        layers: the channels put together.
        patch_stride: every s-th place is kept.
        patch_size: of the neighbourhood that is averaged, which SPADE does not do.
        metric: squared Euclidean distances.
    """

    layers: tuple[str, ...]
    patch_stride: int
    patch_size: int = 1
    metric: Literal["euclidean", "cosine"] = "euclidean"

    def embed_each(self, features: Features, device: torch.device) -> Iterator[Tensor]:
        """The places of each image, float32 (H, W, D)."""
        for batch in features.batches(self.layers, 1):
            yield embed({layer: each.to(device) for layer, each in batch.items()}, self)[0]


def find_in_images(
    places: Tensor, gallery: Mapping[str, NDArray[np.float32]], images: Sequence[int], pyramid: Pyramid, k: int
) -> Neighbours:
    """The k places nearest to each place of an image, of all places of some training images.

    Each training image is searched by itself, with one thread, and the lists are merged: what is found among some
    images has the same bits whichever others are searched, and on any number of cores.

    Args:
        places: float32 (P, D).
        gallery: the maps of all training images, (N, C, h, w) a layer.
        images: numbers of those to search; the lowest place in this order comes first of several as near.
        pyramid: how their places are described.
        k: at least 1; all where there are fewer.
    """
    norms = places.square().sum(dim=1)

    def search(image: int) -> Neighbours:
        maps = {layer: torch.from_numpy(np.array(gallery[layer][image : image + 1])) for layer in pyramid.layers}
        others = embed({layer: each.to(places.device) for layer, each in maps.items()}, pyramid).flatten(0, 2)
        squared = torch.addmm(others.square().sum(dim=1), places, others.T, alpha=-2).add_(norms[:, None])
        found = squared.topk(min(k, len(others)), dim=1, largest=False)
        indices = found.indices.to(torch.int32) + image * len(others)
        return Neighbours(found.values.clamp_(min=0).cpu().numpy(), indices.cpu().numpy())

    nearest = Neighbours(np.empty((len(places), 0), np.float32), np.empty((len(places), 0), np.int32))
    for found in spread(search, images):
        nearest = nearest.merged(found, k)
    return nearest
