"""A Gaussian of whole images (Rippel, Mertens and Merhof 2020, arXiv 2005.14140), and the distance to it.

With f_l(y) the channel means of image y in layer l, m_l the mean of the training images' and S_l their covariance,
shrunk as Ledoit and Wolf say,

    score(y) = sum over the layers of  sqrt((f_l(y) - m_l)^T S_l^-1 (f_l(y) - m_l))

It says that an image is anomalous and not where: there are no maps.

Notation: N images, D channels of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.detector import Result
from adloc.methods.errors import MethodError
from adloc.methods.mahalanobis.params import MahalanobisParams
from adloc.methods.params import narrow
from adloc.methods.pooled import pool_images
from adloc.methods.workers import spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel
    from torch import Tensor

    from adloc.methods.detector import StepContext

_FEWEST = 3  # images


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """A Gaussian of D dimensions.

    Attributes:
        mean: float64 (D,).
        covariance: float64 (D, D).
        shrinkage: from 0, the covariance of the observations, to 1, the same variance in every direction.
    """

    mean: Tensor
    covariance: Tensor
    shrinkage: float


class Mahalanobis:
    """The steps of the method."""

    def gaussians(self, context: StepContext) -> Result:
        """Fit a Gaussian to the channel means of each layer.

        Returns:
            Arrays, for each layer: `mean.LAYER` float64 (D,); `whitening.LAYER` float64 (D, D), the W for which
            W^T W is the inverse covariance, lower triangular. Facts: n_images, and `shrinkage.LAYER`.

        Raises:
            MethodError: fewer than three images, or images that differ in too few ways.
        """
        params, n_images = narrow(context.params, MahalanobisParams), context.features.n_images
        if n_images < _FEWEST:
            raise MethodError(
                f"mahalanobis: {n_images} training image{'' if n_images == 1 else 's'}",
                f"a covariance that can be inverted needs at least {_FEWEST}",
                "add normal images, or raise split.train_fraction",
            )
        arrays: dict[str, NDArray[np.float64]] = {}
        facts: dict[str, float] = {}
        vectors = pool_images(context.features, params.layers)
        fitted = spread(lambda each: _fit_whitened(torch.from_numpy(each)), vectors.values())
        for layer, (gaussian, whitening) in zip(vectors, fitted, strict=True):
            if whitening is None:
                raise MethodError(
                    f"mahalanobis: the training images are too alike in {layer} to give a covariance",
                    "they must differ in more directions than one",
                    "look for copies of one image in the train part",
                )
            arrays[f"mean.{layer}"] = gaussian.mean.numpy()
            arrays[f"whitening.{layer}"] = whitening.numpy()
            facts[f"shrinkage.{layer}"] = gaussian.shrinkage
        return Result(arrays, {"n_images": n_images, **facts})

    def scores(self, context: StepContext) -> Result:
        """Sum the distances of each image to the Gaussians of the layers.

        Returns:
            Arrays: `image_scores` float32 (N,).
        """
        layers, fitted = narrow(context.params, MahalanobisParams).layers, context.results["gaussians"].arrays
        total = np.zeros(context.features.n_images)
        for layer, vectors in pool_images(context.features, layers).items():
            deviations = vectors.astype(np.float64) - fitted[f"mean.{layer}"]
            whitening = np.asarray(fitted[f"whitening.{layer}"])
            # Image by image: a product of several rounds in other ways for other numbers of them.
            total += [float(np.linalg.norm(whitening @ deviation)) for deviation in deviations]
        return Result({"image_scores": total.astype(np.float32)})

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: BaseModel
    ) -> NDArray[np.float32]:
        """Refuse: there are none.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("this method scores whole images")

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:  # noqa: ARG002
        """Seconds of the fit."""
        return results["gaussians"].seconds

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:  # noqa: ARG002
        """Bytes of means and whitening matrices."""
        return sum(int(array.nbytes) for array in results["gaussians"].arrays.values())

    def fit_facts(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, float]:
        """The shrinkage of each layer: near 1, little of the covariance is believed."""
        facts = results["gaussians"].facts
        return {
            f"shrinkage_{each}": float(facts[f"shrinkage.{each}"]) for each in narrow(params, MahalanobisParams).layers
        }


def fit_gaussian(observations: Tensor) -> Gaussian:
    """Fit a Gaussian whose covariance is shrunk towards equal variances (Ledoit and Wolf 2004, section 3).

    With x_n the deviations from the mean, S = sum x_n x_n^T / N, m = tr(S) / D, and norms those of Frobenius
    squared over D,

        covariance = (1 - s) S + s m I    with    s = min(b, d) / d,
        d = ||S - m I||,    b = sum ||x_n x_n^T - S|| / N^2

    as in scikit-learn's `ledoit_wolf`, which is the reference of its test.

    Args:
        observations: (N, D).
    """
    n, dimension = observations.shape
    mean = observations.double().mean(dim=0)
    deviations = observations.double() - mean
    empirical = deviations.T @ deviations / n
    variance = float(empirical.trace()) / dimension
    identity = torch.eye(dimension, dtype=torch.float64)
    distance = float((empirical - variance * identity).square().sum()) / dimension
    # sum ||x x^T - S||^2 = sum |x|^4 - N ||S||^2
    fourth = float(deviations.square().sum(dim=1).square().sum())
    spread_of_it = (fourth - n * float(empirical.square().sum())) / (dimension * n**2)
    shrinkage = min(max(spread_of_it, 0.0), distance) / distance if distance > 0 else 0.0
    return Gaussian(mean, (1 - shrinkage) * empirical + shrinkage * variance * identity, shrinkage)


def _fit_whitened(observations: Tensor) -> tuple[Gaussian, Tensor | None]:
    """A Gaussian, and its inverse Cholesky factor; None where the covariance has no inverse."""
    gaussian = fit_gaussian(observations)
    factor, failed = torch.linalg.cholesky_ex(gaussian.covariance)
    if failed:
        return gaussian, None
    identity = torch.eye(len(factor), dtype=torch.float64)
    return gaussian, torch.linalg.solve_triangular(factor, identity, upper=False)
