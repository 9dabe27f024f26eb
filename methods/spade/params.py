"""What SPADE declares of itself: its parameters and its four steps, without importing torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from adloc.methods.method import Method, Step
from adloc.methods.params import BackboneParams


class SpadeParams(BackboneParams):
    """Parameters of SPADE (Cohen and Hoshen 2020, arXiv 2005.02357)."""

    layers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("layer1", "layer2", "layer3", "layer4"),
        min_length=2,
        strict=False,  # a YAML list is taken for a tuple
        description=(
            "The channel means of the last find the nearest training images; the others are the pyramid that "
            "describes a place, on the grid of the largest map."
        ),
        json_schema_extra={
            "rule": "it must be a list of at least two layers of the backbone, none of them twice",
            "remedy": "use [layer1, layer2, layer3, layer4]",
        },
    )
    image_neighbours: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Nearest training images K that an image is compared with; all where there are fewer.",
        json_schema_extra={
            "rule": "it must be a whole number from 1 to 1000: the training images that an image is compared with",
            "remedy": "use 50",
        },
    )
    patch_neighbours: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Nearest places of these images whose squared distances are averaged for each place.",
        json_schema_extra={
            "rule": "it must be a whole number from 1 to 100: the places that a place is compared with",
            "remedy": "use 1",
        },
    )
    patch_stride: int = Field(
        default=1,
        ge=1,
        description="Stride s: every s-th place of the grid is kept, in height and in width; s = 2 is 16 times faster.",
        json_schema_extra={
            "rule": "it must be a whole number s from 1: every s-th place is kept, in height and in width",
            "remedy": "use 1 to keep every place",
        },
    )
    smoothing_sigma: float = Field(
        default=4.0,
        ge=0,
        allow_inf_nan=False,
        description="Sigma, in pixels of the anomaly map, of its Gaussian blur; 0 for none.",
        json_schema_extra={
            "rule": "it must be 0 or above: the sigma, in pixels, of the anomaly map's Gaussian blur",
            "remedy": "use 4 as in the paper, or 0 for no blur",
        },
    )


SPADE = Method(
    name="spade",
    params=SpadeParams,
    steps=(
        Step(name="gallery", part="fit", params=("layers",)),
        Step(name="images", part="score", params=(), grows_with="image_neighbours", version=2),
        Step(
            name="patches",
            part="score",
            params=("image_neighbours", "patch_stride"),
            grows_with="patch_neighbours",
            builds_on="image_neighbours",
        ),
        Step(name="scores", part="score", params=("image_neighbours", "patch_neighbours")),
    ),
    map_params=("smoothing_sigma",),
    detector="adloc.methods.spade.detector:Spade",
    default_space={
        "image_neighbours": {"choices": [5, 10, 20, 50]},
        "patch_neighbours": {"low": 1, "high": 5, "type": "int"},
        "smoothing_sigma": {"choices": [0.0, 2.0, 4.0, 8.0]},
        # A grid of layer1 takes 16 times as long to search as one of layer2.
        "layers": {
            "choices": [
                ["layer1", "layer2", "layer3", "layer4"],
                ["layer2", "layer3", "layer4"],
                ["layer2", "layer4"],
                ["layer2", "layer3"],
            ]
        },
    },
    plain={"smoothing_sigma": 0.0},
)
