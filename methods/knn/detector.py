"""DN2 (Bergman, Cohen and Hoshen 2020, arXiv 2002.10445): the distance of an image to the nearest training images.

With f(y) the channel means of image y and N_k(y) the k training images whose means are nearest to them,

    score(y) = 1/k  sum over x in N_k(y) of  |f(x) - f(y)|^2

It says that an image is anomalous and not where: there are no maps.

Notation: N images, D channels of all layers, K neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adloc.methods.detector import Result, once
from adloc.methods.errors import MethodError
from adloc.methods.knn.params import KnnParams
from adloc.methods.params import narrow
from adloc.methods.patchcore.search import MemoryBank
from adloc.methods.pooled import pool_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from adloc.methods.detector import Features, StepContext


class Knn:
    """The steps of DN2."""

    def bank(self, context: StepContext) -> Result:
        """Describe every training image by the means of its channels.

        Returns:
            Arrays: `bank` float32 (N, D). Facts: n_images.

        Raises:
            MethodError: there is no training image.
        """
        if context.features.n_images == 0:
            raise MethodError(
                "the train part has no image",
                "images are compared with normal ones, at least one",
                "raise train_fraction, or add normal images",
            )
        bank = _vectors(context.features, narrow(context.params, KnnParams))
        return Result({"bank": bank}, {"n_images": len(bank)})

    def search(self, context: StepContext) -> Result:
        """Find the training images that are nearest to each image.

        Returns:
            Arrays: `squared` float32 (N, K), squared Euclidean distances, ascending; `neighbours` int32 (N, K), the
            numbers of the training images. K is the largest number of neighbours asked for, or that of the training
            images if it is smaller; a smaller K's arrays are the first of these.
        """
        params = narrow(context.params, KnnParams)
        bank = once(context, "bank", lambda: MemoryBank(_bank(context.results), "euclidean", context.device))
        found = bank.find(_vectors(context.features, params)[:, None], params.neighbours)
        return Result({"squared": found.squared, "neighbours": found.indices})

    def scores(self, context: StepContext) -> Result:
        """Average the distances to the nearest.

        Returns:
            Arrays: `image_scores` float32 (N,).
        """
        squared = np.asarray(context.results["search"].arrays["squared"])
        return Result({"image_scores": average_nearest(squared, narrow(context.params, KnnParams).neighbours)})

    def leave_one_out(self, context: StepContext) -> Result:
        """Score every training image by its distances to the others.

        Returns:
            Arrays: `image_scores` float32 (N,).

        Raises:
            MethodError: there is no other image.
        """
        bank, k = _bank(context.results), narrow(context.params, KnnParams).neighbours
        if len(bank) == 1:
            raise MethodError(
                "there is 1 training image",
                "to score it by the others takes at least one more",
                "add normal images, or raise split.train_fraction",
            )
        found = MemoryBank(bank, "euclidean", context.device).find(bank[:, None], k + 1)
        # Itself, or where its equals have crowded it out of the list, the last one.
        own = found.indices == np.arange(len(bank))[:, None]
        own[~own.any(axis=1), -1] = True
        squared = found.squared[~own].reshape(len(bank), -1)
        return Result({"image_scores": average_nearest(squared, k)})

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: BaseModel
    ) -> NDArray[np.float32]:
        """Refuse: there are none.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("DN2 scores whole images")

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:  # noqa: ARG002
        """Seconds to describe the training images."""
        return results["bank"].seconds

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:  # noqa: ARG002
        """Bytes of the training images' vectors."""
        return _bank(results).nbytes


def average_nearest(squared: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """The mean of the k smallest, of all where there are fewer.

    Args:
        squared: float32 (..., K), ascending.
        k: at least 1.

    Returns:
        float32 (...).
    """
    return np.asarray(squared[..., :k].mean(axis=-1, dtype=np.float64), dtype=np.float32)


def _vectors(features: Features, params: KnnParams) -> NDArray[np.float32]:
    """The channel means of every image, float32 (N, D)."""
    return np.concatenate(list(pool_images(features, params.layers).values()), axis=1)


def _bank(results: Mapping[str, Result]) -> NDArray[np.float32]:
    """The vectors of the training images."""
    return np.asarray(results["bank"].arrays["bank"], dtype=np.float32)
