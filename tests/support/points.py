"""Points that a coreset is drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

KINDS = ["noise", "duplicates", "lattice", "clusters", "equal"]


def draw_points(kind: str, n_points: int, dimension: int, seed: int = 0) -> Tensor:
    """Points of several kinds; most have equal points, or equal distances."""
    rng = np.random.default_rng(seed)
    points: NDArray[np.floating | np.integer]
    if kind == "noise":
        points = rng.normal(size=(n_points, dimension))
    elif kind == "duplicates":
        few = max(n_points // 5, 1)
        points = rng.normal(size=(few, dimension))[rng.integers(0, few, n_points)]
    elif kind == "lattice":
        points = rng.integers(0, 3, size=(n_points, dimension))
    elif kind == "clusters":
        points = rng.normal(size=(7, dimension))[rng.integers(0, 7, n_points)] * 10
        points = points + rng.normal(size=(n_points, dimension)) * rng.gamma(1, 1, size=(n_points, 1))
    else:
        points = np.zeros((n_points, dimension))
    return torch.from_numpy(points.astype(np.float32))
