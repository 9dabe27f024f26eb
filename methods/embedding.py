"""Patch embeddings: a value for every place of the feature maps, described by its neighbourhood.

Notation: n images, C channels of a layer, D of all layers, H x W the patch grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class EmbeddingParams(Protocol):
    """The parameters that shape an embedding."""

    @property
    def layers(self) -> tuple[str, ...]:
        """In the order in which their channels are put together."""
        ...

    @property
    def patch_size(self) -> int:
        """Odd."""
        ...

    @property
    def patch_stride(self) -> int:
        """s: every s-th patch is kept."""
        ...

    @property
    def metric(self) -> Literal["euclidean", "cosine"]:
        """Cosine: embeddings are scaled to unit length."""
        ...


def embed(features: Mapping[str, Tensor], params: EmbeddingParams) -> Tensor:
    """The embedding of every patch (Roth et al. 2022, section 3.1).

    Each layer's map is averaged over p x p neighbourhoods, stride 1, with (p - 1) / 2 zeros around it that
    count in the average (torch's AvgPool2d as it is by default): values fall off towards the border, by a
    third at an edge and by 5/9 in a corner for p = 3. Maps smaller than the largest one are upsampled to it
    bilinearly, with align_corners=False. A stride s keeps every s-th of these patches in height and in width,
    from the (s - 1) // 2-th on: the middle one of each s where s is odd.

    Args:
        features: {layer: float32 (n, C, h, w)}; the maps of the layers may differ in size.
        params: which layers, and how.

    Returns:
        float32 (n, H, W, D), contiguous, on the device of the features.
    """
    # Channels last, as the result is: a third of the time on a CPU, and the same bits.
    maps = [features[layer].contiguous(memory_format=torch.channels_last) for layer in params.layers]
    embeddings = torch.cat(_on_grid(maps, params), dim=3)
    if params.metric == "cosine":
        embeddings = functional.normalize(embeddings, dim=-1)
    return embeddings.contiguous()


def embed_some(features: Mapping[str, Tensor], params: EmbeddingParams, places: Tensor) -> Tensor:
    """The embeddings of some patches: `embed(features, params).flatten(0, 2)[places]`, the same bits.

    Channels are put together for these patches alone: a quarter of the time of `embed` for a twentieth of them.

    Args:
        features: as for `embed`.
        params: as for `embed`.
        places: int64 (p,), image by image, row by row, on the device of the features.

    Returns:
        float32 (p, D).
    """
    maps = [features[layer].contiguous(memory_format=torch.channels_last) for layer in params.layers]
    on_grid = _on_grid(maps, params)
    _, height, width, _ = on_grid[0].shape
    images, rows, columns = places // (height * width), places // width % height, places % width
    embeddings = torch.cat([each[images, rows, columns] for each in on_grid], dim=1)
    return functional.normalize(embeddings, dim=-1) if params.metric == "cosine" else embeddings


def embed_projected(features: Mapping[str, Tensor], params: EmbeddingParams, matrix: Tensor) -> Tensor:
    """The embedding of every patch times a matrix, up to float32's rounding: `embed(features, params) @ matrix`.

    Averaging, upsampling, striding and putting channels together are linear, and so is the projection: each
    layer's map is multiplied by that layer's rows of the matrix at its own size, and what follows has d
    channels instead of D. With ResNet-50's shapes and d = 128 that is a fifth of the time. Unit length is not
    linear: with the cosine metric the embedding itself is multiplied.

    Each image is multiplied by itself, so its bits do not depend on the others of a batch.

    Args:
        features: as for `embed`.
        params: as for `embed`.
        matrix: float32 (D, d), on the device of the features.

    Returns:
        float32 (n, H, W, d), contiguous.
    """
    if params.metric == "cosine":
        return torch.stack([image @ matrix for image in embed(features, params)])
    maps = [features[layer] for layer in params.layers]
    rows = torch.split_with_sizes(matrix, [each.shape[1] for each in maps])
    projected = [_multiply(each, own) for each, own in zip(maps, rows, strict=True)]
    total, *others = _on_grid(projected, params)
    for each in others:
        total = total + each
    return total.contiguous()


def _multiply(maps: Tensor, matrix: Tensor) -> Tensor:
    """Every place's channels times a matrix (C, d): (n, d, h, w) of (n, C, h, w), in channels last."""
    n_images, _, height, width = maps.shape
    products = torch.stack([image.flatten(1).T @ matrix for image in maps])
    return products.view(n_images, height, width, -1).permute(0, 3, 1, 2)


def _on_grid(maps: list[Tensor], params: EmbeddingParams) -> list[Tensor]:
    """Each layer's map (n, C, h, w), in channels last, averaged and brought to the patches kept: (n, H, W, C)."""
    size = params.patch_size
    pooled = [functional.avg_pool2d(each, size, 1, (size - 1) // 2) for each in maps]
    grid = max((tuple(each.shape[-2:]) for each in pooled), key=lambda shape: shape[0] * shape[1])
    rows, columns = (_kept(length, params.patch_stride) for length in grid)
    on_grid = [
        each
        if tuple(each.shape[-2:]) == grid
        else functional.interpolate(each, size=grid, mode="bilinear", align_corners=False)
        for each in pooled
    ]
    return [each[:, :, rows, columns].permute(0, 2, 3, 1) for each in on_grid]


def _kept(length: int, stride: int) -> slice:
    """The places kept of one side of the grid; at least one."""
    return slice(min((stride - 1) // 2, (length - 1) // 2), None, stride)
