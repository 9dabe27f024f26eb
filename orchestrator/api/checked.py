"""A study's images as they were found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.api.frames import frame_of
from adloc.planning.part_counts import part_counts
from adloc.printed import printable

if TYPE_CHECKING:
    import pandas as pd

    from adloc.errors import Complaint
    from adloc.study import DataCheck


@dataclass(frozen=True, slots=True, repr=False)
class Checked:
    """What was found in a study's images.

    Attributes:
        found: all of it.
    """

    found: DataCheck

    def __repr__(self) -> str:
        """For people: lines."""
        told = [f"error: {each}" for each in self.errors] + [f"warning: {each}" for each in self.warnings]
        counts = f"{len(self.errors)} errors, {len(self.warnings)} warnings, every image read"
        said = [*told, *([] if self.parts.empty else [self.parts.to_string(index=False)]), counts]
        return printable("\n".join(said), keep="\n")

    @property
    def ok(self) -> bool:
        """Whether the study can run."""
        return not self.found.errors

    @property
    def errors(self) -> tuple[Complaint, ...]:
        """What keeps it from running."""
        return self.found.errors

    @property
    def warnings(self) -> tuple[Complaint, ...]:
        """What does not."""
        return self.found.warnings

    @property
    def parts(self) -> pd.DataFrame:
        """How many images each part has, and what of; empty with errors."""
        return frame_of([] if self.found.plan is None else part_counts(self.found.plan))
