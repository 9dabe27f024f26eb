"""Whether PaDiM's fit and its scoring fit into memory: found before anything is allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from adloc.methods.errors import MethodError
from adloc.methods.memory import free_bytes
from adloc.methods.padim.gaussian import Shape, block_bytes, is_low_rank, is_streamed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adloc.methods.detector import Features
    from adloc.methods.padim.params import PadimParams

# Matrix products round differently for 1, 3 or 8 rows. Every batch is therefore padded to this size, and an
# image's score has the same bits wherever in whatever part it stands.
BATCH = 8
_FLOAT = 4  # bytes of a float32
_USABLE = 0.9  # of the free memory; the rest is for what is not estimated


def read_shape(features: Features, layers: Sequence[str]) -> Shape:
    """Read one image's features for their shapes."""
    first = next(iter(features.batches(layers, 1)))
    channels = tuple(first[layer].shape[1] for layer in layers)
    n_values = sum(first[layer].numel() for layer in layers)
    return Shape(features.n_images, channels, n_values, *first[layers[0]].shape[-2:])


def check_fit_memory(shape: Shape, params: PadimParams, device: torch.device) -> None:
    """Refuse a fit that does not fit."""
    positions = shape.height * shape.width

    def low_rank(n: int) -> bool:
        return is_low_rank(params.covariance, shape.n_images, n)

    def streamed(n: int) -> bool:
        return not low_rank(n) and is_streamed(shape, n)

    def kept(n: int) -> int:
        block = 0 if streamed(n) else block_bytes(shape, n, streamed=False)
        return _model_bytes(shape.n_images, params, n, positions) + block

    def working(n: int) -> int:
        block = block_bytes(shape, n, streamed=True) if streamed(n) else 0
        if low_rank(n):
            row = 2 * (3 * shape.n_images * n + 2 * shape.n_images**2)  # float64
        else:
            row = 4 * n * n + (4 * n * n if streamed(n) else 2 * shape.n_images * n)
        return _embedding_bytes(shape, n) + block + _FLOAT * shape.width * row

    _check_both("fit", kept, working, params, shape, device)


def check_leave_one_out_memory(shape: Shape, params: PadimParams, device: torch.device) -> None:
    """Refuse to leave out each image where that does not fit: as a fit, without a model but with float64 matrices."""

    def kept(n: int) -> int:
        return block_bytes(shape, n, streamed=False)

    def working(n: int) -> int:
        row = 2 * (3 * n * n + 3 * shape.n_images * n)
        return _embedding_bytes(shape, n) + _FLOAT * shape.width * row

    _check_both("leave one out of", kept, working, params, shape, device)


def check_score_memory(
    shape: Shape, params: PadimParams, n_fitted: int, size: tuple[int, int], device: torch.device
) -> None:
    """Refuse a scoring that does not fit; on the CPU the model is mapped from its file and costs nothing.

    Args:
        shape: of the scored part.
        params: of the run.
        n_fitted: vectors of the model at each position: images, or n_features.
        size: (height, width) of the maps.
        device: where distances are computed.
    """
    positions = shape.height * shape.width

    def needed(n: int) -> int:
        distances = 4 * BATCH * n * positions
        if device.type == "cpu":
            return _embedding_bytes(shape, n) + _FLOAT * (distances + 2 * BATCH * size[0] * size[1])
        return _embedding_bytes(shape, n) + _FLOAT * distances + _model_bytes(n_fitted, params, n, positions)

    _check_memory("score", needed, params, shape, device)


def _model_bytes(n_fitted: int, params: PadimParams, n_features: int, positions: int) -> int:
    each = n_fitted if is_low_rank(params.covariance, n_fitted, n_features) else n_features
    return _FLOAT * positions * n_features * (each + 1)


def _embedding_bytes(shape: Shape, n_features: int) -> int:
    """Estimate what making one batch of embeddings takes; anomalib concatenates, then selects."""
    return _FLOAT * BATCH * (shape.n_values + 3 * n_features * shape.height * shape.width)


def _check_both(
    verb: str,
    kept: Callable[[int], int],
    working: Callable[[int], int],
    params: PadimParams,
    shape: Shape,
    device: torch.device,
) -> None:
    """What is kept lies in the machine's memory; what is worked with, on the device."""
    if device.type == "cpu":
        _check_memory(verb, lambda n: kept(n) + working(n), params, shape, device)
    else:
        _check_memory(verb, kept, params, shape, torch.device("cpu"))
        _check_memory(verb, working, params, shape, device)


def _check_memory(
    verb: str, estimate: Callable[[int], int], params: PadimParams, shape: Shape, device: torch.device
) -> None:
    """Compare an estimate, a function of n_features, with the free memory."""
    free, n_features = free_bytes(device), params.n_features
    if free is None or estimate(n_features) <= _USABLE * free:
        return
    fitting = next((n for n in range(n_features, 0, -1) if estimate(n) <= _USABLE * free), 0)
    lower = f"lower n_features to {fitting} or less" if fitting else "no n_features is low enough"
    smaller = verb == "fit" and params.covariance == "full" and shape.n_images < n_features
    raise MethodError(
        f"padim: to {verb} {shape.n_images} images on a {shape.height} x {shape.width} grid with n_features "
        f"{n_features} takes {estimate(n_features) / 1e9:.3g} GB, and {device} has {free / 1e9:.3g} GB free",
        f"it must take at most {_USABLE:.0%} of the free memory",
        f"{lower}; or lower image.size, or leave out the first of layers for a coarser grid"
        + ("; or use covariance: low_rank, which keeps less where images are fewer than features" if smaller else ""),
    )
