"""The pixels of the textures dataset: a view of a photograph, its light, a defect and the camera's noise.

Notation: a scene is float32 (size, size, 3), RGB in [0, 1].
"""

from __future__ import annotations

from functools import cache, partial
from itertools import count
from typing import TYPE_CHECKING

import cv2
import numpy as np

from adloc.datasets.sample import GOOD, Picture
from adloc.datasets.streams import stream
from adloc.datasets.texture_defects import DRAW, Bench

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.datasets.texture_source import Category, TextureSource

    Scene = NDArray[np.float32]

VIEW = 256  # pixels of the 512 x 512 photograph that an image shows across, before the change of scale
# Exponents of red, green and blue: they tint the mid-tones and leave highlights white.
TINTS: dict[Category, tuple[float, float, float]] = {
    "brick": (0.82, 1.10, 1.22),
    "grass": (1.08, 0.88, 1.35),
    "gravel": (0.96, 1.00, 1.06),
}
# What is foreign on a surface is a piece of another one.
FOREIGN: dict[Category, tuple[Category, Category]] = {
    "brick": ("grass", "gravel"),
    "grass": ("brick", "gravel"),
    "gravel": ("brick", "grass"),
}
ALIASING_STEP = 1.5  # pixels of the photograph a pixel of the image, from which on it must be smoothed first
NOISE_SIGMA = 0.006
VISIBLE = 3 / 255  # mean change inside the mask below which a defect is drawn again
LARGEST_SHARE = 0.2  # of the image that a defect may cover


def render(source: TextureSource, *, with_defect: bool = True) -> Picture:
    """The image with its mask, or the very same image before it was damaged.

    Args:
        source: what to draw.
        with_defect: False leaves the defect out; pose, light and noise stay, bit for bit.
    """
    seed, category, size, names = source.seed, source.category, source.size, (source.category, source.name)
    scene = _view(category, size, stream(seed, *names, "view"))
    mask = np.zeros((size, size), dtype=np.bool_)
    if with_defect and source.defect != GOOD:
        scene, mask = _damage(source, scene)
    scene = _light(scene, stream(seed, *names, "light"))
    noise = stream(seed, *names, "noise").standard_normal(scene.shape, dtype=np.float32)
    scene += np.float32(NOISE_SIGMA) * noise
    return Picture(np.rint(np.clip(scene, 0, 1) * np.float32(255)).astype(np.uint8), mask)


def _damage(source: TextureSource, scene: Scene) -> tuple[Scene, NDArray[np.bool_]]:
    """The scene with the defect, and where it is; drawn again while it is invisible or too large."""
    for attempt in count():
        generator = stream(source.seed, source.category, source.name, "defect", str(attempt))
        other = FOREIGN[source.category][int(generator.integers(2))]
        bench = Bench(scene, generator, partial(_view, other, source.size, generator))
        overlay = DRAW[source.defect](bench)
        alpha = overlay.alpha[..., None]
        damaged = scene + alpha * (overlay.colours - scene)
        mask = overlay.alpha > 0
        change = float(np.abs(damaged - scene).max(axis=2)[mask].mean()) if mask.any() else 0.0
        if change >= VISIBLE and mask.mean() <= LARGEST_SHARE:
            break
    return damaged, mask


def _view(category: Category, size: int, generator: np.random.Generator) -> Scene:
    """A square part of the photograph, turned by up to 5 degrees and scaled by up to 8 %."""
    photograph = _photograph(category)
    angle, scale = np.deg2rad(generator.uniform(-5, 5)), generator.uniform(0.92, 1.08)
    half = VIEW / 2 * scale * (abs(np.cos(angle)) + abs(np.sin(angle))) + 1
    centre = generator.uniform(half, photograph.shape[0] - half, 2)
    step = VIEW * scale / size  # pixels of the photograph a pixel of the image
    if step > ALIASING_STEP:
        photograph = np.asarray(cv2.GaussianBlur(photograph, (0, 0), 0.4 * step), np.float32)
    turn = step * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = centre - turn @ np.full(2, (size - 1) / 2)
    grey = cv2.warpAffine(
        photograph,
        np.column_stack([turn, offset]),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    tint = np.array(TINTS[category], dtype=np.float32)
    return np.asarray(np.power(np.asarray(grey, np.float32)[..., None], tint), np.float32)


def _light(scene: Scene, generator: np.random.Generator) -> Scene:
    """The scene under a lamp of slightly changing power, colour and direction."""
    size = scene.shape[0]
    gain = generator.uniform(0.93, 1.07) * generator.uniform(0.985, 1.015, 3)
    direction, slope = generator.uniform(0, 2 * np.pi), generator.uniform(0, 0.12)
    ramp = np.linspace(-0.5, 0.5, size)
    gradient = 1 + slope * (np.cos(direction) * ramp[None, :] + np.sin(direction) * ramp[:, None])
    return np.asarray(scene * gradient[..., None].astype(np.float32) * gain.astype(np.float32), np.float32)


@cache
def _photograph(category: Category) -> NDArray[np.float32]:
    """The (512, 512) photograph with values in [0, 1]."""
    import skimage.data

    grey = np.asarray(getattr(skimage.data, category)(), dtype=np.float32) / np.float32(255)
    grey.setflags(write=False)
    return grey
