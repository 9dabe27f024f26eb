"""An image in overlapping tiles, each as large as a backbone's input: where they lie and what each is kept for.

All is in pixels of the canvas, the picture that the tiles cover together, to which an image is resized.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Half of the narrowest overlap is 16 px, the stride of a ResNet's layer3: the cut falls between its cells.
OVERLAP_STEP = 32
_COUNT = {"rule": "it must be a whole number of tiles from 1 to 16", "remedy": "use 2"}
Count = Annotated[int, Field(strict=True, ge=1, le=16, json_schema_extra=_COUNT)]


class TilesConfig(BaseModel):
    """Rows and columns of tiles of `image.size`, and how much of a side neighbours share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Count = Field(description="tiles from top to bottom")
    columns: Count = Field(description="tiles from left to right")
    overlap: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        allow_inf_nan=False,
        description="least share of a tile's side that it has in common with its neighbour: widened to whole steps of"
        " 32 pixels",
        json_schema_extra={"rule": "it must be a share of a tile's side from 0 to 0.5", "remedy": "use 0.1"},
    )

    def __str__(self) -> str:
        """ "2 x 3, overlap 0.1"."""
        return f"{self.rows} x {self.columns}, overlap {self.overlap:g}"

    @property
    def count(self) -> int:
        """How many tiles an image is cut into."""
        return self.rows * self.columns

    def shared(self, side: int) -> int:
        """Pixels that two neighbours have in common along a side of a tile.

        Example:
            >>> TilesConfig(rows=2, columns=3, overlap=0.1).shared(224)
            32
        """
        return math.ceil(round(self.overlap * side / OVERLAP_STEP, 9)) * OVERLAP_STEP

    def canvas(self, tile: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that tiles of this (height, width) cover together.

        Example:
            >>> TilesConfig(rows=2, columns=3, overlap=0.1).canvas((224, 224))
            (416, 608)
        """
        (height, width), (rows, columns) = tile, (self.rows, self.columns)
        return (
            rows * height - (rows - 1) * self.shared(height),
            columns * width - (columns - 1) * self.shared(width),
        )


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, in pixels of the canvas.

    Attributes:
        start: its first pixel.
        stop: one past its last.
        core_start: first pixel that the tile is kept for.
        core_stop: one past the last of these.
    """

    start: int
    stop: int
    core_start: int
    core_stop: int


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile lies, from top to bottom and from left to right."""

    rows: Span
    columns: Span


def share_of(pixels: int, side: int) -> float:
    """The overlap to write for this many pixels, a whole number of steps: four decimals, never rounded up.

    Example:
        >>> share_of(64, 224), TilesConfig(rows=2, columns=2, overlap=share_of(64, 224)).shared(224)
        (0.2857, 64)
    """
    return math.floor(pixels / side * 10_000) / 10_000


def place_tiles(config: TilesConfig, tile: tuple[int, int]) -> tuple[Tile, ...]:
    """Every tile of the canvas, row by row; their cores cover it, each pixel once.

    Of an overlap each of the two tiles is kept for the half that is nearer to its own centre: there the padding at its
    border has the least effect. A side that lies on the canvas's own border is kept whole.

    Args:
        config: how many, and how much they share.
        tile: (height, width) of one.
    """
    rows, columns = (
        _spans(count, side, config.shared(side))
        for count, side in zip((config.rows, config.columns), tile, strict=True)
    )
    return tuple(itertools.starmap(Tile, itertools.product(rows, columns)))


def _spans(count: int, side: int, shared: int) -> list[Span]:
    half, found = shared // 2, []
    for index in range(count):
        start = index * (side - shared)
        stop = start + side
        found.append(Span(start, stop, start + half * (index > 0), stop - half * (index < count - 1)))
    return found
