"""Pictures of explanations: a training image beside its leave-one-out map, a missed defect beside what it resembles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import ImageDraw

from adloc.datasets.transform import resize_and_crop
from adloc.record.heatmaps import draw_legend, png_bytes
from adloc.record.panels import (
    DEFECT,
    GAP,
    HALO,
    HEAD,
    INK,
    MARGIN,
    blended,
    fitted,
    font_of,
    grown,
    lay_out,
    outline,
    panel_size,
    resized,
    touched,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from adloc.datasets.transform import ImageConfig
    from adloc.record.heatmaps import ColourScale
    from adloc.record.panels import Pixels

_BOX = (255, 210, 40)
_AROUND = 3  # cells of the patch grid on every side of the patch, in an enlarged view


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A patch in an image.

    Attributes:
        picture: uint8 (height, width, 3), of any size.
        row: of the patch, on the grid.
        column: of the patch, on the grid.
    """

    picture: Pixels
    row: int
    column: int


def draw_suspicious(
    title: str, picture: Pixels, anomaly_map: NDArray[np.floating], scale: ColourScale, config: ImageConfig
) -> bytes:
    """A training image, its leave-one-out map, and the map over the image; a PNG file.

    Args:
        title: what to write above.
        picture: uint8 (height, width, 3), of any size.
        anomaly_map: of what the model sees of it.
        scale: of the maps of all training images.
        config: what the model sees.
    """
    seen = resize_and_crop(picture, config)
    width, height = panel_size(seen.shape[1], seen.shape[0])
    shown = np.asarray(resized(seen, width, height), dtype=np.uint8)
    scores = np.asarray(resized(anomaly_map, width, height), dtype=np.float32)
    colours = scale.colours(scores)
    over = blended(shown, colours, scale.positions(scores))
    strip = lay_out((("training image", shown), ("leave-one-out map", colours), ("map over the image", over)))
    legend_left = draw_legend(strip, ImageDraw.Draw(strip), scale, has_threshold=True)
    return _finished(strip, title, legend_left - 2 * GAP)


def draw_missed(
    title: str, missed: Place, mask: NDArray[np.bool_], nearest: Place, grid: tuple[int, int], config: ImageConfig
) -> bytes:
    """A missed defect with its outline and its highest patch, the training patch nearest to that, both enlarged.

    The boxes are the cells of the patch grid; a patch is made from more of the image than its cell.

    Args:
        title: what to write above.
        missed: the defect's patch.
        mask: of the defect, at any size.
        nearest: the training patch.
        grid: (rows, columns) of the patch grid.
        config: what the model sees.
    """
    panels = []
    for words, place, true in (("missed defect, outlined", missed, mask), ("training image", nearest, None)):
        seen = resize_and_crop(place.picture, config)
        width, height = panel_size(seen.shape[1], seen.shape[0])
        shown = np.asarray(resized(seen, width, height), dtype=np.uint8).copy()
        closer = _enlarged(shown, place, grid)
        if true is not None:
            outline(shown, grown(touched(true, width, height)), DEFECT)
        _box(shown, _cell(place, grid, height, width))
        panels.append((words, shown))
        panels.append(("its highest patch" if place is missed else "the nearest training patch", closer))
    test, patch, training, like = panels
    strip = lay_out((test, patch, like, training))
    return _finished(strip, title, strip.width - MARGIN)


def _cell(place: Place, grid: tuple[int, int], height: int, width: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a patch's cell, pixels."""
    rows, columns = grid
    return (
        place.row * height // rows,
        -(-(place.row + 1) * height // rows),
        place.column * width // columns,
        -(-(place.column + 1) * width // columns),
    )


def _enlarged(shown: Pixels, place: Place, grid: tuple[int, int]) -> Pixels:
    """The patch with what is around it, as large as the whole image is shown."""
    height, width = shown.shape[:2]
    side = 2 * _AROUND + 1
    around_rows, around_columns = min(side, grid[0]), min(side, grid[1])
    first = (
        min(max(place.row - _AROUND, 0), grid[0] - around_rows),
        min(max(place.column - _AROUND, 0), grid[1] - around_columns),
    )
    top, left = first[0] * height // grid[0], first[1] * width // grid[1]
    bottom, right = (first[0] + around_rows) * height // grid[0], (first[1] + around_columns) * width // grid[1]
    closer = np.asarray(resized(np.ascontiguousarray(shown[top:bottom, left:right]), width, height), dtype=np.uint8)
    inside = Place(closer, place.row - first[0], place.column - first[1])
    _box(closer, _cell(inside, (around_rows, around_columns), height, width))
    return closer


def _box(picture: Pixels, cell: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = cell
    for colour, thick in ((HALO, 4), (_BOX, 2)):
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, thick)


def _finished(strip: Image.Image, title: str, right: int) -> bytes:
    draw = ImageDraw.Draw(strip)
    draw.text((MARGIN, HEAD // 2 + 1), fitted(title, right - MARGIN, 15), INK, font_of(15), anchor="lm")
    return png_bytes(strip)
