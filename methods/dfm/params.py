"""What DFM declares of itself: its parameters and its two steps, without importing torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from adloc.methods.method import Method, Step
from adloc.methods.params import BackboneParams


class DfmParams(BackboneParams):
    """Parameters of DFM (Ahuja et al. 2019, arXiv 1909.11786).

    The defaults are anomalib's but for the pooling, which is 4 there: maps of 3 x 3 places at 224, too coarse to say
    where a defect is.
    """

    layers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("layer3",),
        min_length=1,
        max_length=1,
        strict=False,  # a YAML list is taken for a tuple
        description="The one layer whose map, flattened, is an image's vector.",
        json_schema_extra={
            "rule": "it must be a list of exactly one layer of the backbone: errors of two have different units",
            "remedy": "use [layer3]",
        },
    )
    pooling: int = Field(
        default=2,
        ge=1,
        description="Side p of the p x p squares of the map that are averaged, without overlap, into one value.",
        json_schema_extra={
            "rule": "it must be a whole number from 1, and at most the shorter side of the layer's map",
            "remedy": "use 2, or 1 for no averaging",
        },
    )
    variance_kept: float = Field(
        default=0.97,
        gt=0,
        le=1,
        description="Share of the training images' variance that the directions kept explain, at least.",
        json_schema_extra={
            "rule": "it must be above 0 and at most 1: the share of variance that the directions kept explain",
            "remedy": "use 0.97, or 1 to keep every direction",
        },
    )


DFM = Method(
    name="dfm",
    params=DfmParams,
    steps=(
        Step(name="subspace", part="fit", params=("layers", "pooling"), grows_with="variance_kept"),
        Step(name="scores", part="score", params=("variance_kept",)),
    ),
    map_params=(),
    least_images=2,  # of a variance
    detector="adloc.methods.dfm.detector:Dfm",
    possible="adloc.methods.dfm.possible:require_possible",
    default_space={
        "variance_kept": {"choices": [0.8, 0.9, 0.95, 0.97, 0.99]},
        "pooling": {"choices": [1, 2, 4]},
        "layers": {"choices": [["layer2"], ["layer3"]]},
    },
)
