"""The pixels of MVTec-Shift: one affine warp, then light, colour, blur, noise and shade.

Notation: planes are (height, width) when grey, else (height, width, 3) RGB; x counts columns, y rows. Pixel i
covers [i, i + 1), so an image's centre is (width / 2, height / 2) whether its sides are odd or even.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from adloc.datasets.sample import Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.datasets.shift_parameters import ShiftParameters

    Planes = NDArray[np.float32]

COLOUR_AXES = 3  # of a colour image: height, width, channels


def shift_pixels(picture: Picture, parameters: ShiftParameters) -> Picture:
    """The shifted picture; see `adloc.datasets.shift.apply_shift`."""
    image, mask = picture.image, picture.mask
    height, width = image.shape[:2]
    grey = _is_grey(image) and len(set(parameters.fill_value)) == 1
    planes = np.ascontiguousarray(image[..., 0] if grey else image)
    matrix = affine_matrix(parameters, height, width)
    still = np.array_equal(matrix, np.eye(3))
    if not still and mask is not None:
        mask = _warp_mask(mask, matrix)
    if still and not _relit(parameters):
        return Picture(image, mask)
    light = planes.astype(np.float32) / np.float32(255)
    if not still:
        light = _warp_image(light, matrix, parameters)
    light = _relight(light, parameters)
    levels = np.rint(light * np.float32(255)).astype(np.uint8)
    return Picture(np.repeat(levels[..., None], 3, axis=2) if grey else levels, mask)


def affine_matrix(parameters: ShiftParameters, height: int, width: int) -> NDArray[np.float64]:
    """Where a point (x, y, 1) of the image goes: (3, 3), in the coordinates of this file's head."""
    angle = math.radians(parameters.rotation_deg)
    # y points down: seen on a screen, this turns counter-clockwise for a positive angle.
    cosine, sine = parameters.scale * math.cos(angle), parameters.scale * math.sin(angle)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    stretch = np.diag([1 / parameters.crop_width, 1 / parameters.crop_height, 1])
    crop = stretch @ _move(-parameters.crop_left * width, -parameters.crop_top * height)
    turned = _move(width / 2, height / 2) @ turn @ _move(-width / 2, -height / 2)
    matrix: NDArray[np.float64] = _move(parameters.translate_x * width, parameters.translate_y * height) @ crop @ turned
    return matrix


def void_pixels(parameters: ShiftParameters, height: int, width: int) -> NDArray[np.bool_]:
    """Pixels of the shifted image that no pixel of the image came to; see `adloc.datasets.shift.find_void`."""
    matrix = affine_matrix(parameters, height, width)
    if np.array_equal(matrix, np.eye(3)):
        return np.zeros((height, width), dtype=np.bool_)
    return ~_warp_mask(np.ones((height, width), dtype=np.bool_), matrix)


def share_inside(mask: NDArray[np.bool_], parameters: ShiftParameters) -> float:
    """The share of defect pixels that stay inside the image; see `adloc.datasets.shift.share_in_frame`."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return math.nan
    matrix = affine_matrix(parameters, height, width)
    x, y = matrix[:2] @ np.stack((columns + 0.5, rows + 0.5, np.ones(rows.size)))
    return float(np.mean((x >= 0) & (x < width) & (y >= 0) & (y < height)))


def shade_map(parameters: ShiftParameters, height: int, width: int) -> Planes:
    """The factor on every pixel's light, in [0, 1], shape (height, width).

    Before smoothing, the loss falls in a straight line from `shade_strength` to nothing: from one edge to the
    opposite one; from the centre to the corners (centre) or the reverse (rim); from the spot over half of the
    longer side. The smoothing reflects at the borders. Its cost does not grow with sigma: the map is made on
    a grid that is coarser by sigma / 10.
    """
    sigma = parameters.shade_sigma_px
    step = max(1, int(sigma // 10))
    rows, columns = math.ceil(height / step), math.ceil(width / step)
    x = (np.arange(columns, dtype=np.float32) + np.float32(0.5))[None, :] * np.float32(width / columns)
    y = (np.arange(rows, dtype=np.float32) + np.float32(0.5))[:, None] * np.float32(height / rows)
    loss = np.broadcast_to(_loss(parameters, x, y, height, width), (rows, columns))
    coarse = np.ascontiguousarray(1 - np.float32(parameters.shade_strength) * loss, dtype=np.float32)
    if sigma > 0:
        across, down = sigma * columns / width, sigma * rows / height
        blurred = cv2.GaussianBlur(coarse, (0, 0), across, sigmaY=down, borderType=cv2.BORDER_REFLECT)
        coarse = np.asarray(blurred, np.float32)
    factors = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return _clip(factors)


def _loss(parameters: ShiftParameters, x: Planes, y: Planes, height: int, width: int) -> Planes:
    """The loss of light in [0, 1] at x (1, columns) and y (rows, 1), for a strength of 1."""
    match parameters.shade:
        case "left" | "right":
            loss = 1 - x / width if parameters.shade == "left" else x / width
        case "top" | "bottom":
            loss = 1 - y / height if parameters.shade == "top" else y / height
        case "spot":
            distance = np.hypot(x - parameters.spot_x * width, y - parameters.spot_y * height)
            loss = np.maximum(0, 1 - distance / (max(height, width) / 2))
        case "centre" | "rim":
            radius = np.hypot(x - width / 2, y - height / 2) / math.hypot(width / 2, height / 2)
            loss = 1 - radius if parameters.shade == "centre" else radius
        case "none":
            loss = np.zeros((1, 1), dtype=np.float32)
    return np.asarray(loss, dtype=np.float32)


def _is_grey(image: NDArray[np.uint8]) -> bool:
    return np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2])


def _move(right: float, down: float) -> NDArray[np.float64]:
    return np.array([[1, 0, right], [0, 1, down], [0, 0, 1]], dtype=np.float64)


def _pixel_matrix(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) matrix between pixel indices, whose centres lie at index + 0.5."""
    return np.ascontiguousarray((_move(-0.5, -0.5) @ matrix @ _move(0.5, 0.5))[:2])


def _warp_image(planes: Planes, matrix: NDArray[np.float64], parameters: ShiftParameters) -> Planes:
    height, width = planes.shape[:2]
    border = cv2.BORDER_REFLECT_101 if parameters.fill == "reflect" else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(
        planes,
        _pixel_matrix(matrix),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=border,
        borderValue=[level / 255 for level in parameters.fill_value],
    )
    return np.asarray(warped, dtype=np.float32)


def _warp_mask(mask: NDArray[np.bool_], matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    if not mask.any():
        return mask
    height, width = mask.shape
    warped = cv2.warpAffine(
        mask.astype(np.uint8),
        _pixel_matrix(matrix),
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return np.asarray(warped > 0)


def _relit(parameters: ShiftParameters) -> bool:
    """Whether anything but the geometry changes."""
    colour = (parameters.brightness, parameters.contrast, parameters.saturation) != (1.0, 1.0, 1.0)
    return colour or parameters.blur_sigma > 0 or parameters.noise_sigma > 0 or parameters.shade_strength > 0


def _relight(light: Planes, parameters: ShiftParameters) -> Planes:
    """The photometric changes in their order, on values in [0, 1]."""
    if parameters.brightness != 1:
        light = _clip(light * np.float32(parameters.brightness))
    if parameters.contrast != 1:
        mean = np.float32(_luma(light).mean(dtype=np.float64))
        light = _clip(mean + np.float32(parameters.contrast) * (light - mean))
    if parameters.saturation != 1 and light.ndim == COLOUR_AXES:
        luma = _luma(light)[..., None]
        light = _clip(luma + np.float32(parameters.saturation) * (light - luma))
    if parameters.blur_sigma > 0:
        side, sigma = parameters.blur_kernel, parameters.blur_sigma
        blurred = cv2.GaussianBlur(light, (side, side), sigmaX=sigma, sigmaY=sigma, borderType=cv2.BORDER_REFLECT_101)
        light = np.asarray(blurred, dtype=np.float32)
    if parameters.noise_sigma > 0:
        generator = np.random.Generator(np.random.PCG64(parameters.noise_seed))
        noise = generator.standard_normal(light.shape, dtype=np.float32)
        light = _clip(light + np.float32(parameters.noise_sigma) * noise)
    if parameters.shade_strength > 0:
        factors = shade_map(parameters, *light.shape[:2])
        light = light * (factors[..., None] if light.ndim == COLOUR_AXES else factors)
    return light


def _luma(light: Planes) -> Planes:
    """(height, width) luma, 0.299 R + 0.587 G + 0.114 B as in Pillow; a grey image is its own."""
    return np.asarray(cv2.cvtColor(light, cv2.COLOR_RGB2GRAY)) if light.ndim == COLOUR_AXES else light


def _clip(light: Planes) -> Planes:
    return np.clip(light, 0, 1, out=light)
