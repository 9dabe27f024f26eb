"""What a study explains of its runs once they are recorded; nothing of it changes a run."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ExplainConfig(BaseModel):
    """What is explained of the leads, in the first regime."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suspicious_images: int = Field(
        default=12,
        ge=0,
        description="training images furthest from the others, with pictures; 0 for none",
        json_schema_extra={"rule": "it must be a whole number, 0 or more", "remedy": "use 12, or 0 for none"},
    )
    missed_defects: int = Field(
        default=12,
        ge=0,
        description="missed defects shown beside their nearest training patch; 0: why defects are missed is not asked",
        json_schema_extra={"rule": "it must be a whole number, 0 or more", "remedy": "use 12, or 0 for none"},
    )
    mask_noise: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(),
        description="pixels by which the masks are eroded and dilated, to see how much of PRO is the annotator's hand",
        json_schema_extra={
            "rule": "it must be a list of whole numbers of pixels, from 1 to 64",
            "remedy": "use [1, 2], or [] for none",
        },
    )

    @property
    def is_off(self) -> bool:
        """Whether nothing is asked for."""
        return not (self.suspicious_images or self.missed_defects or self.mask_noise)
