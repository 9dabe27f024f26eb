"""What UniAD declares of itself: its parameters and its steps, without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from adloc.methods.method import Method, Step
from adloc.methods.params import BackboneParams, refuse

if TYPE_CHECKING:
    from pydantic import ValidationInfo


class UniadParams(BackboneParams):
    """Parameters of UniAD (You et al. 2022, arXiv 2206.03687), smaller than in the paper so that a CPU can train it.

    `neighbour_mask`, `layer_queries` and `jitter` are the paper's three means against the identical shortcut. With
    none of them an ordinary transformer is left, which learns to copy what it is given.
    """

    layers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("layer1", "layer2", "layer3"),
        min_length=1,
        strict=False,  # a YAML list is taken for a tuple
        description="Layers that are reconstructed; the one with the smallest map gives the patch grid.",
        json_schema_extra={
            "rule": "it must be a list of at least one layer of the backbone, none of them twice",
            "remedy": "use [layer1, layer2, layer3]",
        },
    )
    epochs: int = Field(
        default=100,
        ge=1,
        description="Passes over the training images; in the last fifth with a tenth of the learning rate.",
        json_schema_extra={
            "rule": "it must be a whole number from 1: passes over the training images",
            "remedy": "use 100; the paper takes 1000",
        },
    )
    neighbour_mask: bool = Field(
        default=True,
        description="Keep each patch from attending to itself and to those around it.",
        json_schema_extra={"rule": "it must be true or false", "remedy": "use true"},
    )
    layer_queries: bool = Field(
        default=True,
        description="Begin each decoder layer with a query of its own, which it learns, not with what it is given.",
        json_schema_extra={"rule": "it must be true or false", "remedy": "use true"},
    )
    jitter: bool = Field(
        default=True,
        description="Add noise to the features that are to be reconstructed, in training.",
        json_schema_extra={"rule": "it must be true or false", "remedy": "use true"},
    )
    mask_size: int = Field(
        default=7,
        ge=1,
        description="Side of the square of patches that neighbour_mask hides.",
        json_schema_extra={
            "rule": "it must be an odd number from 1, the patch in its middle, and smaller than the patch grid",
            "remedy": "use 7, as in the paper, or 5 on a grid of 10 x 10",
        },
    )
    jitter_scale: float = Field(
        default=20.0,
        gt=0,
        allow_inf_nan=False,
        description="Standard deviation of the noise in a patch's length, divided by its number of channels.",
        json_schema_extra={
            "rule": "it must be above 0: the noise, in lengths of a patch's features over their number",
            "remedy": "use 20, as in the paper",
        },
    )
    width: int = Field(
        default=128,
        ge=2,
        description="Values a token inside the network.",
        json_schema_extra={
            "rule": "it must be a whole number from 2: values a token inside the network",
            "remedy": "use 128; the paper takes 256",
        },
    )
    heads: int = Field(
        default=4,
        ge=1,
        description="Heads of each attention; they share the width.",
        json_schema_extra={
            "rule": "it must be a whole number from 1 that divides width",
            "remedy": "use 4; the paper takes 8",
        },
    )
    depth: int = Field(
        default=2,
        ge=1,
        description="Layers of the encoder, and of the decoder.",
        json_schema_extra={
            "rule": "it must be a whole number from 1: layers of the encoder, and of the decoder",
            "remedy": "use 2; the paper takes 4",
        },
    )
    learning_rate: float = Field(
        default=1e-3,
        gt=0,
        allow_inf_nan=False,
        description="Of AdamW.",
        json_schema_extra={"rule": "it must be above 0: the learning rate of AdamW", "remedy": "use 0.001"},
    )
    batch_size: int = Field(
        default=4,
        ge=1,
        description="Images a step of training.",
        json_schema_extra={"rule": "it must be a whole number from 1: images a step of training", "remedy": "use 4"},
    )
    pool_size: int = Field(
        default=16,
        ge=1,
        description="Side, in pixels of the input, of the square over which a map is averaged before its maximum.",
        json_schema_extra={
            "rule": "it must be a whole number of pixels from 1, at most the image's shorter side",
            "remedy": "use 16, as in the paper, or 1 for no averaging",
        },
    )

    @field_validator("mask_size")
    @classmethod
    def _square_has_a_middle(cls, mask_size: int) -> int:
        if mask_size % 2 == 0:
            refuse("it must be an odd number: the patch is in its middle", f"use {mask_size - 1} or {mask_size + 1}")
        return mask_size

    @field_validator("heads")
    @classmethod
    def _heads_share_the_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width")
        if width is not None and width % heads:
            fitting = max(n for n in range(1, heads) if width % n == 0)
            refuse(f"it must divide width, which is {width}", f"use {fitting}, or another width")
        return heads


_NETWORK = ("neighbour_mask", "layer_queries", "mask_size", "width", "heads", "depth")
_TRAINING = ("epochs", "jitter", "jitter_scale", "learning_rate", "batch_size")

UNIAD = Method(
    name="uniad",
    params=UniadParams,
    steps=(
        Step(name="training", part="fit", params=("layers", *_NETWORK, *_TRAINING)),
        Step(name="scores", part="score", params=("pool_size",)),
    ),
    map_params=(),
    over_epochs=Step(name="over_epochs", part="score", params=("pool_size",)),
    detector="adloc.methods.uniad.detector:Uniad",
    default_space={
        "epochs": {"low": 25, "high": 200, "type": "int", "log": True},
        "learning_rate": {"low": 3e-4, "high": 3e-3, "log": True},
        "neighbour_mask": {"choices": [True, False]},
        "layer_queries": {"choices": [True, False]},
        "jitter": {"choices": [True, False]},
    },
)
