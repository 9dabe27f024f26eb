"""MVTec-Shift: what another day, camera or lamp does to an image, drawn once an image from (seed, identity).

`shift_config.py` holds what may happen, this file draws what happens to one image, `shift_parameters.py`, and
`shift_pixels.py` does it.
Neither numpy nor OpenCV is imported before it is needed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from adloc.datasets.shift_config import ShiftConfig
from adloc.datasets.shift_parameters import Shade, ShiftParameters
from adloc.datasets.streams import stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from adloc.datasets.sample import Picture
    from adloc.datasets.shift_config import Blur, Illumination, Noise

__all__ = ["Shade", "ShiftConfig", "ShiftParameters", "apply_shift", "draw_parameters", "find_void", "share_in_frame"]

_Option = TypeVar("_Option")
_PLACES: Mapping[str, tuple[Shade, ...]] = {
    "linear": ("left", "right", "top", "bottom"),
    "radial": ("centre", "rim"),
    "vignette": ("rim",),
    "spot": ("spot",),
}


def draw_parameters(config: ShiftConfig, identity: str) -> ShiftParameters:
    """The one shift of an image, from (seed, identity) alone: the same in any order, process and machine.

    Every transform draws from a stream of its own, and always draws all its values: switching one off, or
    changing its ranges or the severity, leaves the others as they were, and two severities move an image in
    the same direction.

    Args:
        config: the transforms and the seed.
        identity: of the image in its dataset, `Sample.identity`.
    """
    streams = {name: stream(config.seed, identity, name) for name in ShiftConfig.model_fields}

    def draw(name: str) -> float:
        low, high = config.span(name)
        return low + float(streams[name.partition(".")[0]].random()) * (high - low)

    def happens(name: str, setting: Blur | Noise | Illumination | None) -> bool:
        value = float(streams[name].random())
        return setting is not None and value < setting.probability

    left, top, width, height = _place_crop(draw("crop.area"), draw("crop.aspect"), streams["crop"])
    blur, noise, illumination = config.blur, config.noise, config.illumination
    blurred, blur_sigma = happens("blur", blur), draw("blur.sigma")
    noisy, noise_sigma = happens("noise", noise), draw("noise.sigma")
    shaded, strength = happens("illumination", illumination), draw("illumination.strength")
    kind = _choose(illumination.kinds if illumination else ("linear",), streams["illumination"])
    place = _choose(_PLACES[kind], streams["illumination"])
    return ShiftParameters(
        rotation_deg=draw("rotation_deg"),
        scale=draw("scale"),
        crop_left=left,
        crop_top=top,
        crop_width=width,
        crop_height=height,
        translate_x=draw("translation"),
        translate_y=draw("translation"),
        brightness=draw("brightness"),
        contrast=draw("contrast"),
        saturation=draw("saturation"),
        blur_kernel=_choose(blur.kernels if blur else (1,), streams["blur"]),
        blur_sigma=blur_sigma if blurred else 0.0,
        noise_sigma=noise_sigma if noisy else 0.0,
        noise_seed=int(streams["noise"].integers(2**53)),  # exact in every JSON reader
        shade=place if shaded else "none",
        shade_strength=strength if shaded else 0.0,
        shade_sigma_px=illumination.sigma_px if illumination else 0.0,
        spot_x=0.2 + 0.6 * float(streams["illumination"].random()),
        spot_y=0.2 + 0.6 * float(streams["illumination"].random()),
        fill=config.fill,
        fill_value=config.fill_value,
    )


def apply_shift(picture: Picture, parameters: ShiftParameters) -> Picture:
    """The picture that the other camera would have given: uint8 again, at the same size.

    Image and mask go through one affine warp (bilinear; nearest, with no defect outside). Then the image
    alone, in float32 on [0, 1]: brightness, contrast about the mean luma and saturation about the pixel's
    luma, each clipped; blur; noise, clipped; the illumination's factor; and one rounding to uint8 at the end.
    Parameters that change nothing give bit-identical arrays, possibly the picture's own. A grey picture stays
    grey.

    Args:
        picture: left as it is.
        parameters: from `draw_parameters`.
    """
    from adloc.datasets.shift_pixels import shift_pixels

    return shift_pixels(picture, parameters)


def find_void(parameters: ShiftParameters, height: int, width: int) -> NDArray[np.bool_]:
    """Where a shifted image shows what came in from outside of it: bool (height, width), True on these void pixels.

    Through the warp of the masks, so no defect pixel is void.

    Args:
        parameters: from `draw_parameters`.
        height: of the image, in pixels.
        width: of the image, in pixels.
    """
    from adloc.datasets.shift_pixels import void_pixels

    return void_pixels(parameters, height, width)


def share_in_frame(mask: NDArray[np.bool_] | None, parameters: ShiftParameters) -> float:
    """The share of a mask's defect pixels whose centres a shift leaves inside the image; nan without any.

    Args:
        mask: bool (height, width), of the image before the shift; None where nobody drew one.
        parameters: from `draw_parameters`.
    """
    from adloc.datasets.shift_pixels import share_inside

    return math.nan if mask is None else share_inside(mask, parameters)


def _choose(options: Sequence[_Option], generator: np.random.Generator) -> _Option:
    """One option, by one draw whatever their number."""
    return options[int(generator.random() * len(options))]


def _place_crop(area: float, aspect: float, generator: np.random.Generator) -> tuple[float, float, float, float]:
    """(left, top, width, height) of the crop in shares of the image, which it does not leave."""
    width, height = min(1.0, math.sqrt(area * aspect)), min(1.0, math.sqrt(area / aspect))
    across, down = float(generator.random()), float(generator.random())
    return across * (1 - width), down * (1 - height), width, height
