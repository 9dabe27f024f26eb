"""What happens to one image of MVTec-Shift: values drawn by `shift.py`, done by `shift_pixels.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shade = Literal["none", "left", "right", "top", "bottom", "centre", "rim", "spot"]


@dataclass(frozen=True, slots=True)
class ShiftParameters:
    """What happens to one image; plain values, so that `dataclasses.asdict` gives JSON.

    Geometry, applied to image and mask in this order: scale and rotation about the image's centre, the crop,
    the translation. Photometry, applied to the image alone, in the order of the fields.

    Attributes:
        rotation_deg: counter-clockwise as seen on a screen.
        scale: factor of the content's size.
        crop_left: share of the width to the left of the part that is kept.
        crop_top: share of the height above it.
        crop_width: share of the width that is kept and stretched to the full width.
        crop_height: the same of the height.
        translate_x: movement to the right, as a share of the width.
        translate_y: movement downwards, as a share of the height.
        brightness: factor.
        contrast: factor.
        saturation: factor.
        blur_kernel: kernel side in pixels.
        blur_sigma: in pixels; 0 for no blur.
        noise_sigma: on values in [0, 1]; 0 for no noise.
        noise_seed: of the noise's own generator.
        shade: where the image is darkest.
        shade_strength: share of the light lost there before smoothing.
        shade_sigma_px: of the smoothing, in pixels.
        spot_x: centre of the shade "spot", as a share of the width.
        spot_y: the same of the height.
        fill: what comes in from outside.
        fill_value: (red, green, blue) of the constant fill.
    """

    rotation_deg: float
    scale: float
    crop_left: float
    crop_top: float
    crop_width: float
    crop_height: float
    translate_x: float
    translate_y: float
    brightness: float
    contrast: float
    saturation: float
    blur_kernel: int
    blur_sigma: float
    noise_sigma: float
    noise_seed: int
    shade: Shade
    shade_strength: float
    shade_sigma_px: float
    spot_x: float
    spot_y: float
    fill: Literal["reflect", "constant"]
    fill_value: tuple[int, int, int]
