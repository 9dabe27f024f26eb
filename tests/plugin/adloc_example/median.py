"""The median image: how far the mean colour of each cell is from its median over the training images."""

import numpy as np
from pydantic import Field

from adloc.methods.detector import ImageContext, Result
from adloc.methods.method import Method, Step
from adloc.methods.params import MethodParams


class MedianParams(MethodParams):
    """The median image, cell by cell."""

    cell: int = Field(
        default=4,
        ge=1,
        description="Side, in pixels, of the square cells whose mean colours are compared.",
        json_schema_extra={"rule": "it must be a whole number of pixels, 1 or more", "remedy": "use 4"},
    )


METHOD = Method(
    name="median_image",
    params=MedianParams,
    steps=(Step("median", "fit", params=("cell",)), Step("scores", "score", params=())),
    map_params=(),
    detector="adloc_example.median:Median",
    default_space={"cell": {"choices": [2, 4, 8, 16]}},
    reads="images",
)


class Median:
    """A function for each step, then what a study asks of every fitted model."""

    def median(self, context: ImageContext) -> Result:
        return Result({"median": np.median(_cells(context), axis=0)})

    def scores(self, context: ImageContext) -> Result:
        maps = np.linalg.norm(_cells(context) - context.results["median"].arrays["median"], axis=1)
        return Result({"image_scores": maps.max(axis=(1, 2)), "patch_maps": maps})

    def anomaly_maps(self, patch_maps, size, params):
        from adloc.methods.anomaly_map import expand_maps  # torch is imported only when something is computed

        return expand_maps(patch_maps, size)

    def fit_seconds(self, results, params):
        return results["median"].seconds

    def model_bytes(self, results, params):
        return results["median"].arrays["median"].nbytes


def _cells(context: ImageContext) -> np.ndarray:
    """Mean colours, float32 (N, 3, H // cell, W // cell)."""
    from torch.nn.functional import avg_pool2d

    return np.concatenate([avg_pool2d(batch, context.params.cell).numpy() for batch in context.images.batches()])
