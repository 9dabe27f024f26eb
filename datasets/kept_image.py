"""An image of which everything is known but its pixels: of a study that is read where its images are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from adloc.datasets.errors import DatasetError, Problem

if TYPE_CHECKING:
    from adloc.datasets.defect_kinds import DefectKind


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image as it was recorded.

    Attributes:
        location: where it was.
        kinds: of the defects that its masks mark.
        left_frame: identities of the shifts that move all of its defect out of the frame.
    """

    location: str
    kinds: tuple[DefectKind, ...] = ()
    left_frame: frozenset[str] = frozenset()

    def stamp(self) -> None:
        """Nothing: what it is now is not known."""

    def read(self) -> NoReturn:
        """Nothing can be read.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(
            Problem(
                f"{self.location}: its pixels are not part of what is recorded",
                "a study that is read from its records has no images",
                "give the study file, on a machine that has the images",
            )
        )

    def fingerprint(self) -> NoReturn:
        """See `read`."""
        self.read()
