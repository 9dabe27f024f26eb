"""What the mean image declares of itself: its parameters and its two steps, without importing torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from adloc.methods.method import Method, Step
from adloc.methods.params import MethodParams


class FloorParams(MethodParams):
    """Parameters of the mean image, the least that a detector can be: there is no paper, and no network."""

    unit: Literal["grey_level", "deviation"] = Field(
        default="grey_level",
        description=(
            "In which a pixel's distance to the mean image is measured. grey_level: as it is, colours are from 0 to 1. "
            "deviation: in standard deviations of the training images at this pixel."
        ),
        json_schema_extra={"rule": "it must be grey_level or deviation", "remedy": "use grey_level"},
    )
    image_score: Literal["max"] | Annotated[float, Field(gt=0, le=100)] = Field(
        default=1.0,
        description="max: the largest pixel's distance; a number q: the mean of the top q percent of them.",
        json_schema_extra={
            "rule": "it must be max, or a number q above 0 and at most 100: the mean of an image's top q %",
            "remedy": "use max, or 1 for the mean of the top 1 %",
        },
    )
    smoothing_sigma: float = Field(
        default=4.0,
        ge=0,
        allow_inf_nan=False,
        description="Sigma, in pixels of the anomaly map, of its Gaussian blur; 0 for none.",
        json_schema_extra={
            "rule": "it must be 0 or above: the sigma, in pixels, of the anomaly map's Gaussian blur",
            "remedy": "use 4, or 0 for no blur",
        },
    )


FLOOR = Method(
    name="floor",
    params=FloorParams,
    reads="images",
    steps=(
        Step(name="mean_image", part="fit", params=()),
        Step(name="scores", part="score", params=("unit", "image_score")),
    ),
    map_params=("smoothing_sigma",),
    detector="adloc.methods.floor.detector:Floor",
    default_space={
        "unit": {"choices": ["grey_level", "deviation"]},
        "image_score": {"choices": ["max", 0.1, 1.0, 10.0]},
        "smoothing_sigma": {"choices": [0.0, 2.0, 4.0, 8.0]},
    },
)
