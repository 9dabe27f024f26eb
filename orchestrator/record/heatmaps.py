"""Pictures of anomaly maps: one strip of panels an image, in colours that mean the same in every strip.

The colours change from cold to warm at the threshold, so a normal image looks cold, and what is warm is what
the study calls anomalous. Drawn by array operations: a few milliseconds a strip, no plotting library.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
from PIL import Image, ImageDraw

from adloc.datasets.checked import crc32_of
from adloc.record.located import tone, verdict_words
from adloc.record.panels import (
    CONTOUR,
    DEFECT,
    FAINT,
    GAP,
    HEAD,
    INK,
    MARGIN,
    TITLE,
    WHITE,
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
from adloc.record.png import encode_png

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.record.located import Contour
    from adloc.record.panels import Pixels

Verdict = Literal["hit", "miss", "false alarm", "correct rejection", "no threshold"]
Reason = Literal["common", "lowest-anomaly", "highest-normal", "borderline", "highest-anomaly"]

_VERDICT_COLOURS: dict[Verdict, tuple[int, int, int]] = {
    "hit": (22, 128, 76),
    "miss": (186, 28, 46),
    "false alarm": (196, 98, 0),
    "correct rejection": (38, 92, 150),
    "no threshold": (96, 100, 108),
}
DAMAGED = (
    "this picture of a record is not what was recorded, and is left out; remove it and run the study again: that run "
    "is computed anew"
)
# What Pillow raises on damaged PNG files.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error, zlib.error)
_DOUBTFUL = (138, 96, 0)  # amber: the map does not bear the verdict out
# Position on the scale, colour. Cold and dark below the threshold at 0.5, warm above; lightness has its
# turning point there too, so the change shows without colour vision.
_COLOUR_STOPS = (
    (0.00, (8, 16, 48)),
    (0.20, (18, 52, 110)),
    (0.38, (48, 110, 170)),
    (0.495, (150, 200, 222)),
    (0.505, (255, 236, 150)),
    (0.65, (253, 170, 50)),
    (0.82, (226, 74, 28)),
    (1.00, (128, 4, 20)),
)


@dataclass(frozen=True, slots=True)
class ColourScale:
    """A piecewise linear map of scores to [0, 1], the same for all strips of a model and its threshold.

    Attributes:
        low: the score of an ordinary normal pixel; this and less is the coldest colour, 0.
        anchor: the threshold, or what stands in for it; 0.5, where cold turns to warm.
        high: the score of a clear defect; this and more is the warmest colour, 1.
    """

    low: float
    anchor: float
    high: float

    def __post_init__(self) -> None:
        """Refuse a scale that does not rise.

        Raises:
            ValueError: not low < anchor < high.
        """
        if not self.low < self.anchor < self.high:
            message = f"low {self.low}, anchor {self.anchor} and high {self.high} must rise"
            raise ValueError(message)

    @classmethod
    def around(cls, *, low: float, high: float, threshold: float | None) -> ColourScale:
        """The scale of a model's scores, anchored at the threshold, or half-way without one.

        Where the three do not rise (a threshold below the normal median, say), the anchor stays and the end
        that is wrong is mirrored at it. The threshold is one of image scores: it fits the maps of methods
        whose image score is the map's maximum, and is a hint for others.

        Args:
            low: the median score of normal pixels.
            high: a high quantile (99.9 %) of the scores of all pixels.
            threshold: None when none was calibrated.
        """
        anchor = (low + high) / 2 if threshold is None else threshold
        least = 1e-3 * max(1.0, abs(anchor))
        if low >= anchor:
            low = anchor - max(high - anchor, least)
        if high <= anchor:
            high = anchor + max(anchor - low, least)
        return cls(low=low, anchor=anchor, high=high)

    def positions(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Scores of any shape as positions in [0, 1]; at or above the anchor is at or above 0.5."""
        return np.asarray(np.interp(scores, (self.low, self.anchor, self.high), (0.0, 0.5, 1.0)))

    def colours(self, scores: NDArray[np.floating]) -> Pixels:
        """Scores (height, width) as uint8 (height, width, 3), RGB."""
        return _colour_table()[np.rint(self.positions(scores) * 255).astype(np.uint8)]


@dataclass(frozen=True, slots=True)
class Caption:
    """What is written above a strip.

    Attributes:
        name: which image: "bottle/test/broken_large/003.png".
        anomalous: whether it truly is.
        score: the image score.
        threshold: None when none was calibrated.
        contour: where the map reaches the threshold (see adloc.record.located); None when that is not known.
    """

    name: str
    anomalous: bool
    score: float
    threshold: float | None
    contour: Contour | None = None

    @property
    def verdict(self) -> Verdict:
        """What became of the image: anomalous when score >= threshold."""
        if self.threshold is None:
            return "no threshold"
        if self.score >= self.threshold:
            return "hit" if self.anomalous else "false alarm"
        return "miss" if self.anomalous else "correct rejection"

    @property
    def words(self) -> str:
        """The verdict, and whether the map bears it out."""
        return verdict_words(self.verdict, self.contour or "")


def render(
    image: Pixels,
    anomaly_map: NDArray[np.floating],
    mask: NDArray[np.bool_],
    scale: ColourScale,
    caption: Caption,
) -> Image.Image:
    """A strip of four panels: the image, its anomaly map, both with the threshold's contour, the true defect.

    Args:
        image: uint8 (height, width, 3), RGB.
        anomaly_map: raw scores of the same field of view, of any size.
        mask: True on defect pixels, of any size; all False for a normal image.
        scale: of the model's scores; written into the picture's `info` too, as "low anchor high".
        caption: what to write above.
    """
    width, height = panel_size(image.shape[1], image.shape[0])
    picture = np.asarray(resized(image, width, height), dtype=np.uint8)
    scores = np.asarray(resized(anomaly_map, width, height), dtype=np.float32)
    truth = touched(mask, width, height)
    colours = scale.colours(scores)
    overlay = blended(picture, colours, scale.positions(scores))
    if caption.threshold is not None:
        outline(overlay, (scores >= caption.threshold).astype(np.uint8), CONTOUR)
    outlined = picture.copy()
    outline(outlined, grown(truth), DEFECT)
    panels = (
        ("image", picture),
        ("anomaly map", colours),
        ("overlay" if caption.threshold is None else "threshold, outlined", overlay),
        ("defect, outlined" if truth.any() else "no mask" if caption.anomalous else "no defect", outlined),
    )
    result = lay_out(panels)
    result.info |= {"panel_width": str(width), "scale": f"{scale.low!r} {scale.anchor!r} {scale.high!r}"}
    if caption.contour is not None:
        result.info["contour"] = caption.contour
    draw = ImageDraw.Draw(result)
    legend_left = draw_legend(result, draw, scale, has_threshold=caption.threshold is not None)
    _draw_caption(draw, caption, legend_left - 2 * GAP)
    return result


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file, compressed fast rather than small; its `info` is kept in it as text."""
    return encode_png(np.asarray(picture), {str(name): str(value) for name, value in picture.info.items()})


@dataclass(frozen=True, slots=True)
class Panels:
    """The panels of a strip, without what is written around them.

    Attributes:
        picture: the input.
        anomaly_map: in colours.
        overlay: with the contour at the threshold.
        truth: the input with its defects outlined.
        contour: where the map reaches the threshold (see adloc.record.located); "" where that was not recorded.
    """

    picture: Image.Image
    anomaly_map: Image.Image
    overlay: Image.Image
    truth: Image.Image
    contour: str


def read_picture(path: Path, checksum: str | None) -> bytes | None:
    """The file of a picture; None where it is damaged, or gone.

    Args:
        path: a PNG file.
        checksum: as recorded; where none was, the file is held to those of its own chunks.
    """
    try:
        content = path.read_bytes()
        if checksum is None:
            with Image.open(BytesIO(content), formats=("PNG",)) as picture:
                picture.verify()
    except (*_DAMAGE, Image.DecompressionBombError):
        return None
    return content if checksum in (None, crc32_of(content)) else None


def read_panels(file: Path | BinaryIO) -> Panels:
    """Cut a strip that `render` drew into its panels again.

    Raises:
        OSError: the file is not there or is no picture.
    """
    with Image.open(file) as strip:
        strip.load()
        width = strip.info.get("panel_width")
        n_panels = 4
        # the width is written in strips narrower than the caption; others are full
        wide = int(width) if width else (strip.width - 2 * MARGIN - (n_panels - 1) * GAP) // n_panels
        top, bottom = HEAD + TITLE, strip.height - MARGIN
        lefts = [MARGIN + i * (wide + GAP) for i in range(n_panels)]
        contour = str(strip.info.get("contour", ""))
        picture, anomaly_map, overlay, truth = (strip.crop((left, top, left + wide, bottom)) for left in lefts)
        return Panels(picture, anomaly_map, overlay, truth, contour)


@dataclass(frozen=True, slots=True)
class Choice:
    """An image chosen for a picture.

    Attributes:
        index: into the scores.
        why: what it shows.
    """

    index: int
    why: Reason


def choose_common(names: Sequence[str], defects: Sequence[str], n: int) -> list[int]:
    """Images that every run on the same part chooses, whatever its scores: for comparing runs side by side.

    One of each defect type in turn, normal images being a type too, in the order of a hash of the names; the
    types with the fewest images chosen so far come first, by name.

    Args:
        names: identities of the images, which are the same in the clean and in the shifted domain.
        defects: their defect types.
        n: how many; all when there are fewer.
    """
    queues: dict[str, list[int]] = {}
    for index in sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode()).digest()):
        queues.setdefault(defects[index], []).append(index)
    rounds = itertools.zip_longest(*(queues[defect] for defect in sorted(queues)))
    return [index for turn in rounds for index in turn if index is not None][:n]


def choose_images(
    scores: NDArray[np.floating],
    labels: NDArray[np.bool_],
    threshold: float | None,
    n: int,
    common: Sequence[int] = (),
) -> list[Choice]:
    """A mix of the best, the worst and the borderline images, the same for the same scores.

    Taken in turn: the anomaly with the lowest score (the worst miss), the normal image with the highest (the
    worst false alarm), the image nearest to the threshold, the anomaly with the highest score. Without a
    threshold, the middle between the lowest anomaly and the highest normal image stands in for it. Among
    equal scores the lower index comes first.

    Args:
        scores: (N,) image scores.
        labels: (N,) True = anomalous.
        threshold: None when none was calibrated.
        n: how many; all of the images when there are fewer.
        common: chosen before all others.
    """
    anomalous, normal = np.flatnonzero(labels), np.flatnonzero(~labels)
    queues: list[tuple[Reason, Sequence[int]]] = [
        ("lowest-anomaly", anomalous[np.argsort(scores[anomalous], kind="stable")].tolist()),
        ("highest-normal", normal[np.argsort(-scores[normal], kind="stable")].tolist()),
    ]
    border = threshold
    if border is None and anomalous.size and normal.size:
        border = (float(scores[anomalous].min()) + float(scores[normal].max())) / 2
    if border is not None:
        queues.append(("borderline", np.argsort(np.abs(scores - border), kind="stable").tolist()))
    queues.append(("highest-anomaly", anomalous[np.argsort(-scores[anomalous], kind="stable")].tolist()))
    chosen: dict[int, Choice] = {index: Choice(index, "common") for index in common}
    wanted = min(n, scores.size)
    while len(chosen) < wanted:
        for why, queue in queues:
            index = next((i for i in queue if i not in chosen), None)
            if index is not None and len(chosen) < wanted:
                chosen[index] = Choice(index, why)
    return list(chosen.values())


@lru_cache(maxsize=1)
def _colour_table() -> Pixels:
    """uint8 (256, 3)."""
    stops, colours = zip(*_COLOUR_STOPS, strict=True)
    channels = [np.interp(np.arange(256) / 255, stops, channel) for channel in zip(*colours, strict=True)]
    return np.asarray(np.rint(np.stack(channels, axis=1)), dtype=np.uint8)


def _draw_caption(draw: ImageDraw.ImageDraw, caption: Caption, right: int) -> None:
    """The verdict on its colour, then the image's name, its score and the threshold."""
    font, middle = font_of(15), HEAD // 2 + 1
    doubtful = tone(caption.words) == "doubtful"
    end = MARGIN + font.getlength(caption.words) + 16
    box = (MARGIN, middle - 12, end, middle + 12)
    draw.rounded_rectangle(box, radius=5, fill=_DOUBTFUL if doubtful else _VERDICT_COLOURS[caption.verdict])
    draw.text((MARGIN + 8, middle), caption.words, WHITE, font, anchor="lm")
    text = f"{caption.name}   score {caption.score:.4g}"
    if caption.threshold is not None:
        text += f"   threshold {caption.threshold:.4g}"
    left = int(end) + 10
    draw.text((left, middle), fitted(text, right - left, 15), INK, font, anchor="lm")


def draw_legend(result: Image.Image, draw: ImageDraw.ImageDraw, scale: ColourScale, *, has_threshold: bool) -> int:
    """The colour bar with its three scores, at the right; its left end."""
    font, length, thick, top = font_of(11), 150, 10, 8
    left = result.width - MARGIN - length
    bar = np.broadcast_to(_colour_table()[np.linspace(0, 255, length).astype(np.uint8)], (thick, length, 3))
    result.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, top))
    middle, below = left + length // 2, top + thick + 12
    draw.text((left, below), f"{scale.low:.3g}", FAINT, font, anchor="ls")
    draw.text((middle, below), f"{scale.anchor:.3g}", INK if has_threshold else FAINT, font, anchor="ms")
    draw.text((left + length, below), f"{scale.high:.3g}", FAINT, font, anchor="rs")
    if has_threshold:
        draw.line((middle, top - 3, middle, top + thick + 2), fill=INK, width=1)
    return left
