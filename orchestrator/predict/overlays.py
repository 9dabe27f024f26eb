"""An anomaly map over its image, on the colours that mean the same for every image of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageDraw

from adloc.errors import Complaint, UserError
from adloc.methods import find_method
from adloc.record.heatmaps import ColourScale, draw_legend
from adloc.record.panels import (
    CONTOUR,
    GAP,
    HEAD,
    INK,
    MARGIN,
    blended,
    fitted,
    font_of,
    lay_out,
    outline,
    panel_size,
    resized,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from adloc.model.scorer import Scorer
    from adloc.model.spec import ModelSpec
    from adloc.predict.pipeline import Predicted


def check_maps(spec: ModelSpec) -> None:
    """Refuse a model whose maps cannot be drawn.

    Raises:
        UserError: its method says nothing of where a defect is, or its scale is not known.
    """
    if not find_method(spec.method).maps:
        rule = "heatmaps need a method that says where a defect is"
        raise UserError(Complaint(f"{spec.method} scores whole images alone", rule, "do without --heatmaps"))
    if spec.scale is None:
        found = "the model has no colour scale: its study had no validation images"
        rule = "colours mean the same for every image, so their scale is fixed beforehand"
        raise UserError(Complaint(found, rule, "export a model of a study with validation images"))


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """An image with its map.

    Attributes:
        overlay: uint8 (height, width, 3), at the model's input size, with the contour at the threshold.
        anomaly_map: float32 (height, width), raw.
    """

    overlay: NDArray[np.uint8]
    anomaly_map: NDArray[np.float32]


class Overlays:
    """Draws what a model says of where defects are.

    Attributes:
        threshold: of the contour, where cold turns to warm: the model's for pixels; without one, that of images.
    """

    def __init__(self, scorer: Scorer, image_threshold: float | None) -> None:
        """Prepare the colours.

        Args:
            scorer: the model; see `check_maps`.
            image_threshold: in use.
        """
        spec = scorer.model.spec
        if spec.scale is None:
            raise ValueError("no scale: check_maps refuses such a model")
        self._scorer = scorer
        self.threshold = image_threshold if spec.threshold.pixel is None else spec.threshold.pixel
        self._scale = ColourScale.around(low=spec.scale.low, high=spec.scale.high, threshold=self.threshold)

    def draw(self, batch: Sequence[Predicted]) -> list[Drawn]:
        """Draw images that were scored.

        Raises:
            ValueError: one was not.
        """
        pixels = [each.pixels for each in batch if each.pixels is not None]
        patch_maps = [each.patch_map for each in batch if each.patch_map is not None]
        if len(pixels) < len(batch) or len(patch_maps) < len(batch):
            raise ValueError("there is no map of a broken image")
        if not batch:
            return []
        height, width = pixels[0].shape[:2]
        maps = np.asarray(self._scorer.maps(np.stack(patch_maps), (height, width)), np.float32)
        return [self._draw(picture, found) for picture, found in zip(pixels, maps, strict=True)]

    def strip(self, name: str, score: float, picture: NDArray[np.uint8], found: NDArray[np.float32]) -> Image.Image:
        """An image and its map over it side by side, in the size of a record's pictures, with what was said of it.

        Args:
            name: of the image.
            score: of the image.
            picture: uint8 (height, width, 3).
            found: float32 (height, width), raw.
        """
        width, height = panel_size(picture.shape[1], picture.shape[0])
        large = np.asarray(resized(picture, width, height), np.uint8)
        over = self._draw(large, np.asarray(resized(found, width, height), np.float32)).overlay
        title = "anomaly map" if self.threshold is None else "threshold, outlined"
        result = lay_out((("image", large), (title, over)))
        draw = ImageDraw.Draw(result)
        right = draw_legend(result, draw, self._scale, has_threshold=self.threshold is not None) - 2 * GAP
        text = fitted(f"{name}   score {score:.4g}", right - MARGIN, 15)
        draw.text((MARGIN, HEAD // 2 + 1), text, INK, font_of(15), anchor="lm")
        return result

    def _draw(self, picture: NDArray[np.uint8], found: NDArray[np.float32]) -> Drawn:
        overlay = blended(picture, self._scale.colours(found), self._scale.positions(found))
        if self.threshold is not None:
            outline(overlay, (found >= self.threshold).astype(np.uint8), CONTOUR)
        return Drawn(overlay, found)
