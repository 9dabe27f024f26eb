"""How a memory bank is made of training patches, and how patches are embedded to be compared with it.

Notation: H x W the patch grid, D values an embedding, d a projected one, n training patches, m of them in the bank.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.detector import Result
from adloc.methods.embedding import embed, embed_projected, embed_some
from adloc.methods.patchcore.coreset import pick_greedily, projection_matrix
from adloc.methods.patchcore.partitioned import pick_in_parts
from adloc.methods.patchcore.possible import count_picks
from adloc.methods.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from adloc.methods.detector import StepContext
    from adloc.methods.patchcore.params import MemoryBankParams

# Images embedded at a time. Few, so that what is made on the way stays below the 32 MB from which on glibc asks the
# system for fresh pages each time: 1.5 ms an image of ResNet-50's shapes on one core, instead of 5.7 ms for 16.
_BATCH = 2
_SEARCHED = 16  # images searched at a time: 77 MB for 28 x 28 patches of 1536 values


def make_bank(context: StepContext, params: MemoryBankParams, keep: NDArray[np.bool_] | None = None) -> Result:
    """Pick the coreset at the largest ratio and gather its embeddings.

    The features are read twice: once to project every patch, once to embed the picked ones, so that the D values of
    all patches never exist, unless there is no projection.

    Args:
        context: of the fit, with at least one image.
        params: of the fit.
        keep: bool (n,), the patches that may be picked, image by image, row by row; None for all of them.

    Returns:
        Arrays: `order` int64 (m,), indices into the n training patches in the order of picking; `radius` float32
        (m,), the covering radius after each pick, in projected units; `elapsed_s` float32 (m,), seconds from the
        start of picking; `bank` (m, D) in `bank_dtype`. The first entries are those of any smaller ratio. Facts:
        n_images, grid_height, grid_width, n_patches (those that could be picked), dimension (D), projected_dimension,
        embed_s and gather_s of the two passes; of a partitioned coreset `reach` (see `Coreset`).

    Raises:
        MethodError: a feature is not finite.
    """
    start = time.perf_counter()
    projected, dimension = project_patches(context, params)
    _, height, width, _ = projected.shape
    points = projected.flatten(0, 2)
    if keep is not None:
        points = points[torch.from_numpy(keep).to(points.device)]
    embedded = time.perf_counter()
    pick = pick_in_parts if params.coreset == "partitioned" else pick_greedily
    picked = pick(points, count_picks(params.coreset_ratio, len(points)))
    order = picked.order if keep is None else np.flatnonzero(keep)[picked.order]
    gathering = time.perf_counter()
    bank = _gather(context, params, order, (height * width, dimension))
    return Result(
        arrays={"order": order, "radius": picked.radius, "elapsed_s": picked.elapsed_s, "bank": bank},
        facts={
            "n_images": context.features.n_images,
            "grid_height": height,
            "grid_width": width,
            "n_patches": len(points),
            "dimension": dimension,
            "projected_dimension": points.shape[1],
            "embed_s": embedded - start,
            "gather_s": time.perf_counter() - gathering,
            **({"reach": picked.reach} if params.coreset == "partitioned" else {}),
        },
    )


def project_patches(context: StepContext, params: MemoryBankParams) -> tuple[Tensor, int]:
    """Every patch of a train part on the random projection, float32 (N, H, W, d), and D.

    Without a projection these are the embeddings themselves, and d is D.
    """
    dimension, matrix = _projection(context, params)

    def project(features: dict[str, Tensor]) -> Tensor:
        return embed(features, params) if matrix is None else embed_projected(features, params, matrix)

    projected: Tensor | None = None
    n_made = 0
    for made in spread(project, _batches(context, params)):
        if projected is None:  # all of it at once: parts that are put together at the end would be held twice
            projected = made.new_empty(context.features.n_images, *made.shape[1:])
        projected[n_made : n_made + len(made)] = made
        n_made += len(made)
    if projected is None:
        message = "there is no image to project"
        raise ValueError(message)
    return projected, dimension


def embed_parts(context: StepContext, params: MemoryBankParams) -> Iterator[NDArray[np.float32]]:
    """Embeddings of consecutive images, float32 (<= 16, H, W, D), in memory that the next ones are written to."""
    held = np.empty(0, np.float32)
    n_held = 0
    for features in _batches(context, params):
        made = embed(features, params)
        if not len(held):
            held = np.empty((min(_SEARCHED, context.features.n_images), *made.shape[1:]), np.float32)
        if n_held + len(made) > len(held):
            yield held[:n_held]
            n_held = 0
        torch.from_numpy(held[n_held : n_held + len(made)]).copy_(made)
        n_held += len(made)
    if n_held:
        yield held[:n_held]


def _batches(context: StepContext, params: MemoryBankParams) -> Iterator[dict[str, Tensor]]:
    """Features of a few consecutive images at a time, on the device."""
    for features in context.features.batches(params.layers, _BATCH):
        yield {layer: each.to(context.device) for layer, each in features.items()}


def _count(features: Mapping[str, Tensor]) -> int:
    """How many images."""
    return len(next(iter(features.values())))


def _projection(context: StepContext, params: MemoryBankParams) -> tuple[int, Tensor | None]:
    """D, and the matrix float32 (D, projection_dim) on the device, if there is to be one."""
    first = next(iter(context.features.batches(params.layers, 1)))
    dimension = sum(first[layer].shape[1] for layer in params.layers)
    matrix = projection_matrix(dimension, params.projection_dim, context.seed)
    return dimension, None if matrix is None else matrix.to(context.device)


def _gather(
    context: StepContext, params: MemoryBankParams, order: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.floating]:
    """The embeddings of the picked patches (m, D), in the order of picking and the bank's dtype.

    Args:
        context: of the fit.
        params: of the fit.
        order: the picks.
        shape: patches an image, and D.
    """
    n_patches, dimension = shape
    by_index = np.argsort(order)
    images, places = np.divmod(order[by_index], n_patches)

    bank = np.empty((len(order), dimension), np.dtype(params.bank_dtype))

    def embed_picks(batch: tuple[int, dict[str, Tensor]]) -> None:
        first, features = batch
        low, high = np.searchsorted(images, (first, first + _count(features)))
        if low < high:
            rows = torch.from_numpy((images[low:high] - first) * n_patches + places[low:high])
            bank[by_index[low:high]] = embed_some(features, params, rows.to(context.device)).cpu().numpy()

    def numbered() -> Iterator[tuple[int, dict[str, Tensor]]]:
        first = 0
        for features in _batches(context, params):
            yield first, features
            first += _count(features)

    for _ in spread(embed_picks, numbered()):
        pass  # each fills its own rows
    return bank
