"""What `method: anomalib` declares of itself: its parameters and its two steps, without importing torch."""

from __future__ import annotations

import difflib
import re
from importlib.metadata import PackageNotFoundError, version

from pydantic import Field, JsonValue, field_validator, model_validator

from adloc.methods.anomalib.catalogue import MODELS
from adloc.methods.backbone import BACKBONES, check_weights, find_backbone
from adloc.methods.errors import MethodError
from adloc.methods.method import Method, Step
from adloc.methods.params import MethodParams, refuse

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")  # timm's: with a tag of the weights, or without


class AnomalibParams(MethodParams):
    """Parameters of a model of anomalib: which one, what it sees through, how it is trained."""

    model: str = Field(
        description="The class in anomalib.models: ReverseDistillation, Fastflow, ...",
        json_schema_extra={
            "rule": f"it must be one of {', '.join(MODELS)}",
            "remedy": "use ReverseDistillation",
            "examples": list(MODELS),
        },
    )
    backbone: str | None = Field(
        default=None,
        description=(
            "The network that the model sees through: by adloc's name or, with the path of its weights, by timm's; "
            "null for the model's own default."
        ),
        json_schema_extra={
            "rule": "it must be the name of a backbone, or null for the model's default",
            "remedy": "use resnet18",
        },
    )
    weights: str = Field(
        default="default",
        description="default: the published ImageNet weights; the path of a file; or random, for tests.",
        json_schema_extra={
            "rule": "it must be default, random, or the path of a .pth, .pt or .safetensors file",
            "remedy": "use default",
        },
    )
    epochs: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Passes over the training images; models that are fitted in one pass take one.",
        json_schema_extra={"rule": "it must be a whole number from 1 to 10000", "remedy": "use 20"},
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="Images at a time in training.",
        json_schema_extra={"rule": "it must be a whole number from 1 to 1024", "remedy": "use 8"},
    )
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Further arguments of the model's class, by anomalib's names.",
        json_schema_extra={
            "rule": "it must be a mapping of the class's own arguments to plain values",
            "remedy": "write for example arguments: {flow_steps: 8}",
        },
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_backbone(cls, values: object) -> object:
        """The model's own default stands in the record, not a null that means it."""
        if isinstance(values, dict) and values.get("backbone") is None:
            known = MODELS.get(str(values.get("model")))
            return values | {"backbone": known.backbone or None} if known else values
        return values

    @field_validator("model")
    @classmethod
    def _model_is_known(cls, model: str) -> str:
        if model not in MODELS:
            near = difflib.get_close_matches(model, MODELS, n=1)
            refuse(f"it must be one of {', '.join(MODELS)}", f"use {near[0] if near else 'ReverseDistillation'}")
        return model

    @field_validator("backbone")
    @classmethod
    def _backbone_is_a_name(cls, backbone: str | None) -> str | None:
        if backbone is not None and _NAME.fullmatch(backbone) is None:
            refuse("anomalib builds its networks by name", "use resnet18")
        return backbone

    @model_validator(mode="after")
    def _fits_together(self) -> AnomalibParams:
        known = MODELS[self.model]
        if self.backbone is not None:
            if not (known.backbone or known.timm):
                refuse(f"{self.model} takes no backbone", "leave backbone out")
            try:
                if self.weights in ("default", "random"):
                    find_backbone(self.backbone)
                check_weights(self.weights, self.backbone)
            except MethodError as error:
                near = f"{error.remedy}, or name the file of its weights: weights: /path/to/{self.backbone}.safetensors"
                refuse(error.rule, error.remedy if self.backbone in BACKBONES else near)
        own = {"backbone", "pre_trained", "pre_processor", "post_processor", "evaluator", "visualizer"}
        if taken := sorted(own & self.arguments.keys()):
            refuse(f"adloc sets {', '.join(taken)} itself", "leave it out of arguments")
        return self


def _library() -> str:
    """Versions of anomalib and torch: both decide what a training ends in."""
    try:
        return f"anomalib {version('anomalib')}, torch {version('torch').partition('+')[0]}"
    except PackageNotFoundError as error:
        return f"{error.name} is not installed"


ANOMALIB = Method(
    name="anomalib",
    params=AnomalibParams,
    steps=(
        Step("training", "fit", ("model", "epochs", "batch_size", "arguments")),
        Step("scores", "score", ()),
    ),
    map_params=(),
    detector="adloc.methods.anomalib.detector:AnomalibDetector",
    default_space={
        "epochs": {"low": 5, "high": 40, "type": "int", "log": True},
        "batch_size": {"choices": [4, 8, 16]},
    },
    reads="images",
    code=_library(),
    library="anomalib.models",
)
