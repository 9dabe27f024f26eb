"""What pictures of images are drawn with: panels of a common size, outlines, words that fit. Array operations alone."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Colour = tuple[int, int, int]

INK, FAINT, PAPER, WHITE = (28, 30, 34), (104, 108, 116), (245, 246, 248), (255, 255, 255)
DEFECT, CONTOUR, HALO = (60, 235, 110), WHITE, (16, 16, 20)
PANEL = 264  # square root of a panel's area, pixels
LONGEST = 2 * PANEL  # of a panel's sides
MARGIN, GAP, HEAD, TITLE = 10, 8, 40, 20
NARROWEST = 640  # room for the caption


@lru_cache(maxsize=8)
def font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font: the same on every machine."""
    return ImageFont.load_default(size)


def panel_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of a panel with the image's proportions."""
    factor = min(PANEL / math.sqrt(width * height), LONGEST / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def resized(
    array: NDArray[np.uint8] | NDArray[np.floating], width: int, height: int
) -> NDArray[np.integer | np.floating]:
    """An image or a map at another size: averaged where it shrinks, bilinear where it grows."""
    shrinks = width < array.shape[1]
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def touched(mask: NDArray[np.bool_], width: int, height: int) -> Pixels:
    """1 wherever a defect pixel falls, so that shrinking loses no small defect."""
    shrinks = width < mask.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    return (cv2.resize(mask.astype(np.float32), (width, height), interpolation=method) > 0).astype(np.uint8)


def grown(mask: Pixels) -> Pixels:
    """Five pixels larger on every side: a line on the border itself would hide a thin defect."""
    return np.asarray(cv2.dilate(mask, np.ones((11, 11), dtype=np.uint8)), dtype=np.uint8)


def blended(picture: Pixels, colours: Pixels, positions: NDArray[np.float64]) -> Pixels:
    """Colours over the grey image; the warmer, the more opaque."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    opacity = (0.1 + 0.65 * positions)[..., None].astype(np.float32)
    return (grey + opacity * (colours - grey)).astype(np.uint8)


def outline(picture: Pixels, inside: Pixels, colour: Colour) -> None:
    """Draw the border of the non-zero pixels into the picture, with a dark halo to show on any ground."""
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, HALO, 3, cv2.LINE_AA)
    cv2.drawContours(picture, contours, -1, colour, 1, cv2.LINE_AA)


def fitted(text: str, width: int, size: int) -> str:
    """The text, cut with an ellipsis where it is wider than `width` pixels."""
    font = font_of(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip(" ,") + "..."


def lay_out(panels: Sequence[tuple[str, Pixels]]) -> Image.Image:
    """Panels of one height side by side, each under its title, with room for a line of text above."""
    height = max(panel.shape[0] for _, panel in panels)
    widths = [panel.shape[1] for _, panel in panels]
    total = max(NARROWEST, 2 * MARGIN + sum(widths) + (len(panels) - 1) * GAP)
    strip = np.full((HEAD + TITLE + height + MARGIN, total, 3), PAPER, dtype=np.uint8)
    lefts = [MARGIN + sum(widths[:index]) + index * GAP for index in range(len(panels))]
    for left, (_, panel) in zip(lefts, panels, strict=True):
        strip[HEAD + TITLE : HEAD + TITLE + panel.shape[0], left : left + panel.shape[1]] = panel
    result = Image.fromarray(strip)
    draw = ImageDraw.Draw(result)
    for left, (title, panel) in zip(lefts, panels, strict=True):
        draw.text((left, HEAD + TITLE - 5), fitted(title, panel.shape[1], 12), FAINT, font_of(12), anchor="ls")
    return result
