"""Conditions that a study may vary: how strong the shift is and of what, how many images are fitted on, how clean."""

from __future__ import annotations

import itertools
from collections.abc import Mapping  # noqa: TC003  # of a constant
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from adloc.datasets.shift_config import ShiftConfig, ShiftTransforms
from adloc.study_file.regimes import SHIFT

ALL: Literal["all"] = "all"
FACTORS: Mapping[str, tuple[str, ...]] = {
    "geometry": ("rotation_deg", "scale", "translation", "crop"),
    "colour": ("brightness", "contrast", "saturation"),
    "blur": ("blur",),
    "noise": ("noise",),
    "illumination": ("illumination",),
}

Severity = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ImageCount = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class StudyShift(ShiftTransforms):
    """The shift of a study, whose severity and factors may be axes: one run each, all else alike."""

    kind: Literal["synthetic"] = Field(default="synthetic", description="the images themselves, changed")
    # Declared last, as in `ShiftConfig`: what it is checked against has been validated by then.
    severity: Severity | tuple[Severity, ...] = Field(
        default=1.0,
        validate_default=True,
        description="0 or more: scales every range about the value that changes nothing (0: identity, 1: as"
        " given); probabilities, kernels and sigma_px stay; refused where a range would leave what makes"
        " sense, such as a negative factor, except that the loss of light is cut at 1; a list is an axis: a run each",
    )
    factors: Literal["each", "factorial"] | None = Field(
        default=None,
        description="each: geometry, colour, blur, noise and illumination alone, and all of them; factorial: every"
        " combination; null: all of them only",
        json_schema_extra={"rule": "it must be each, factorial or null", "remedy": "use each"},
    )

    @field_validator("severity")
    @classmethod
    def _every_one_makes_sense(cls, severity: float | tuple[float, ...], info: object) -> float | tuple[float, ...]:
        given = dict(getattr(info, "data", {}))
        values = severity if isinstance(severity, tuple) else (severity,)
        if not values:
            message = "it must be a number, or a list of at least one\nuse 1, or [0.5, 1, 2]"
            raise ValueError(message)
        for value in values:
            try:
                ShiftConfig.model_validate({**given, "severity": value})
            except ValidationError as error:
                wrong = [e for e in error.errors() if e["loc"] == ("severity",) and e["type"] == "value_error"]
                for item in wrong:  # another key's mistake is said at that key
                    raise ValueError(str(item["ctx"]["error"])) from None
        return severity

    @property
    def domains(self) -> tuple[str, ...]:
        """What regimes are run with in place of "shift": itself."""
        return (SHIFT,)

    @property
    def transforms(self) -> StudyShift | None:
        """Itself: the simulated shift of the study."""
        return self

    @property
    def severities(self) -> tuple[float, ...]:
        """Every severity once, in the order of the file."""
        return tuple(dict.fromkeys(self.severity)) if isinstance(self.severity, tuple) else (self.severity,)

    @property
    def base_severity(self) -> float:
        """What the main tables are of: 1 if it is there, else the largest."""
        return 1.0 if 1.0 in self.severities else max(self.severities)

    @property
    def combinations(self) -> tuple[str, ...]:
        """Factors that runs are made of: "geometry", "geometry+blur", "all"; groups that are switched off are none."""
        on = [name for name, keys in FACTORS.items() if any(getattr(self, key) is not None for key in keys)]
        sizes = () if self.factors is None else (1,) if self.factors == "each" else range(1, len(on))
        return (*("+".join(c) for n in sizes if n < len(on) for c in itertools.combinations(on, n)), ALL)

    def plain(self, severity: float | None = None, factors: str | None = None) -> ShiftConfig:
        """The shift of one run.

        Args:
            severity: None for the base.
            factors: one of `combinations`; None for all.
        """
        kept = set(FACTORS) if factors in (None, ALL) else set(str(factors).split("+"))
        off = {key for name, keys in FACTORS.items() if name not in kept for key in keys}
        fields = {k: None if k in off else getattr(self, k) for k in ShiftTransforms.model_fields}
        return ShiftConfig.model_validate({**fields, "severity": self.base_severity if severity is None else severity})


class TrainConfig(BaseModel):
    """Which images of the train part a model is fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Literal["all"] | ImageCount | tuple[Literal["all"] | ImageCount, ...] = Field(
        default=ALL,
        description="normal images of each category to fit on: all, or a number; a list is an axis: a run each",
        json_schema_extra={
            "rule": "it must be all, a whole number of 1 or more, or a list of these",
            "remedy": "use all, or [4, 16, all]",
        },
    )
    contamination: Share | tuple[Share, ...] = Field(
        default=0.0,
        description="share of the images fitted on that are defects, taken from the validation part; a list is an axis",
        json_schema_extra={
            "rule": "it must be a share of at least 0 and below 1, or a list of these",
            "remedy": "use 0, or [0, 0.05, 0.1]",
        },
    )

    @field_validator("images", "contamination")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        if value == ():
            message = "a list needs one value"
            raise ValueError(message)
        return value

    @property
    def image_counts(self) -> tuple[int | Literal["all"], ...]:
        """Every number once, in the order of the file."""
        return tuple(dict.fromkeys(self.images)) if isinstance(self.images, tuple) else (self.images,)

    @property
    def contaminations(self) -> tuple[float, ...]:
        """Every share once, in the order of the file."""
        many = self.contamination
        return tuple(dict.fromkeys(many)) if isinstance(many, tuple) else (many,)


class LearningCurve(BaseModel):
    """Fits on ever more images, several draws each, in the first regime; and thresholds from ever more images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_images: tuple[Literal["all"] | ImageCount, ...] = Field(
        default=(1, 2, 4, 8, 16, 32, ALL),
        min_length=1,
        description="normal images of each category; numbers that some category does not have are left out",
        json_schema_extra={
            "rule": "it must be a list of whole numbers of 1 or more, and all",
            "remedy": "use [1, 2, 4, 8, 16, 32, all]",
        },
    )
    validation_normals: tuple[Literal["all"] | ImageCount, ...] = Field(
        default=(2, 4, 8, 16, 32, 64, 128, ALL),
        description="normal validation images of each category that a threshold is calibrated on; [] for no such"
        " curve; recorded scores are drawn again, so it costs no run",
        json_schema_extra={
            "rule": "it must be a list of whole numbers of 1 or more, and all",
            "remedy": "use [4, 8, 16, 32, all], or [] for no such curve",
        },
    )
    validation_defects: tuple[Literal["all"] | ImageCount, ...] = Field(
        default=(1, 2, 4, 8, 16, 32, ALL),
        description="the same of anomalous validation images",
        json_schema_extra={
            "rule": "it must be a list of whole numbers of 1 or more, and all",
            "remedy": "use [1, 2, 4, 8, all], or [] for no such curve",
        },
    )
    draws: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="random choices of each number of images; those of a draw are nested",
        json_schema_extra={"rule": "it must be a whole number from 1 to 1000", "remedy": "use 5"},
    )

    @model_validator(mode="after")
    def _has_all(self) -> LearningCurve:
        if ALL not in self.train_images:
            message = (
                "learning_curve.train_images lacks all: without the whole train part nothing says whether more"
                " images would help\nadd all to the list"
            )
            raise ValueError(message)
        return self
