"""What counts as a difference between settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_MARGIN = 0.01


class ComparisonConfig(BaseModel):
    """How settings are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: float = Field(
        default=DEFAULT_MARGIN,
        gt=0,
        lt=1,
        description="settings whose difference surely lies within it, on the scale of the metrics, are called equal",
        json_schema_extra={
            "rule": "it must be above 0 and below 1: the largest difference of a metric that does not matter to you",
            "remedy": "use 0.01, or the difference that would change your decision",
        },
    )
