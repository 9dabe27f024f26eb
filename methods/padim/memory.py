"""Whether PaDiM's fit and its scoring fit into memory: found before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from adloc.methods.errors import MethodError
from adloc.methods.memory import free_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adloc.methods.detector import Features

# Matrix products round differently for 1, 3 or 8 rows. Every batch is therefore padded to this size, and an
# image's score has the same bits wherever in whatever part it stands.
BATCH = 8
_FLOAT = 4  # bytes of a float32
_USABLE = 0.9  # of the free memory; the rest is for what is not estimated


@dataclass(frozen=True, slots=True)
class Shape:
    """N, the channels of every layer, the values of all of them for one image, and the first layer's grid."""

    n_images: int
    channels: tuple[int, ...]
    n_values: int
    height: int
    width: int


def read_shape(features: Features, layers: Sequence[str]) -> Shape:
    """Read one image's features for their shapes."""
    first = next(iter(features.batches(layers, 1)))
    channels = tuple(first[layer].shape[1] for layer in layers)
    n_values = sum(first[layer].numel() for layer in layers)
    return Shape(features.n_images, channels, n_values, *first[layers[0]].shape[-2:])


def check_fit_memory(shape: Shape, n_features: int, device: torch.device) -> None:
    """Refuse a fit that does not fit."""
    positions = shape.height * shape.width

    def kept(n: int) -> int:
        return _FLOAT * positions * (shape.n_images * n + n * n + n)

    def working(n: int) -> int:
        row = shape.width * (4 * n * n + 2 * shape.n_images * n)
        return _embedding_bytes(shape, n) + _FLOAT * row

    if device.type == "cpu":
        _check_memory("fit", lambda n: kept(n) + working(n), n_features, shape, device)
    else:
        _check_memory("fit", kept, n_features, shape, torch.device("cpu"))
        _check_memory("fit", working, n_features, shape, device)


def check_score_memory(shape: Shape, n_features: int, size: tuple[int, int], device: torch.device) -> None:
    """Refuse a scoring that does not fit; on the CPU the model is mapped from its file and costs nothing."""
    positions = shape.height * shape.width

    def needed(n: int) -> int:
        distances = 4 * BATCH * n * positions
        model, maps = (0, 2 * BATCH * size[0] * size[1]) if device.type == "cpu" else (positions * (n * n + n), 0)
        return _embedding_bytes(shape, n) + _FLOAT * (model + distances + maps)

    _check_memory("score", needed, n_features, shape, device)


def _embedding_bytes(shape: Shape, n_features: int) -> int:
    """Estimate what making one batch of embeddings takes; anomalib concatenates, then selects."""
    return _FLOAT * BATCH * (shape.n_values + 3 * n_features * shape.height * shape.width)


def _check_memory(
    verb: str, estimate: Callable[[int], int], n_features: int, shape: Shape, device: torch.device
) -> None:
    """Compare an estimate, a function of n_features, with the free memory."""
    free = free_bytes(device)
    if free is None or estimate(n_features) <= _USABLE * free:
        return
    fitting = next((n for n in range(n_features, 0, -1) if estimate(n) <= _USABLE * free), 0)
    lower = f"lower n_features to {fitting} or less" if fitting else "no n_features is low enough"
    raise MethodError(
        f"padim: to {verb} {shape.n_images} images on a {shape.height} x {shape.width} grid with n_features "
        f"{n_features} takes {estimate(n_features) / 1e9:.3g} GB, and {device} has {free / 1e9:.3g} GB free",
        f"it must take at most {_USABLE:.0%} of the free memory",
        f"{lower}; or lower image.size, or leave out the first of layers for a coarser grid",
    )
