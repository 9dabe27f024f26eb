"""What a study file may say about tuning: a search space for a method, and how it is searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from adloc.metrics.registry import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.methods.method import Method

Number = int | float
Sampler = Literal["tpe", "gp", "random"]
OBJECTIVES = tuple(name for name in METRICS if name.startswith("val_") and METRICS[name].better != "none")
DEFAULT_METRIC = "val_image_auroc"


class Dimension(BaseModel):
    """One hyperparameter's values: `choices`, or a range from `low` to `high`, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Number | None = Field(
        default=None,
        description="smallest value of a range",
        json_schema_extra={"rule": "it must be a number, the range's smallest value", "remedy": "use 0.01"},
    )
    high: Number | None = Field(
        default=None,
        description="largest value of a range",
        json_schema_extra={"rule": "it must be a number, the range's largest value", "remedy": "use 0.25"},
    )
    log: bool = Field(
        default=False,
        description="draw on a logarithmic scale",
        json_schema_extra={"rule": "it must be true or false", "remedy": "use log: true for shares and rates"},
    )
    type: Literal["float", "int"] = Field(default="float", description="of a range's values")
    choices: tuple[JsonValue, ...] | None = Field(
        default=None,
        description="values to choose from",
        json_schema_extra={"rule": "it must be a list of values to choose from", "remedy": "use choices: [1, 3, 5]"},
    )

    def __contains__(self, value: object) -> bool:
        """Whether a trial could draw this value."""
        if self.choices is not None:
            return _plain(value) in [_plain(choice) for choice in self.choices]
        if self.low is None or self.high is None or isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and (self.type == "float" or float(value).is_integer())

    def most(self, value: float) -> float:
        """The largest value that a trial could draw, or `value` if that is larger."""
        numbers = [self.high] if self.choices is None else self.choices
        return max([value, *(float(n) for n in numbers if isinstance(n, int | float))])


class TuneConfig(BaseModel):
    """What is tuned of one method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: Literal["auto"] | dict[str, Dimension] = Field(
        description="auto: the method's own default space; or by hyperparameter its range or choices",
        json_schema_extra={
            "rule": "it must be auto (the method's own space), or hyperparameters with their range or choices",
            "remedy": "write for example space: {coreset_ratio: {low: 0.01, high: 0.25, log: true}}",
        },
    )
    start: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="of the untuned setting, which is the first trial: values other than the method's defaults",
        json_schema_extra={
            "rule": "it must hold values of hyperparameters of the space: the setting to start from",
            "remedy": "leave it out to start from the method's defaults",
        },
    )

    def dimensions(self, method: Method, fixed: Mapping[str, object]) -> dict[str, Dimension]:
        """The space by hyperparameter; the method's own, without what is `fixed` elsewhere, for auto."""
        if self.space != "auto":
            return dict(self.space)
        own = {key: value for key, value in method.default_space.items() if key not in fixed}
        return {key: Dimension.model_validate(value) for key, value in own.items()}


class Constraints(BaseModel):
    """What a winner may cost at most. Seconds are measured, so they differ a little from machine to machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score_ms_per_image: float | None = Field(
        default=None,
        gt=0,
        description="milliseconds of scoring an image",
        json_schema_extra={"rule": "it must be above 0: milliseconds of scoring an image", "remedy": "use 50"},
    )
    model_mb: float | None = Field(
        default=None,
        gt=0,
        description="size of the fitted model in 10^6 bytes",
        json_schema_extra={"rule": "it must be above 0: the model's size in 10^6 bytes", "remedy": "use 200"},
    )

    def limits(self) -> dict[str, float]:
        """The limits that were set, by result column."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class TuningConfig(BaseModel):
    """How every space of the study is searched, on train and validation parts alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str | tuple[str, ...] = Field(
        default=DEFAULT_METRIC,
        description="what is sought: a figure of the validation part; a list for several objectives",
    )
    constraints: Constraints = Field(default_factory=Constraints)
    trials: int = Field(
        default=40,
        ge=1,
        le=100_000,
        description="settings to try, the untuned one included",
        json_schema_extra={"rule": "it must be a whole number from 1: the settings to try", "remedy": "use 40"},
    )
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="no trial is begun once the trials have taken this long together; null for no limit",
        json_schema_extra={"rule": "it must be above 0, in seconds, or null for no limit", "remedy": "use 3600"},
    )
    across: Literal["macro", "category"] = Field(
        default="macro",
        description="macro: one setting for all categories, by the mean of the metric; category: one each",
    )
    sampler: Sampler = Field(default="tpe", description="who suggests: tpe, gp (Gaussian process) or random")
    prune: bool = Field(
        default=True,
        description="stop a trial once even a perfect figure in every category to come could not make it the best;"
        " with one objective and several categories, for with others there is nothing to stop",
        json_schema_extra={"rule": "it must be true or false", "remedy": "use true"},
    )
    wave: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="trials that are suggested together, before any of them is known",
        json_schema_extra={"rule": "it must be a whole number from 1 to 1000", "remedy": "use 1"},
    )
    seed: int = Field(
        default=42,
        ge=0,
        description="of the suggestions; trial i of repeat r draws from (seed + r, i) alone",
        json_schema_extra={"rule": "it must be a whole number, 0 or more", "remedy": "use 42"},
    )

    @field_validator("metric")
    @classmethod
    def _metric_is_of_the_validation_part(cls, metric: str | tuple[str, ...]) -> str | tuple[str, ...]:
        names = (metric,) if isinstance(metric, str) else metric
        for name in names:
            if not name.startswith("val_"):
                better = f"val_{name}" if f"val_{name}" in OBJECTIVES else DEFAULT_METRIC
                message = f"tuning sees the validation part alone: {name} does not start with val_\nuse {better}"
                raise ValueError(message)
            if name not in OBJECTIVES:
                message = f"{name} cannot be tuned: {', '.join(OBJECTIVES)}\nuse {DEFAULT_METRIC}"
                raise ValueError(message)
        if not names or len(set(names)) < len(names):
            message = f"it must name each objective once, at least one\nuse {DEFAULT_METRIC}"
            raise ValueError(message)
        return metric

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics sought, one or several."""
        return (self.metric,) if isinstance(self.metric, str) else self.metric


def _plain(value: object) -> object:
    """As JSON would give it: a tuple is a list, and 1 is not true."""
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else (type(value) is bool, value)
