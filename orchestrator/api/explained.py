"""Why a run misses defects, and which of its training images are suspicious."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.api.frames import frame_of
from adloc.api.pictures import sheet
from adloc.explain.words import describe_explanation
from adloc.printed import printable
from adloc.record.heatmaps import read_picture

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from adloc.explain.explanation import Explanation


@dataclass(frozen=True, slots=True, repr=False)
class Explained:
    """The explanation of a run.

    Attributes:
        explanation: all that is known.
        folder: of its pictures.
    """

    explanation: Explanation
    folder: Path

    def __repr__(self) -> str:
        """For people: lines."""
        return printable(describe_explanation(self.explanation, self.folder), keep="\n")

    def _repr_png_(self) -> bytes | None:
        """Inline in a notebook: the suspicious training images, then the missed defects beside their nearest."""
        names = [each.picture for each in self.explanation.training.images]
        names += [each.picture for each in self.explanation.missed.defects]
        whole = [content for name in names if (content := read_picture(self.folder / name, None)) is not None]
        return sheet(whole) if whole else None

    @property
    def suspicious(self) -> pd.DataFrame:
        """The training images furthest from the others, a row each; see `adloc.explain.explanation.TrainingImage`."""
        return frame_of([each.model_dump() for each in self.explanation.training.images])

    @property
    def missed(self) -> pd.DataFrame:
        """The missed defects, a row each; see `adloc.explain.explanation.MissedDefect`."""
        return frame_of([each.model_dump() for each in self.explanation.missed.defects])
