"""What MVTec-Shift may do to an image: transforms with their ranges, two presets, one severity for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    from pydantic import ValidationInfo

N_LEVELS = 256  # of an 8-bit image


class Span(NamedTuple):
    """A range; both ends belong to it."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Axis:
    """How far a range may reach.

    Attributes:
        neutral: the value at which the transform changes nothing, and about which severity scales.
        low: the smallest value that makes sense.
        high: the largest.
        meaning: of a value.
        bounded: a severity that leads beyond low or high is cut there; otherwise it is refused.
    """

    neutral: float
    low: float
    high: float
    meaning: str
    bounded: bool = False

    def scaled(self, span: Sequence[float], severity: float) -> Span:
        """The range with the distance of its ends from the neutral value multiplied by the severity."""
        ends = [self.neutral + severity * (end - self.neutral) for end in span]
        if self.bounded:
            ends = [min(max(end, self.low), self.high) for end in ends]
        return Span(*ends)

    def largest_severity(self, span: Sequence[float]) -> float:
        """The severity at which the range reaches the end of what makes sense, cut to two decimals."""
        reach = [
            (limit - self.neutral) / (end - self.neutral)
            for limit, end in ((self.low, span[0]), (self.high, span[1]))
            if (limit - self.neutral) * (end - self.neutral) > 0
        ]
        return math.floor(100 * min(reach, default=1.0)) / 100


AXES: Mapping[str, Axis] = {
    "rotation_deg": Axis(0, -180, 180, "degrees, counter-clockwise"),
    "scale": Axis(1, 0.1, 10, "the factor by which the content grows; below 1 it shrinks"),
    "translation": Axis(0, -0.5, 0.5, "the share of each side by which the content moves"),
    "crop.area": Axis(1, 0.1, 1, "the share of the image's area that the crop keeps"),
    "crop.aspect": Axis(1, 0.2, 5, "the crop's width over height, relative to the image's own"),
    "brightness": Axis(1, 0, 10, "the factor on the image's values"),
    "contrast": Axis(1, 0, 10, "the factor on the distance from the image's mean luma"),
    "saturation": Axis(1, 0, 10, "the factor on the distance from the pixel's luma"),
    "blur.sigma": Axis(0, 0, 100, "pixels"),
    "noise.sigma": Axis(0, 0, 1, "the standard deviation on values in [0, 1]"),
    "illumination.strength": Axis(0, 0, 1, "the share of light lost at the darkest place", bounded=True),
}


def _two_numbers(value: object) -> object:
    """Refuse what is not [low, high], in words."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != len(Span._fields):
        message = "it must be two numbers, [low, high]\nuse for example [0.9, 1.1], or null to switch it off"
        raise ValueError(message)
    return value


def _symmetric(value: object) -> object:
    """Read 5 as [-5, 5]."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (-abs(value), abs(value))
    return _two_numbers(value)


Range = Annotated[tuple[float, float], BeforeValidator(_two_numbers)]
SymmetricRange = Annotated[tuple[float, float], BeforeValidator(_symmetric)]
Probability = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="share of the images that are changed",
        json_schema_extra={
            "rule": "it must be a probability, 0 to 1",
            "remedy": "use 0.5, or 1 for every image",
        },
    ),
]


def _check(name: str, span: tuple[float, float]) -> tuple[float, float]:
    """The range, if it is ordered and within its axis."""
    axis = AXES[name]
    rule = f"it must be [low, high] within [{axis.low:g}, {axis.high:g}]: {axis.meaning}"
    if span[0] > span[1]:
        message = f"{rule}\nuse [{span[1]:g}, {span[0]:g}]"
        raise ValueError(message)
    if not (axis.low <= span[0] and span[1] <= axis.high):
        nearest = [min(max(end, axis.low), axis.high) for end in span]
        message = f"{rule}\nuse [{nearest[0]:g}, {nearest[1]:g}], or null to switch the transform off"
        raise ValueError(message)
    return span


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Crop(_Frozen):
    """A random part of the image, stretched to the image's size."""

    area: Range = Field(default=(0.9, 1.0), description="share of the image's area that is kept: [low, high]")
    aspect: Range = Field(
        default=(0.9, 1.1),
        description="width over height of the part, relative to the image's own: [low, high];"
        " the part is cut where it would leave the image",
    )

    @field_validator("area", "aspect")
    @classmethod
    def _within(cls, span: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        return _check(f"crop.{info.field_name}", span)


class Blur(_Frozen):
    """Gaussian blur."""

    probability: Probability = 0.5
    kernels: tuple[int, ...] = Field(
        default=(3, 5),
        min_length=1,
        description="kernel sides in pixels, odd numbers; one is drawn, and severity leaves them alone",
    )
    sigma: Range = Field(default=(0.1, 2.0), description="standard deviation in pixels: [low, high]")

    @field_validator("kernels")
    @classmethod
    def _odd(cls, kernels: tuple[int, ...]) -> tuple[int, ...]:
        if any(side < 1 or side % 2 == 0 for side in kernels):
            message = "kernel sides must be odd numbers of pixels\nuse [3, 5]"
            raise ValueError(message)
        return kernels

    @field_validator("sigma")
    @classmethod
    def _within(cls, span: tuple[float, float]) -> tuple[float, float]:
        return _check("blur.sigma", span)


class Noise(_Frozen):
    """Additive Gaussian noise, independent in every pixel and channel; a grey picture stays grey."""

    probability: Probability = 0.5
    sigma: Range = Field(default=(0.01, 0.05), description="standard deviation on values in [0, 1]: [low, high]")

    @field_validator("sigma")
    @classmethod
    def _within(cls, span: tuple[float, float]) -> tuple[float, float]:
        return _check("noise.sigma", span)


class Illumination(_Frozen):
    """A smooth loss of light over the image: one factor in [0, 1] a pixel."""

    probability: Probability = 0.5
    kinds: tuple[Literal["linear", "radial", "vignette", "spot"], ...] = Field(
        default=("linear", "radial"),
        min_length=1,
        description="one is drawn. linear: darkest at one of the four edges; radial: darkest at the centre or"
        " at the rim; vignette: at the rim; spot: around a random place",
    )
    strength: Range = Field(
        default=(0.4, 0.7),
        description="share of the light lost at the darkest place before smoothing, [low, high]: 0.7 leaves a"
        " factor of 0.3; severity scales it up to 1 at most",
    )
    sigma_px: float = Field(
        default=80.0,
        ge=0,
        description="standard deviation of the smoothing Gaussian in pixels of the dataset's image",
        json_schema_extra={"rule": "it must be a number of pixels, 0 or more", "remedy": "use 80"},
    )

    @field_validator("strength")
    @classmethod
    def _within(cls, span: tuple[float, float]) -> tuple[float, float]:
        return _check("illumination.strength", span)


# What a preset sets otherwise than the field defaults, which are `mvtec_shift`.
_PRESETS: Mapping[str, Mapping[str, object]] = {
    "mvtec_shift": {},
    "mvtec_shift_proposal": {
        "scale": None,
        "crop": {"area": (0.9, 1.0), "aspect": (0.9, 1.1)},
        "translation": (-0.05, 0.05),
        "blur": {"probability": 1.0},
        "noise": {"probability": 1.0},
        "illumination": {"kinds": ("vignette", "spot")},
    },
}


class ShiftTransforms(_Frozen):
    """Which changes may happen, at any severity.

    What is given explicitly wins over the preset, key by key (`blur: {probability: 1}` keeps the preset's
    kernels and sigma), and null switches a transform off. A validated config is complete: its dump depends on
    no preset any more.
    """

    preset: Literal["mvtec_shift", "mvtec_shift_proposal"] = Field(
        default="mvtec_shift", description="the values of all transforms that are not given here"
    )
    seed: int = Field(
        default=42,
        ge=0,
        lt=2**63,
        description="of every draw, together with the image's identity: an image is always shifted alike",
        json_schema_extra={"rule": "it must be a whole number, 0 or more", "remedy": "use 42"},
    )
    rotation_deg: SymmetricRange | None = Field(
        default=(-10.0, 10.0),
        description="rotation about the centre: [low, high] in degrees; 5 means [-5, 5]",
    )
    scale: Range | None = Field(
        default=(0.9, 1.0),
        description="factor of the content's size: [low, high]; below 1 the content shrinks",
    )
    translation: SymmetricRange | None = Field(
        default=(-0.1, 0.1),
        description="movement along each side as a share of it: [low, high]; 0.1 means [-0.1, 0.1]",
    )
    crop: Crop | None = Field(default=None, description="random resized crop")
    brightness: Range | None = Field(default=(0.7, 1.3), description="factor on the values: [low, high]")
    contrast: Range | None = Field(
        default=(0.7, 1.3), description="factor on the distance from the image's mean luma: [low, high]"
    )
    saturation: Range | None = Field(
        default=(0.7, 1.3), description="factor on the distance from the pixel's luma: [low, high]"
    )
    blur: Blur | None = Field(default=Blur(), description="Gaussian blur")
    noise: Noise | None = Field(default=Noise(), description="additive Gaussian noise")
    illumination: Illumination | None = Field(default=Illumination(), description="illumination gradient")
    fill: Literal["reflect", "constant"] = Field(
        default="reflect", description="what comes in from outside the image; the mask has no defect there"
    )
    fill_value: tuple[int, int, int] = Field(
        default=(0, 0, 0), description="[red, green, blue] from 0 to 255 for `fill: constant`, or one number"
    )
    at: Literal["native", "model"] = Field(
        default="native",
        description="native: an image is shifted at its own size, as another camera would; model: after the resize to"
        " image.size, so that blur and noise are as strong for a model whatever the dataset's resolution",
        json_schema_extra={"rule": "it must be native or model", "remedy": "use native"},
    )
    drop_vanished: bool = Field(
        default=False,
        description="whether images whose defect the shift moves out of the frame are left out of its test part",
        json_schema_extra={"rule": "it must be true or false", "remedy": "use false"},
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: object) -> object:
        preset = data.get("preset", "mvtec_shift") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(preset, str):
            return data
        filled = dict(data)
        for key, default in _PRESETS.get(preset, {}).items():
            given = filled.setdefault(key, default)
            if isinstance(given, dict) and isinstance(default, dict):
                filled[key] = {**default, **given}
        return filled

    @field_validator("rotation_deg", "scale", "translation", "brightness", "contrast", "saturation")
    @classmethod
    def _within(cls, span: tuple[float, float] | None, info: ValidationInfo) -> tuple[float, float] | None:
        return None if span is None else _check(str(info.field_name), span)

    @field_validator("fill_value", mode="before")
    @classmethod
    def _one_for_all(cls, value: object) -> object:
        return (value, value, value) if isinstance(value, int) else value

    @field_validator("fill_value")
    @classmethod
    def _eight_bits(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if not all(0 <= level < N_LEVELS for level in value):
            message = "it must hold values from 0 to 255\nuse 0 for black, 255 for white, or [red, green, blue]"
            raise ValueError(message)
        return value


class ShiftConfig(ShiftTransforms):
    """Which changes may happen, and how strongly. Its dump is part of the keys of shifted images."""

    # Declared last: its validator sees the transforms, and its message then points at the key `severity`.
    severity: float = Field(
        default=1.0,
        ge=0,
        validate_default=True,
        description="0 or more: scales every range about the value that changes nothing (0: identity, 1: as"
        " given); probabilities, kernels and sigma_px stay; refused where a range would leave what makes"
        " sense, such as a negative factor, except that the loss of light is cut at 1",
    )

    def identity(self) -> dict[str, object]:
        """What shifted images are named by: what changes their pixels. `at` is newer than the names of native ones."""
        return self.model_dump(mode="json", exclude={"drop_vanished", *(["at"] if self.at == "native" else [])})

    @property
    def moves(self) -> bool:
        """Whether the geometry may change, which brings pixels in from outside the image."""
        geometry = ("rotation_deg", "scale", "translation", "crop.area", "crop.aspect")
        return any(end != AXES[name].neutral for name in geometry for end in self.span(name))

    def span(self, transform: str) -> Span:
        """The range at this severity, of "scale" or "blur.sigma"; the neutral value twice when it is off.

        Args:
            transform: a key of `AXES`.
        """
        axis = AXES[transform]
        given = _given(dict(self), transform)
        return Span(axis.neutral, axis.neutral) if given is None else axis.scaled(given, self.severity)

    @field_validator("severity")
    @classmethod
    def _makes_sense(cls, severity: float, info: ValidationInfo) -> float:
        for name, axis in AXES.items():
            given = _given(info.data, name)
            if given is None:
                continue
            low, high = axis.scaled(given, severity)
            if not (axis.low <= low and high <= axis.high):
                message = (
                    f"it would take {name} from [{given[0]:g}, {given[1]:g}] to [{low:.3g}, {high:.3g}],"
                    f" which must stay within [{axis.low:g}, {axis.high:g}]: {axis.meaning}\n"
                    f"use at most {axis.largest_severity(given):g}, or a narrower {name}"
                )
                raise ValueError(message)
        return severity


def _given(fields: Mapping[str, object], name: str) -> tuple[float, float] | None:
    """The range behind "scale" or "blur.sigma"; None when it is switched off (or did not validate)."""
    transform, _, inner = name.partition(".")
    setting = fields.get(transform)
    span = getattr(setting, inner) if inner and setting is not None else setting
    return span if isinstance(span, tuple) else None
