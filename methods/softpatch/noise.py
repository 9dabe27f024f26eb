"""How noisy a patch is among those at the same place of all training images, in three ways.

Notation: N images, H x W the patch grid, d dimensions of a projected patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from adloc.methods.workers import spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from adloc.methods.softpatch.params import SoftPatchParams

_RIDGE = 0.01  # on the diagonal of the covariance, as in PaDiM, whose Gaussian this is
_TINY = 1e-10  # keeps the density of patches that are all equal finite, as in scikit-learn


def measure_noise(patches: Tensor, params: SoftPatchParams) -> Tensor:
    """The noise of every patch, by the discriminator chosen; nearest and gaussian with 1 added, as the authors do.

    Each place by itself, with one thread: N^2 d operations, in float64.

    Args:
        patches: float32 (N, H, W, d).
        params: which discriminator.

    Returns:
        float32 (N, H, W), on the CPU: the weight of the patch, should it enter the memory bank.
    """
    measures: dict[str, Callable[[Tensor], Tensor]] = {
        "lof": lambda each: local_outlier_factors(each, params.lof_neighbours),
        "nearest": lambda each: 1 + nearest_distances(each),
        "gaussian": lambda each: 1 + gaussian_distances(each),
    }
    measure = measures[params.discriminator]
    n_images, height, width, _ = patches.shape
    places = (patches[:, row, column].double() for row in range(height) for column in range(width))
    found = torch.stack(list(spread(lambda each: measure(each).cpu(), places)))
    return found.T.reshape(n_images, height, width).float()


def local_outlier_factors(points: Tensor, k: int) -> Tensor:
    """The local outlier factor of each point among the others (Breunig et al. 2000).

    With N_k(a) the k points nearest to a, and r(a, b) the larger of |a - b| and the distance of b to its k-th
    nearest, the density of a is one over the mean of r(a, b) over b in N_k(a), and its factor the mean density of
    N_k(a) over its own: about 1 within a cluster, above 1 outside.

    Args:
        points: float64 (N, d), N at least 2.
        k: at least 1; N - 1 where there are fewer.
    """
    k = min(k, len(points) - 1)
    nearest = _distances(points).topk(k, dim=1, largest=False)
    reach = torch.maximum(nearest.values, nearest.values[:, -1][nearest.indices])
    density = 1 / (reach.mean(dim=1) + _TINY)
    return density[nearest.indices].mean(dim=1) / density


def nearest_distances(points: Tensor) -> Tensor:
    """The distance of each point to the nearest of the others: float64 (N,) of (N, d)."""
    return _distances(points).amin(dim=1)


def gaussian_distances(points: Tensor) -> Tensor:
    """The Mahalanobis distance of each point to the Gaussian of all: float64 (N,) of (N, d)."""
    deviations = points - points.mean(dim=0)
    covariance = deviations.T @ deviations / (len(points) - 1)
    covariance.diagonal().add_(_RIDGE)
    factor = torch.linalg.cholesky(covariance)
    whitened: Tensor = torch.linalg.solve_triangular(factor, deviations.T, upper=False)
    return whitened.square().sum(dim=0).sqrt()


def _distances(points: Tensor) -> Tensor:
    """Between all points, float64 (N, N); of a point to itself beyond any."""
    norms = points.square().sum(dim=1)
    squared = torch.addmm(norms, points, points.T, alpha=-2).add_(norms[:, None])
    return squared.clamp_(min=0).sqrt_().fill_diagonal_(torch.inf)
