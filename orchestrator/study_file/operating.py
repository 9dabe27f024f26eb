"""At which rates and costs a study's detectors will work; without it nothing is said of shifts and costs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class OperatingConfig(BaseModel):
    """The line that a detector is meant for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prevalence: float = Field(
        gt=0,
        lt=1,
        description="share of the line's parts that are defective; a test part has far more",
        json_schema_extra={
            "rule": "it must be above 0 and below 1, the share of the line's parts that are defective",
            "remedy": "use 0.002 for 2 defective parts in 1,000",
        },
    )
    cost_miss: float = Field(
        default=50,
        ge=0,
        description="what a defective part that passes costs, in any unit",
        json_schema_extra={"rule": "it must be 0 or more", "remedy": "use 50 with cost_false_alarm: 1"},
    )
    cost_false_alarm: float = Field(
        default=1,
        ge=0,
        description="what a good part that is flagged costs, in the same unit",
        json_schema_extra={"rule": "it must be 0 or more", "remedy": "use 1"},
    )
    parts_per_shift: int = Field(
        default=10_000,
        ge=1,
        description="parts that are inspected in a shift",
        json_schema_extra={"rule": "it must be a whole number, 1 or more", "remedy": "use 10000"},
    )
