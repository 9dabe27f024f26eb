"""A contact sheet: rows of pictures with captions, defects outlined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from adloc.datasets.sample import Picture

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
    Colour = tuple[int, int, int]

_PAPER = (255, 255, 255)
_INK = (28, 32, 38)
_FAINT = (112, 119, 128)
_HAIRLINE = (226, 229, 233)
_OUTLINE = (255, 45, 85)
_HALO = (255, 255, 255)

_MARGIN = 24
_COLUMN_GAP = 8
_ROW_GAP = 22
_TITLE_SIZE, _CAPTION_SIZE, _HEADING_SIZE, _LABEL_SIZE = 20, 15, 13, 11
# Outlines are drawn this many times larger and scaled down: Pillow's own lines have hard steps.
_OVERSAMPLING = 3
_CLEARANCE = 2.5  # pixels of the sheet between a defect and its outline


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row of a sheet.

    Attributes:
        caption: lines of text; the first is set strong, the others faint (category, defect type, part).
        pictures: from left to right; a normal image has an empty mask and gets no outline.
        labels: one short line under each picture ("003.png"), or none at all.
    """

    caption: str
    pictures: tuple[Picture, ...]
    labels: tuple[str, ...] = ()


def contact_sheet(
    rows: Sequence[SheetRow], *, title: str = "", headings: Sequence[str] = (), side: int = 168
) -> Image.Image:
    """Return the rows as one RGB image: captions on the left, pictures in columns, defects outlined.

    Pictures keep their proportions; columns are as wide, and rows as high, as their largest picture. To
    compare domains, give each row the clean and the shifted picture of one sample, and name the columns in
    `headings`.

    Args:
        rows: at least one.
        title: one line above everything.
        headings: one a column of pictures, above the first row.
        side: the longer side of each picture on the sheet, in pixels.

    Raises:
        ValueError: no row.
    """
    if not rows:
        message = "a contact sheet needs a row"
        raise ValueError(message)
    top = [_text([heading], _HEADING_SIZE, _FAINT) for heading in ("", *headings)] if headings else []
    grid = [[_caption(row.caption), *_cells(row, side)] for row in rows]
    widths = [max(cell.width for cell in column) for column in zip_longest(*grid, top, fillvalue=_text([], 1))]
    heights = [max(cell.height for cell in row) for row in grid]
    title_line = _text([title] if title else [], _TITLE_SIZE)

    lefts = [_MARGIN + sum(widths[:i]) + _COLUMN_GAP * i + (_COLUMN_GAP if i else 0) for i in range(len(widths))]
    width = max(lefts[-1] + widths[-1], _MARGIN + title_line.width) + _MARGIN
    y = _MARGIN + (title_line.height + _ROW_GAP // 2 if title else 0)
    first = y + (top[0].height + _COLUMN_GAP if top else 0)
    sheet = Image.new("RGB", (width, first + sum(heights) + _ROW_GAP * (len(rows) - 1) + _MARGIN), _PAPER)
    sheet.paste(title_line, (_MARGIN, _MARGIN - 6))
    for x, heading in zip(lefts, top, strict=False):
        sheet.paste(heading, (x, y))

    pen, y = ImageDraw.Draw(sheet), first
    for cells, height in zip(grid, heights, strict=True):
        if y > first:
            pen.line((_MARGIN, y - _ROW_GAP // 2, width - _MARGIN, y - _ROW_GAP // 2), fill=_HAIRLINE)
        for x, cell in zip(lefts, cells, strict=False):
            sheet.paste(cell, (x, y))
        y += height + _ROW_GAP
    return sheet


def outlined(picture: Picture, side: int) -> Image.Image:
    """Return a picture as RGB, its longer side scaled to `side` pixels, with a line around its defects."""
    height, width = picture.image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(picture.image).resize(size, Image.Resampling.LANCZOS)
    if picture.mask is not None and picture.mask.any():
        larger = (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING)
        for colour, thickness in ((_HALO, 3.4), (_OUTLINE, 1.7)):
            stencil = _outline(picture.mask, larger, round(thickness * _OVERSAMPLING))
            image.paste(colour, (0, 0), stencil.resize(size, Image.Resampling.BOX))
    # A hairline, or a part on white would float on the paper.
    ImageDraw.Draw(image).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=_HAIRLINE)
    return image


def _outline(mask: NDArray[np.bool_], size: tuple[int, int], thickness: int) -> Image.Image:
    """Draw a line around a mask, white on black, at `size` (width, height)."""
    import cv2
    from skimage.measure import find_contours

    stencil = Image.new("L", size, 0)
    pen = ImageDraw.Draw(stencil)
    scale = np.array([size[0] / mask.shape[1], size[1] / mask.shape[0]])
    # Just outside of the defect: on its border the line would cover a crack.
    distance = _CLEARANCE * _OVERSAMPLING / float(scale.min())
    frame = int(distance) + 2
    outside = (~np.pad(mask, frame)).astype(np.uint8)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    for contour in find_contours(away, distance):  # type: ignore[no-untyped-call]  # it has no types
        points = (contour[:, ::-1] - frame + 0.5) * scale
        pen.line([(float(x), float(y)) for x, y in points], fill=255, width=thickness, joint="curve")
    return stencil


def _cells(row: SheetRow, side: int) -> list[Image.Image]:
    labels = row.labels or ("",) * len(row.pictures)
    return [_cell(picture, label, side) for picture, label in zip(row.pictures, labels, strict=True)]


def _cell(picture: Picture, label: str, side: int) -> Image.Image:
    """Put the label under the picture."""
    image = outlined(picture, side)
    if not label:
        return image
    line = _text([label], _LABEL_SIZE, _FAINT)
    cell = Image.new("RGB", (max(image.width, line.width), image.height + 2 + line.height), _PAPER)
    cell.paste(image, (0, 0))
    cell.paste(line, (0, image.height + 2))
    return cell


def _caption(caption: str) -> Image.Image:
    first, *others = caption.split("\n")
    strong = _text([first] if first else [], _CAPTION_SIZE)
    faint = _text(others, _HEADING_SIZE, _FAINT)
    block = Image.new("RGB", (max(strong.width, faint.width), strong.height + faint.height), _PAPER)
    block.paste(strong, (0, 0))
    block.paste(faint, (0, strong.height))
    return block


def _text(lines: Sequence[str], size: int, colour: Colour = _INK) -> Image.Image:
    """Set lines of text on paper, just large enough; nothing is 0 x 0 pixels."""
    font, pitch = _font(size), round(size * 1.4)
    width = max((int(np.ceil(font.getlength(line))) for line in lines), default=0)
    block = Image.new("RGB", (width, pitch * len(lines)), _PAPER)
    pen = ImageDraw.Draw(block)
    for i, line in enumerate(lines):
        pen.text((0, pitch * i), line, fill=colour, font=font)
    return block


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
