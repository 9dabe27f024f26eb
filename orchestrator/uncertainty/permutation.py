"""The paired permutation test of two AUROCs: exact where images are too few for any formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_EXACT = 12  # images: 4,096 ways to swap; above it they are drawn
N_SWAPS = 20_000


def swap_p(a: NDArray[np.floating], b: NDArray[np.floating], labels: NDArray[np.bool_], seed: int = 0) -> float:
    """Two-sided p of "the detectors are exchangeable", by swapping their ranks image by image.

    Scores of two detectors have no common unit; their ranks among all images do. Source: Venkatraman and Begg,
    Biometrika 83, 1996; the statistic is the difference of the areas (Bandos, Rockette and Gur, Statistics in
    Medicine 24, 2005). Up to 12 images all swaps are counted, above it 20,000 are drawn.

    Args:
        a: (N,) scores of the first.
        b: (N,) of the second, of the same images.
        labels: (N,) True = anomalous, both classes present.
        seed: of the drawn swaps.
    """
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(a), rankdata(b)])  # (2, N)
    n = labels.size
    if n <= MOST_EXACT:
        swaps = (np.arange(2**n)[:, None] >> np.arange(n)) % 2 == 1
    else:
        drawn = np.random.default_rng(seed).random((N_SWAPS, n)) < 0.5  # noqa: PLR2004  a fair coin
        swaps = np.concatenate((np.zeros((1, n), dtype=bool), drawn))  # what was observed is one of them
    first, second = np.where(swaps, ranks[1], ranks[0]), np.where(swaps, ranks[0], ranks[1])
    gaps = np.abs(_aurocs(first, labels) - _aurocs(second, labels))
    return float((gaps >= gaps[0] - 1e-9).mean())


def _aurocs(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each row of scores (R, N) => (R,); ties count half."""
    total = np.zeros(len(scores))
    normal = np.sort(scores[:, ~labels], axis=1)
    for column in scores[:, labels].T:
        total += (normal < column[:, None]).sum(axis=1) + 0.5 * (normal == column[:, None]).sum(axis=1)
    return np.asarray(total / (int(labels.sum()) * int((~labels).sum())), dtype=np.float64)
