"""What SoftPatch declares of itself: its parameters and its four steps, without importing torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adloc.methods.method import Method, Step
from adloc.methods.patchcore.approximate.config import FLAT
from adloc.methods.patchcore.params import MemoryBankParams


class SoftPatchParams(MemoryBankParams):
    """Parameters of SoftPatch (Jiang et al. 2022, arXiv 2403.14233).

    Those of the memory bank are PatchCore's. A patch has one neighbour, its nearest entry, whose weight counts.
    """

    discriminator: Literal["lof", "nearest", "gaussian"] = Field(
        default="lof",
        description=(
            "How noisy a training patch is, among those at the same place of all training images. lof: its local "
            "outlier factor; nearest: the distance to the nearest of them; gaussian: to the Gaussian fitted to them."
        ),
        json_schema_extra={"rule": "it must be lof, nearest or gaussian", "remedy": "use lof"},
    )
    lof_neighbours: int = Field(
        default=6,
        ge=1,
        le=1000,
        description="Neighbours of the local outlier factor; all other images where there are fewer.",
        json_schema_extra={
            "rule": "it must be a whole number from 1 to 1000: the neighbours of the local outlier factor",
            "remedy": "use 6",
        },
    )
    removed: float = Field(
        default=0.15,
        ge=0,
        lt=1,
        description="Share of the training patches that is left out before the coreset is picked: the noisiest.",
        json_schema_extra={
            "rule": "it must be 0 or above, and below 1: the share of training patches that is left out",
            "remedy": "use 0.15, or 0 to leave none out",
        },
    )
    soft_weights: bool = Field(
        default=True,
        description="Whether a patch's distance is multiplied by the weight of its nearest entry.",
        json_schema_extra={"rule": "it must be true or false", "remedy": "use true"},
    )


SOFTPATCH = Method(
    name="softpatch",
    params=SoftPatchParams,
    steps=(
        Step(
            name="noise",
            part="fit",
            params=(
                "layers",
                "patch_size",
                "patch_stride",
                "projection_dim",
                "metric",
                "discriminator",
                "lof_neighbours",
            ),
        ),
        Step(name="coreset", part="fit", params=("removed", "coreset", "bank_dtype"), grows_with="coreset_ratio"),
        Step(name="index", part="calibrate", params=("coreset_ratio", "search"), unless=("search", FLAT)),
        Step(name="search", part="score", params=("coreset_ratio",), builds_on="coreset_ratio", version=2),
        Step(name="scores", part="score", params=("soft_weights", "image_score")),
    ),
    map_params=("smoothing_sigma",),
    least_images=2,  # of a patch beside others at its place
    detector="adloc.methods.softpatch.detector:SoftPatch",
    default_space={
        "removed": {"choices": [0.0, 0.05, 0.1, 0.15, 0.25]},
        "discriminator": {"choices": ["lof", "nearest", "gaussian"]},
        "soft_weights": {"choices": [True, False]},
        "coreset_ratio": {"low": 0.01, "high": 0.25, "log": True},
        "layers": {"choices": [["layer2", "layer3"], ["layer2"], ["layer1", "layer2", "layer3"]]},
    },
    plain={"soft_weights": False, "image_score": "max", "smoothing_sigma": 0.0},
)
