"""The mean image: how far each pixel is from that of the mean training image.

With x(p) the three colours of an image at pixel p, from 0 to 1, m(p) their mean over the training images and s(p) their
standard deviation,

    score(p) = sqrt( mean over the colours of (x(p) - m(p))^2 )                       in grey levels
    score(p) = sqrt( mean over the colours of (x(p) - m(p))^2 / (s(p)^2 + 1/255^2) )  in deviations

There is no paper. It is the floor of a study: a detector that ranks images no better has learned nothing that the mean
of the training images does not say. It needs parts that lie still; where they turn, it is a low floor.

Notation: N images, H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.anomaly_map import expand_maps
from adloc.methods.detector import Result
from adloc.methods.errors import MethodError
from adloc.methods.floor.params import FloorParams
from adloc.methods.params import narrow
from adloc.methods.patchcore.score import score_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from adloc.methods.detector import ImageContext

_STEP = 1 / 255  # between two grey levels: a pixel that never changes may change by as much


class Floor:
    """The steps of the mean image."""

    def mean_image(self, context: ImageContext) -> Result:
        """Average the training images, one after another, in float64.

        Returns:
            Arrays: `mean` float32 (3, H, W); `variance` float32 (3, H, W). Facts: n_images.

        Raises:
            MethodError: there is no training image.
        """
        n_images = context.images.n_images
        if n_images == 0:
            raise MethodError(
                "the train part has no image",
                "images are compared with the mean of normal ones, at least one",
                "raise train_fraction, or add normal images",
            )
        total = torch.zeros(3, *context.images.image_size, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for batch in context.images.batches():
            for image in batch.double():
                total += image
                squares += image.square()
        mean = total / n_images
        variance = (squares / n_images - mean.square()).clamp_(min=0)
        return Result({"mean": mean.float().numpy(), "variance": variance.float().numpy()}, {"n_images": n_images})

    def scores(self, context: ImageContext) -> Result:
        """Measure how far each pixel is from the mean.

        Returns:
            Arrays: `image_scores` float32 (N,), `patch_maps` float32 (N, H, W), a patch being a pixel.
        """
        params = narrow(context.params, FloorParams)
        mean, variance = (np.asarray(context.results["mean_image"].arrays[name]) for name in ("mean", "variance"))
        scale = variance + np.float32(_STEP**2) if params.unit == "deviation" else np.ones_like(variance)
        maps = [np.sqrt((np.square(batch.numpy() - mean) / scale).mean(axis=1)) for batch in context.images.batches()]
        patch_maps = np.concatenate(maps)
        return Result({"image_scores": score_images(patch_maps, params.image_score), "patch_maps": patch_maps})

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: BaseModel
    ) -> NDArray[np.float32]:
        """Bring maps (N, H, W) to float32 (N, height, width) of `size`, blurred by smoothing_sigma."""
        return expand_maps(patch_maps, size, narrow(params, FloorParams).smoothing_sigma)

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:  # noqa: ARG002
        """Seconds to read and average the images."""
        return results["mean_image"].seconds

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:
        """Bytes of the mean image, and of the variance where distances are in its unit."""
        names = ("mean", "variance") if narrow(params, FloorParams).unit == "deviation" else ("mean",)
        return sum(int(results["mean_image"].arrays[name].nbytes) for name in names)
