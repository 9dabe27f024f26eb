"""Six procedural defects, each an overlay of colours with a soft outline, varied in size, shape and strength.

Lengths are shares of the image's side, so that a defect looks the same at any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Scene = NDArray[np.float32]
    Alpha = NDArray[np.float32]
    Points = NDArray[np.float64]

FAINTEST = 0.15  # alpha below this is taken as no change, so that the mask ends where the eye sees it end
SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class Bench:
    """What a defect is made with.

    Attributes:
        scene: the undamaged surface, float32 (size, size, 3) in [0, 1].
        generator: of every choice.
        material: makes a scene of another surface.
    """

    scene: Scene
    generator: np.random.Generator
    material: Callable[[], Scene]

    @property
    def size(self) -> int:
        """Side of the scene in pixels."""
        return int(self.scene.shape[0])

    def between(self, low: float, high: float) -> float:
        """A uniform draw."""
        return float(self.generator.uniform(low, high))


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is laid over the scene.

    Attributes:
        alpha: float32 (size, size) in [0, 1]; 0 outside the defect, else at least `FAINTEST`.
        colours: float32 (size, size, 3) in [0, 1].
    """

    alpha: Alpha
    colours: Scene


def cut(bench: Bench) -> Overlay:
    """A dark, slightly bent score that tapers at both ends, with a lit lip on one side."""
    path = _curve(bench, length=bench.between(0.12, 0.5), bend=0.12)
    width, depth = bench.between(0.006, 0.018), bench.between(0.35, 0.9)
    groove = _stroke(bench.size, path, width, tapered=True)
    lip = _stroke(bench.size, path + width * 0.6, width * 0.6, tapered=True)
    colours = bench.scene * (1 - np.float32(depth))
    lit = np.clip(lip - groove, 0, 1)[..., None]
    colours = colours * (1 - lit) + lit * np.clip(bench.scene * np.float32(1 + 0.5 * depth), 0, 1)
    return _overlay(np.maximum(groove, lip * np.float32(0.6)), colours)


def stain(bench: Bench) -> Overlay:
    """A liquid that soaked in: it darkens or bleaches, unevenly, and more along its rim."""
    outline = _blob(bench, radius=bench.between(0.05, 0.16), roughness=0.25)
    alpha = _soften(_fill(bench.size, outline), bench.between(0.004, 0.012) * bench.size)
    strength = bench.between(0.2, 0.6)
    rim = np.clip(alpha - _soften(alpha, 0.02 * bench.size), 0, 1)
    uneven = 0.8 + 0.4 * _clouds(bench, 0.08) + 1.2 * rim
    hue = np.array([[0.35, 0.25, 0.15], [0.20, 0.20, 0.22], [0.95, 0.93, 0.88]][bench.generator.integers(3)])
    mixed = np.clip(strength * uneven, 0, 1)[..., None]
    colours = bench.scene * (1 - mixed) + mixed * hue * (0.4 + 0.6 * bench.scene)
    return _overlay(alpha, colours)


def blur(bench: Bench) -> Overlay:
    """A smear: detail is wiped away within a soft outline, more in one direction, and leaves a faint film."""
    outline = _blob(bench, radius=bench.between(0.07, 0.17), roughness=0.15)
    alpha = _soften(_fill(bench.size, outline), 0.015 * bench.size)
    sigma = bench.between(0.006, 0.02) * bench.size
    along, across = (sigma, 0.4 * sigma) if bench.generator.integers(2) else (0.4 * sigma, sigma)
    smeared = cv2.GaussianBlur(bench.scene, (0, 0), along, sigmaY=across, borderType=cv2.BORDER_REFLECT_101)
    film = 1 + bench.between(0.02, 0.05) * bench.generator.choice((-1, 1))
    return _overlay(alpha, np.clip(np.asarray(smeared, np.float32) * film, 0, 1))


def foreign(bench: Bench) -> Overlay:
    """A piece of another surface lying on this one, with the shadow that it casts."""
    outline = _blob(bench, radius=bench.between(0.03, 0.1), roughness=0.3)
    piece = _fill(bench.size, outline)
    shadow = _shadow(piece, bench.between(0.01, 0.025) * bench.size, bench.between(0.3, 0.6))
    material = np.clip(bench.material() * bench.between(0.8, 1.15), 0, 1)
    return _lay(bench.scene, piece, material, shadow)


def missing(bench: Bench) -> Overlay:
    """A piece broken out: a rough, darker ground, in the shade of the edge towards the light."""
    outline = _blob(bench, radius=bench.between(0.03, 0.11), roughness=0.45)
    hole = _fill(bench.size, outline)
    depth = bench.between(0.3, 0.75)
    ground = bench.scene.mean(axis=(0, 1)) * (1 - depth)
    grain = 1 + 0.5 * (_clouds(bench, 0.012) - 0.5) + 0.5 * (_clouds(bench, 0.05) - 0.5)
    shade = _soften(_moved(1 - hole, bench.between(0.01, 0.03) * bench.size), 0.008 * bench.size)
    colours = ground * grain[..., None] * (1 - 0.6 * depth * shade[..., None])
    return _overlay(hole, np.clip(colours, 0, 1))


def thread(bench: Bench) -> Overlay:
    """A fibre that lies on the surface in a loose curve, rounded by its shading, with a thin shadow."""
    path = _curve(bench, length=bench.between(0.25, 0.8), bend=0.5)
    width = bench.between(0.005, 0.012)
    fibre = _stroke(bench.size, path, width, tapered=False)
    crest = _stroke(bench.size, path - width * 0.2, width * 0.4, tapered=False)
    dye = [[0.85, 0.83, 0.78], [0.15, 0.15, 0.17], [0.65, 0.20, 0.18], [0.25, 0.35, 0.60]]
    colour = np.array(dye[bench.generator.integers(len(dye))]) * bench.between(0.8, 1.1)
    shaded = np.clip(colour * (0.75 + 0.45 * crest[..., None]), 0, 1)
    shadow = _shadow(fibre, 0.006 * bench.size, bench.between(0.2, 0.45))
    return _lay(bench.scene, fibre * np.float32(bench.between(0.55, 1.0)), shaded, shadow)


DRAW: Mapping[str, Callable[[Bench], Overlay]] = {
    "blur": blur,
    "cut": cut,
    "foreign": foreign,
    "missing": missing,
    "stain": stain,
    "thread": thread,
}


def _overlay(alpha: Alpha, colours: NDArray[np.floating]) -> Overlay:
    """The overlay without its invisible fringe."""
    return Overlay(np.where(alpha < FAINTEST, 0, alpha).astype(np.float32), colours.astype(np.float32))


def _lay(scene: Scene, piece: Alpha, colours: NDArray[np.floating], shadow: Alpha) -> Overlay:
    """A piece over its shadow over the scene, as one overlay."""
    dark = np.clip(shadow * (1 - piece), 0, 1)
    alpha = piece + dark
    share = (piece / np.maximum(alpha, np.float32(1e-6)))[..., None]
    return _overlay(alpha, share * colours + (1 - share) * np.float32(0.1) * scene)


def _centre(bench: Bench, margin: float) -> Points:
    """A place in the image, in shares of its side."""
    return bench.generator.uniform(margin, 1 - margin, 2)


def _blob(bench: Bench, radius: float, roughness: float) -> Points:
    """A closed outline (n, 2) around a random place: an ellipse roughened by a few harmonics."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    order = np.arange(2, 9)
    height = roughness * bench.generator.normal(size=order.size) / order
    phase = bench.generator.uniform(0, 2 * np.pi, order.size)
    rough = radius * (1 + (height[:, None] * np.sin(order[:, None] * angle + phase[:, None])).sum(axis=0))
    rough = np.maximum(rough, 0.3 * radius)
    stretch, turn = bench.between(0.6, 1.0), bench.between(0, np.pi)
    x, y = rough * np.cos(angle), stretch * rough * np.sin(angle)
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    return turned + _centre(bench, margin=0.12)


def _curve(bench: Bench, length: float, bend: float) -> Points:
    """An open path (n, 2) of that length around a random place, whose direction wanders by `bend`."""
    n = 64
    along = np.linspace(0, 1, n)
    direction = np.full(n, bench.between(0, 2 * np.pi))
    for k in (1, 2, 3):
        swing = 2 * bend / k * bench.generator.normal()
        direction += swing * np.sin(np.pi * k * along + bench.between(0, 2 * np.pi))
    steps = np.stack([np.cos(direction), np.sin(direction)], axis=1) * (length / n)
    path: Points = np.cumsum(steps, axis=0)
    path += _centre(bench, margin=0.25) - path.mean(axis=0)
    return path


def _fixed(points: Points, size: int) -> NDArray[np.int32]:
    """Shares of the side as OpenCV's fixed-point pixels."""
    return np.asarray(np.rint((points * size - 0.5) * 2**SUBPIXEL_BITS), np.int32)


def _fill(size: int, outline: Points) -> Alpha:
    """The inside of a closed outline, with smooth edges."""
    canvas = np.zeros((size, size), dtype=np.uint8)
    cv2.fillPoly(canvas, [_fixed(outline, size)], 255, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    return canvas.astype(np.float32) / np.float32(255)


def _stroke(size: int, path: Points, width: float, *, tapered: bool) -> Alpha:
    """A line of that width along the path, as the outline around it."""
    tangent = np.gradient(path, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    profile = np.sin(np.linspace(0, np.pi, len(path))) ** 0.5 if tapered else np.ones(len(path))
    side = normal * (profile * width / 2)[:, None]
    canvas = np.zeros((size, size), dtype=np.uint8)
    # One quadrilateral a step: the whole outline as one polygon would cross itself where the path is a loop.
    for i in range(len(path) - 1):
        near, far = (path[i], side[i]), (path[i + 1], side[i + 1])
        corners = np.stack([near[0] + near[1], far[0] + far[1], far[0] - far[1], near[0] - near[1]])
        cv2.fillConvexPoly(canvas, _fixed(corners, size), 255, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    return canvas.astype(np.float32) / np.float32(255)


def _soften(alpha: Alpha, sigma_px: float) -> Alpha:
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), max(sigma_px, 0.3)), np.float32)


def _moved(alpha: Alpha, distance_px: float) -> Alpha:
    """The same shape moved right and down, away from the light."""
    matrix = np.array([[1, 0, distance_px], [0, 1, distance_px]])
    size = (alpha.shape[1], alpha.shape[0])
    moved = cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _shadow(piece: Alpha, distance_px: float, strength: float) -> Alpha:
    return _soften(_moved(piece, distance_px), 0.5 * distance_px) * np.float32(strength)


def _clouds(bench: Bench, grain: float) -> NDArray[np.float32]:
    """Smooth noise with values in [0, 1], of that grain."""
    n = max(2, round(1 / grain))
    coarse = bench.generator.random((n, n), dtype=np.float32)
    smooth = cv2.resize(coarse, (bench.size, bench.size), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.asarray(smooth, np.float32), 0, 1)
