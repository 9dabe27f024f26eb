"""How anomaly maps are compared with masks, and which figures a study measures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

EvaluationSide = Annotated[int, Field(ge=1, le=16384, strict=True)]
EvaluationMode = Literal["exact", "streaming"]
NATIVE: Literal["native"] = "native"


class EvaluationConfig(BaseModel):
    """How maps and masks are compared, and which metrics are measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: EvaluationSide | tuple[EvaluationSide, EvaluationSide] | Literal["native"] | None = Field(
        default=None,
        description="height and width at which maps and masks are compared; null: the model's input size; native: each "
        "image's own, which loses no defect and is streamed",
        json_schema_extra={
            "rule": "it must be a side of 1 to 16384 pixels, [height, width], native, or null for the model's own",
            "remedy": "use 224, or leave the key out",
        },
    )
    metrics: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="result columns of images and pixels that are measured; null: all",
        json_schema_extra={
            "rule": "it must be a list of image and pixel metrics, or null for all",
            "remedy": "use [image_auroc, pixel_aupro], or leave the key out",
        },
    )
    mode: EvaluationMode = Field(
        default="exact",
        description=(
            "exact: pixel metrics from one sort of all pixels; streaming: from a histogram, in bounded memory whatever "
            "the number of images, with the largest possible error recorded beside each figure"
        ),
        json_schema_extra={
            "rule": "it must be exact or streaming",
            "remedy": "use exact; streaming is for test sets whose maps do not fit into memory",
        },
    )

    @model_validator(mode="before")
    @classmethod
    def _native_is_streamed(cls, data: object) -> object:
        # Images of different sizes do not fit into one array.
        return {"mode": "streaming", **data} if isinstance(data, dict) and data.get("size") == NATIVE else data
