"""What PaDiM declares of itself: its parameters and its two steps, without importing torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from adloc.methods.method import Method, Step
from adloc.methods.params import BackboneParams


class PadimParams(BackboneParams):
    """Parameters of PaDiM (Defard et al. 2021, arXiv 2011.08785).

    The regularisation of the covariance is none of them: anomalib writes it into its source, 0.01 and once
    more 1e-5 on the diagonal.
    """

    late: ClassVar[frozenset[str]] = frozenset({"covariance"})
    layers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("layer1", "layer2", "layer3"),
        min_length=1,
        strict=False,  # a YAML list is taken for a tuple
        description="Layers that make an embedding, the shallowest first: the first gives the patch grid.",
        json_schema_extra={
            "rule": "it must be a list of at least one layer of the backbone, none of them twice",
            "remedy": "use [layer1, layer2, layer3]",
        },
    )
    n_features: int = Field(
        default=100,
        ge=1,
        description="Channels kept of all those of the layers, drawn at random from the run's seed.",
        json_schema_extra={
            "rule": "it must be at least 1 and at most the number of channels of the chosen layers",
            "remedy": "use 100",
        },
    )
    covariance: Literal["full", "low_rank"] = Field(
        default="full",
        description="full: a matrix of n_features squared for every patch position, as anomalib's; low_rank: where"
        " training images are fewer than n_features, the same distances from a vector each: faster and smaller.",
        json_schema_extra={"rule": "it must be full or low_rank", "remedy": "use full"},
    )
    smoothing_sigma: float = Field(
        default=4.0,
        ge=0,
        allow_inf_nan=False,
        description="Sigma, in pixels of the anomaly map, of its Gaussian blur, scores included; 0 for none.",
        json_schema_extra={
            "rule": "it must be 0 or above: the sigma, in pixels, of the anomaly map's Gaussian blur",
            "remedy": "use 4, or 0 for no blur",
        },
    )
    image_score: Literal["max"] | Annotated[float, Field(gt=0, le=100)] = Field(
        default="max",
        description="max: the largest value of the blurred map; a number q: the mean of its top q percent.",
        json_schema_extra={
            "rule": "it must be max, or a number q above 0 and at most 100: the mean of a map's top q %",
            "remedy": "use max, or 1 for the mean of the top 1 %",
        },
    )


PADIM = Method(
    name="padim",
    params=PadimParams,
    steps=(
        # Since version 2 from sums over the images where these are very many.
        Step(name="gaussian", part="fit", params=("layers", "n_features", "covariance"), version=2),
        # With the blur, because image scores are taken from the blurred map. Since version 2 along one axis at a time.
        Step(name="scores", part="score", params=("smoothing_sigma", "image_score"), version=2),
    ),
    map_params=("smoothing_sigma",),
    least_images=2,  # of a covariance
    leave_one_out=Step(name="leave_one_out", part="score", params=("smoothing_sigma", "image_score"), version=2),
    detector="adloc.methods.padim.detector:Padim",
    possible="adloc.methods.padim.possible:require_possible",
    library="anomalib.models",
    plain={"image_score": "max", "smoothing_sigma": 0.0},
    default_space={
        # EfficientNet-Lite0 has 176 channels in these layers, so every choice is valid with every backbone.
        "n_features": {"choices": [50, 100, 150]},
        "smoothing_sigma": {"choices": [0.0, 2.0, 4.0, 8.0]},
    },
)
