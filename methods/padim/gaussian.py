"""The Gaussian of every patch position, from embeddings of which only some rows of the grid are held at a time.

Three ways that give the same distances (the tests say how nearly):

- by anomalib's own fit, from all observations of a position at once: the bits are anomalib's;
- from sums over the images (`is_streamed`), where the observations would be many times larger than what is made of
  them: one pass over thousands of images instead of one for every few rows;
- as a covariance of low rank and a ridge, where N < C: it has at most rank N - 1, so N vectors of C values say what
  C x C inverses say, and only N x N matrices are factored.

Notation: N images, C channels kept, H x W the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from adloc.methods.padim.explaining import RIDGE
from adloc.methods.workers import by_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from adloc.methods.anomalib.library import PadimModel

    # Embeddings (n, C, H, W) of all images in their order, on the CPU; anew at every call.
    Embeddings = Callable[[], Iterator[torch.Tensor]]
    Floats = NDArray[np.float32]

BLOCK_BYTES = 2**29  # of observations, or of sums over them, that are held at a time
_TOGETHER = 32  # images that enter the sums at once


@dataclass(frozen=True, slots=True)
class Shape:
    """N, the channels of every layer, the values of all of them for one image, and the first layer's grid."""

    n_images: int
    channels: tuple[int, ...]
    n_values: int
    height: int
    width: int


def is_streamed(shape: Shape, n_features: int) -> bool:
    """Whether sums over the images are kept in place of the observations.

    These fill more than one block, and take more than the float64 products (N images against 2 C).
    """
    return _row_bytes(shape, n_features) * shape.height > BLOCK_BYTES and shape.n_images > 2 * n_features


def is_low_rank(covariance: Literal["full", "low_rank"], n_images: int, n_features: int) -> bool:
    """Whether factors are kept: they are asked for, and less than inverses."""
    return covariance == "low_rank" and n_images < n_features


def block_bytes(shape: Shape, n_features: int, *, streamed: bool) -> int:
    """What is held at a time beside the model: a block, or one row where that is more."""
    row = _sums_bytes(shape, n_features) if streamed else _row_bytes(shape, n_features)
    return row * _rows_at_once(row, shape.height)


def observe(embeddings: Embeddings, shape: Shape, n_features: int) -> Iterator[torch.Tensor]:
    """The observations of each row of the grid, (N, C, W), in one pass over the images for every block of rows.

    A row's lie together, and are fitted twice as fast. Each is valid until the next is asked for.
    """
    at_once = _rows_at_once(_row_bytes(shape, n_features), shape.height)
    block = torch.empty(at_once, shape.n_images, n_features, shape.width)
    for first in range(0, shape.height, at_once):
        rows = range(first, min(first + at_once, shape.height))
        start = 0
        for embedding in embeddings():
            observed = embedding[:, :, rows.start : rows.stop].permute(2, 0, 1, 3)
            block[: len(rows), start : start + len(embedding)] = observed
            start += len(embedding)
        yield from block[: len(rows)]


def fit_full(
    model: PadimModel, embeddings: Embeddings, shape: Shape, n_features: int, device: torch.device
) -> dict[str, Floats]:
    """Mean (C, H * W) and inverse covariance (H * W, C, C), as anomalib shapes them.

    Row by row of the grid, which gives the same inverses as one call and needs working copies for one row only.
    """
    mean = np.empty((n_features, shape.height * shape.width), np.float32)
    inverse_covariance = np.empty((mean.shape[1], n_features, n_features), np.float32)
    fits: Iterator[Sequence[torch.Tensor]]
    if is_streamed(shape, n_features):
        invert = partial(_invert, shape.n_images)
        fits = (by_one_thread(invert, *row) for row in _sum(embeddings, shape, n_features, device))
    else:
        rows = observe(embeddings, shape, n_features)
        fits = (by_one_thread(model.gaussian.fit, observations.to(device).unsqueeze(2)) for observations in rows)
    for row, (row_mean, row_inverse) in enumerate(fits):
        here = slice(row * shape.width, (row + 1) * shape.width)
        mean[:, here] = row_mean.cpu().numpy()
        inverse_covariance[here] = row_inverse.cpu().numpy()
    return {"mean": mean, "inverse_covariance": inverse_covariance}


def fit_low_rank(embeddings: Embeddings, shape: Shape, n_features: int, device: torch.device) -> dict[str, Floats]:
    """Mean (C, H * W) and factors F (H * W, N, C) with which an inverse covariance is (I - F^T F) / r.

    With the deviations D (N, C) from the mean and the ridge r, the covariance is D^T D / (N - 1) + r I. By the identity
    of Woodbury its inverse is (I - D^T (D D^T + r (N - 1) I)^-1 D) / r; with L the Cholesky factor of the matrix in the
    middle, F is L^-1 D. In float64, kept as float32: its rounding moves a squared distance by up to 1e-5 of the squared
    deviation, which is much where the deviations fill all C dimensions and little where they leave most to the ridge.
    """
    mean = np.empty((n_features, shape.height * shape.width), np.float32)
    factors = np.empty((mean.shape[1], shape.n_images, n_features), np.float32)
    for row, observations in enumerate(observe(embeddings, shape, n_features)):
        here = slice(row * shape.width, (row + 1) * shape.width)
        row_mean, row_factors = by_one_thread(_factor, observations.to(device).permute(2, 0, 1))
        mean[:, here] = row_mean.cpu().numpy()
        factors[here] = row_factors.cpu().numpy()
    return {"mean": mean, "factors": factors}


def low_rank_distance(embedding: torch.Tensor, statistics: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mahalanobis distances (n, 1, H, W) of embeddings (n, C, H, W); the like of anomalib's `compute_distance`.

    Args:
        embedding: of n images.
        statistics: mean and factors of `fit_low_rank`.
    """
    mean, factors = statistics
    deviations = (embedding.flatten(2) - mean).permute(2, 0, 1)  # (H * W, n, C)
    explained = (deviations @ factors.transpose(1, 2)).square().sum(2)
    squared = (deviations.square().sum(2) - explained) / RIDGE
    return squared.clamp(0).sqrt().T.reshape(len(embedding), 1, *embedding.shape[2:])


def inverses_at(fitted: Mapping[str, NDArray[np.generic]], positions: NDArray[np.int64]) -> torch.Tensor:
    """The inverse covariances of some positions of the grid, (P, C, C), whichever form was fitted."""
    if "factors" not in fitted:
        return torch.from_numpy(np.array(fitted["inverse_covariance"][positions]))
    factors = torch.from_numpy(np.array(fitted["factors"][positions])).double()
    identity = torch.eye(factors.shape[2], dtype=torch.float64)
    return (identity - factors.transpose(1, 2) @ factors) / RIDGE


def _sum(
    embeddings: Embeddings, shape: Shape, n_features: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Of each row of the grid: sums (W, C) of the observations and of their outer products (W, C, C), float64."""
    at_once = _rows_at_once(_sums_bytes(shape, n_features), shape.height)
    # Allocated once: whoever takes a row holds it until the next, so a second block would stand beside the first.
    all_sums = torch.empty(at_once * shape.width, n_features, dtype=torch.float64, device=device)
    all_products = torch.empty(*all_sums.shape, n_features, dtype=torch.float64, device=device)
    for first in range(0, shape.height, at_once):
        rows = range(first, min(first + at_once, shape.height))
        sums, products = (each[: len(rows) * shape.width].zero_() for each in (all_sums, all_products))
        parts = (embedding[:, :, rows.start : rows.stop].flatten(2) for embedding in embeddings())
        for part in _regroup(parts, _TOGETHER):
            observations = part.to(device).permute(2, 0, 1).double()  # (rows * W, n, C)
            sums += observations.sum(dim=1)
            by_one_thread(products.baddbmm_, observations.transpose(1, 2), observations)
        for start in range(0, len(sums), shape.width):
            yield sums[start : start + shape.width], products[start : start + shape.width]


def _factor(observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (C, W) and factors (W, N, C) of a row's observations (W, N, C)."""
    deviations, n_images = observations.double(), observations.shape[1]
    mean = deviations.mean(dim=1, keepdim=True)
    deviations = deviations - mean
    products = deviations @ deviations.transpose(1, 2)
    products.diagonal(dim1=1, dim2=2).add_(RIDGE * (n_images - 1))
    return mean[:, 0].T, torch.linalg.solve_triangular(torch.linalg.cholesky(products), deviations, upper=False)


def _invert(n_images: int, sums: torch.Tensor, products: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (C, W) and inverse covariance (W, C, C) of a row, with anomalib's ridge."""
    mean = sums / n_images
    covariance = (products - n_images * mean.unsqueeze(2) * mean.unsqueeze(1)) / (n_images - 1)
    covariance.diagonal(dim1=1, dim2=2).add_(RIDGE)
    return mean.T.float(), torch.linalg.inv(covariance).float()


def _regroup(parts: Iterable[torch.Tensor], n: int) -> Iterator[torch.Tensor]:
    """The same entries along the first axis, n at a time, however they come: sums round by what is summed at once."""
    waiting: torch.Tensor | None = None
    for part in parts:
        waiting = part if waiting is None else torch.cat([waiting, part])
        while len(waiting) >= n:
            yield waiting[:n]
            waiting = waiting[n:]
    if waiting is not None and len(waiting):
        yield waiting


def _row_bytes(shape: Shape, n_features: int) -> int:
    return 4 * shape.n_images * n_features * shape.width


def _sums_bytes(shape: Shape, n_features: int) -> int:
    return 8 * n_features * (n_features + 1) * shape.width


def _rows_at_once(row_bytes: int, height: int) -> int:
    return max(1, min(height, BLOCK_BYTES // row_bytes))
