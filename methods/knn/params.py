"""What DN2 declares of itself: its parameters and its three steps, without importing torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from adloc.methods.method import Method, Step
from adloc.methods.params import BackboneParams


class KnnParams(BackboneParams):
    """Parameters of DN2 (Bergman, Cohen and Hoshen 2020, arXiv 2002.10445)."""

    layers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("layer4",),
        min_length=1,
        strict=False,  # a YAML list is taken for a tuple
        description="Layers whose channel means, put together, are an image's vector; the paper takes the last one.",
        json_schema_extra={
            "rule": "it must be a list of at least one layer of the backbone, none of them twice",
            "remedy": "use [layer4]",
        },
    )
    neighbours: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="Nearest training images k whose squared distances are averaged; all where there are fewer.",
        json_schema_extra={
            "rule": "it must be a whole number from 1 to 1000: the training images that an image is compared with",
            "remedy": "use 2",
        },
    )


KNN = Method(
    name="knn",
    params=KnnParams,
    steps=(
        Step(name="bank", part="fit", params=("layers",)),
        Step(name="search", part="score", params=(), grows_with="neighbours", version=2),
        Step(name="scores", part="score", params=("neighbours",)),
    ),
    map_params=(),
    maps=False,
    leave_one_out=Step(name="leave_one_out", part="score", params=("neighbours",), version=2),
    detector="adloc.methods.knn.detector:Knn",
    default_space={
        "neighbours": {"low": 1, "high": 10, "type": "int"},
        "layers": {"choices": [["layer4"], ["layer3"], ["layer2", "layer3"], ["layer3", "layer4"]]},
    },
)
