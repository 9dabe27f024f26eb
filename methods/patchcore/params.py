"""What PatchCore declares of itself: its parameters and its three steps, without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from adloc.methods.method import Method, Step
from adloc.methods.params import BackboneParams, refuse
from adloc.methods.patchcore.approximate.config import FLAT, SearchConfig

if TYPE_CHECKING:
    from pydantic import ValidationInfo

BankDtype = Literal["float32", "float16"]
PARTITIONED_SHARE = 0.25  # of the patches that a partitioned coreset picks among, whatever the ratio: it stays nested


class MemoryBankParams(BackboneParams):
    """How patches are described, which of them a memory bank keeps, and what is made of the distances to it."""

    late: ClassVar[frozenset[str]] = frozenset({"coreset", "search", "bank_dtype"})

    layers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("layer2", "layer3"),
        min_length=1,
        strict=False,  # a YAML list is taken for a tuple
        description="Layers that make an embedding; the one with the largest map gives the patch grid.",
        json_schema_extra={
            "rule": "it must be a list of at least one layer of the backbone, none of them twice",
            "remedy": "use [layer2, layer3]",
        },
    )
    patch_size: int = Field(
        default=3,
        ge=1,
        description="Side p of the p x p neighbourhood of a feature map that is averaged into a patch.",
        json_schema_extra={
            "rule": "it must be an odd number from 1: a neighbourhood has a centre",
            "remedy": "use 3, or 1 for no averaging",
        },
    )
    patch_stride: int = Field(
        default=1,
        ge=1,
        description="Stride s: every s-th patch of the grid is kept, in height and in width.",
        json_schema_extra={
            "rule": "it must be a whole number s from 1: every s-th patch is kept, in height and in width",
            "remedy": "use 1 to keep every patch",
        },
    )
    coreset_ratio: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="Share of the training patches kept in the memory bank.",
        json_schema_extra={
            "rule": "it must be above 0 and at most 1: the share of training patches kept in the memory bank",
            "remedy": "use 0.01, or 1 to keep every patch",
        },
    )
    projection_dim: int | None = Field(
        default=128,
        ge=1,
        description="Dimensions of the random projection on which the coreset is picked; null for none.",
        json_schema_extra={
            "rule": "it must be a whole number from 1, or null to pick on the embeddings themselves",
            "remedy": "use 128",
        },
    )
    metric: Literal["euclidean", "cosine"] = Field(
        default="euclidean",
        description="Distance of two patches; cosine is 1 - cos, and the coreset is picked on unit vectors.",
        json_schema_extra={"rule": "it must be euclidean or cosine", "remedy": "use euclidean"},
    )
    image_score: Literal["max"] | Annotated[float, Field(gt=0, le=100)] = Field(
        default="max",
        description="max: the largest patch score; a number q: the mean of the top q percent of them.",
        json_schema_extra={
            "rule": "it must be max, or a number q above 0 and at most 100: the mean of an image's top q %",
            "remedy": "use max, or 1 for the mean of the top 1 %",
        },
    )
    smoothing_sigma: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Sigma, in pixels of the anomaly map, of its Gaussian blur; 0 for none.",
        json_schema_extra={
            "rule": "it must be 0 or above: the sigma, in pixels, of the anomaly map's Gaussian blur",
            "remedy": "use 0 for no blur, or 4 as in the paper",
        },
    )

    coreset: Literal["exact", "partitioned"] = Field(
        default="exact",
        description=(
            "exact: the furthest patch first, of all. partitioned: of the quarter of them that parts of 4,096 patches "
            "leave, at a quarter of the cost; how far that can be from the best is measured and recorded."
        ),
        json_schema_extra={
            "rule": "it must be exact, or partitioned with a coreset_ratio of at most 0.25",
            "remedy": "use exact up to some million patches",
        },
    )
    search: SearchConfig = Field(
        default=FLAT,
        description="How the bank is searched: exactly (flat), or by an index that finds most neighbours sooner.",
        json_schema_extra={
            "rule": "it must be {index: flat}, or {index: ivf, ivfpq or hnsw, recall: from 0.5 to 0.999, or 1 of ivf}",
            "remedy": "use {index: flat}, or {index: ivf, recall: 0.99} for a bank of 100,000 patches or more",
        },
    )
    bank_dtype: BankDtype = Field(
        default="float32",
        description="In which the memory bank is kept; float16 is half as large, and searched in float32.",
        json_schema_extra={"rule": "it must be float32 or float16", "remedy": "use float32"},
    )

    @field_validator("coreset")
    @classmethod
    def _parts_leave_enough(cls, coreset: str, info: ValidationInfo) -> str:
        if coreset == "partitioned" and info.data.get("coreset_ratio", 0) > PARTITIONED_SHARE:
            refuse(
                f"partitioned picks among {PARTITIONED_SHARE:.0%} of the patches, and no more can be kept",
                f"use coreset: exact, or a coreset_ratio of at most {PARTITIONED_SHARE}",
            )
        return coreset

    @field_validator("patch_size")
    @classmethod
    def _patch_has_a_centre(cls, patch_size: int) -> int:
        if patch_size % 2 == 0:
            refuse(
                "it must be an odd number: a neighbourhood has a centre",
                f"use {max(patch_size - 1, 1)} or {patch_size + 1}",
            )
        return patch_size


class PatchCoreParams(MemoryBankParams):
    """Parameters of PatchCore (Roth et al. 2022, arXiv 2106.08265)."""

    neighbours: int = Field(
        default=9,
        ge=1,
        le=1000,
        description="Nearest bank entries k that are searched for every patch.",
        json_schema_extra={
            "rule": "it must be a whole number from 1 to 1000: the bank entries searched for every patch",
            "remedy": "use 9",
        },
    )
    reweight: Literal["every_patch", "max_patch", "none"] = Field(
        default="every_patch",
        validate_default=True,
        description=(
            "every_patch: each patch's distance d1 times 1 - exp(-d1) / sum exp(-d_i) over its k neighbours. "
            "max_patch: the image score times the weight of Roth et al., equation 7; maps are not weighted. "
            "none: distances as they are."
        ),
        json_schema_extra={"rule": "it must be every_patch, max_patch or none", "remedy": "use none"},
    )

    @field_validator("reweight")
    @classmethod
    def _reweighting_has_neighbours(cls, reweight: str, info: ValidationInfo) -> str:
        if reweight != "none" and info.data.get("neighbours") == 1:
            refuse(
                f"{reweight} needs neighbours of 2 or more: with a single one every weight is 0",
                "use reweight: none, or neighbours: 2 or more",
            )
        return reweight


PATCHCORE = Method(
    name="patchcore",
    params=PatchCoreParams,
    steps=(
        Step(
            name="coreset",
            part="fit",
            params=("layers", "patch_size", "patch_stride", "projection_dim", "metric", "coreset", "bank_dtype"),
            grows_with="coreset_ratio",
            version=2,
        ),
        Step(
            name="index",
            part="calibrate",
            params=("coreset_ratio", "neighbours", "search"),
            unless=("search", FLAT),
        ),
        Step(
            name="search",
            part="score",
            params=("coreset_ratio",),
            grows_with="neighbours",
            builds_on="coreset_ratio",
            version=3,
        ),
        Step(name="scores", part="score", params=("neighbours", "reweight", "image_score")),
    ),
    map_params=("smoothing_sigma",),
    leave_one_out=Step(
        name="leave_one_out",
        part="score",
        params=("coreset_ratio", "neighbours", "reweight", "image_score"),
        version=2,
    ),
    detector="adloc.methods.patchcore.detector:PatchCore",
    possible="adloc.methods.patchcore.possible:require_possible",
    plain={"reweight": "none", "image_score": "max", "smoothing_sigma": 0.0},
    default_space={
        "coreset_ratio": {"low": 0.01, "high": 0.25, "log": True},
        # From 2: with a single neighbour the two reweightings are refused.
        "neighbours": {"low": 2, "high": 15, "type": "int"},
        "patch_size": {"choices": [1, 3, 5]},
        "reweight": {"choices": ["every_patch", "max_patch", "none"]},
        "layers": {"choices": [["layer2", "layer3"], ["layer2"], ["layer1", "layer2", "layer3"]]},
    },
)
