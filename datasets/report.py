"""What a check of a dataset found: errors that keep a study from running, warnings that do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adloc.datasets.errors import Problem


@dataclass(frozen=True, slots=True)
class Report:
    """All problems of a dataset, by severity.

    Attributes:
        errors: nothing can be run before these are mended.
        warnings: the dataset can be used, and some of it is not what its owner may think.
    """

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def __add__(self, other: Report) -> Report:
        """Join two reports, this one's problems first."""
        return Report(self.errors + other.errors, self.warnings + other.warnings)

    @property
    def ok(self) -> bool:
        """True when there are no errors; there may be warnings."""
        return not self.errors
