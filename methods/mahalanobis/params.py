"""What the Gaussian of whole images declares of itself: its parameter and its two steps, without importing torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from adloc.methods.method import Method, Step
from adloc.methods.params import BackboneParams


class MahalanobisParams(BackboneParams):
    """Parameters of the method of Rippel, Mertens and Merhof (2020, arXiv 2005.14140)."""

    layers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("layer1", "layer2", "layer3", "layer4"),
        min_length=1,
        strict=False,  # a YAML list is taken for a tuple
        description="Layers whose channel means have a Gaussian each; the score is the sum of the distances to them.",
        json_schema_extra={
            "rule": "it must be a list of at least one layer of the backbone, none of them twice",
            "remedy": "use [layer1, layer2, layer3, layer4]",
        },
    )


MAHALANOBIS = Method(
    name="mahalanobis",
    params=MahalanobisParams,
    steps=(
        Step(name="gaussians", part="fit", params=("layers",)),
        Step(name="scores", part="score", params=()),
    ),
    map_params=(),
    maps=False,
    least_images=3,  # of two the shrinkage is 0, and the covariance has one direction
    detector="adloc.methods.mahalanobis.detector:Mahalanobis",
    default_space={
        "layers": {
            "choices": [
                ["layer1", "layer2", "layer3", "layer4"],
                ["layer2", "layer3", "layer4"],
                ["layer2", "layer3"],
                ["layer3"],
                ["layer4"],
            ]
        },
    },
)
