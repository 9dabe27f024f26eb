"""A drawing of a few simple shapes, written as SVG for the page and for papers, and as PNG.

Colours are names of roles ("ink", "s0"), not values: on the page the style sheet gives them, light or dark; in
files of their own they are those of the light page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageDraw, ImageFont

from adloc.printed import printable
from adloc.record.heatmaps import png_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    Point = tuple[float, float]

Anchor = Literal["start", "middle", "end"]
# Told apart by hue and lightness, also by most people who are colour-blind; dark and light are page.css's too.
COLOURS = {
    "ink": "#1d2128",
    "faint": "#5d6572",
    "grid": "#dfe2e8",
    "paper": "#ffffff",
    "normal": "#2f6fb5",
    "anomalous": "#c8501e",
    "s0": "#2463a8",
    "s1": "#c8551b",
    "s2": "#1f8467",
    "s3": "#8a4fa8",
    "s4": "#a67c00",
    "s5": "#c23b6b",
    "s6": "#3d8fc4",
    "s7": "#6b7280",
}
N_SERIES = 8
DASHES: tuple[str, ...] = ("", "6 3", "2 2.5", "8 3 2 3")
_SCALE = 3  # PNG pixels a unit


@dataclass(slots=True)
class Drawing:
    """Shapes in the order in which they are drawn; x to the right, y down, a unit is a pixel of the page.

    Attributes:
        width: of the drawing.
        height: of the drawing.
        title: what it shows, for those who cannot see it; also the name of its files.
    """

    width: float
    height: float
    title: str
    _shapes: list[_Shape] = field(default_factory=list)

    def line(self, points: Sequence[Point], colour: str = "ink", width: float = 1.0, dash: str = "") -> None:
        """A line through the points."""
        if len(points) > 1:
            self._shapes.append(_Line(tuple(points), colour, width, dash))

    def area(self, points: Sequence[Point], colour: str, opacity: float = 0.15) -> None:
        """A filled polygon."""
        self._shapes.append(_Area(tuple(points), colour, opacity))

    def rect(self, x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0) -> None:
        """A filled rectangle; `colour` may be "#rrggbb" here."""
        corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
        self._shapes.append(_Area(corners, colour, opacity))

    def dot(
        self, x: float, y: float, colour: str, radius: float = 3.0, hint: str = "", *, hollow: bool = False
    ) -> None:
        """A disc, or a ring; `hint` is shown on the page when pointed at."""
        self._shapes.append(_Dot(x, y, colour, radius, hint, hollow))

    def text(
        self,
        x: float,
        y: float,
        content: str,
        anchor: Anchor = "start",
        colour: str = "faint",
        size: float = 11,
        *,
        upright: bool = False,
    ) -> None:
        """Words on the base line y; `upright` ones are read from below."""
        self._shapes.append(_Text(x, y, content, anchor, colour, size, upright))

    def svg(self, *, standalone: bool = False) -> str:
        """The drawing as SVG, for the page, or with its own colours as a file."""
        body = "".join(shape.svg() for shape in self._shapes)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        style = ""
        if standalone:
            head += f' width="{_n(self.width)}" height="{_n(self.height)}"'
            rules = "".join(f".{k}{{--c:{v}}}" for k, v in COLOURS.items())
            style = f"<style>{_RULES}{rules}</style><rect class='f paper' width='100%' height='100%'/>"
        return f'{head} class="chart" role="img" aria-label="{escape(printable(self.title))}">{style}{body}</svg>'

    def png(self) -> bytes:
        """The drawing as a PNG file with three pixels a unit, on white."""
        size = (round(self.width * _SCALE), round(self.height * _SCALE))
        image = Image.new("RGB", size, COLOURS["paper"])
        for shape in self._shapes:
            shape.paint(image)
        return png_bytes(image)


_RULES = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:var(--c)}"
    ".l{fill:none;stroke:var(--c);stroke-linejoin:round;stroke-linecap:round}.f{fill:var(--c)}"
    ".o{fill:none;stroke:var(--c);stroke-width:1.4}"
)


@dataclass(frozen=True, slots=True)
class _Line:
    points: tuple[Point, ...]
    colour: str
    width: float
    dash: str

    def svg(self) -> str:
        path = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in self.points)
        dash = f' stroke-dasharray="{self.dash}"' if self.dash else ""
        return f'<path class="l {self.colour}" stroke-width="{_n(self.width)}"{dash} d="{path}"/>'

    def paint(self, image: Image.Image) -> None:
        draw = ImageDraw.Draw(image)
        points = [(x * _SCALE, y * _SCALE) for x, y in self.points]
        pieces = _dashed(points, [float(v) * _SCALE for v in self.dash.split()]) if self.dash else [points]
        for piece in pieces:
            draw.line(piece, fill=_rgb(self.colour), width=max(1, round(self.width * _SCALE)), joint="curve")


@dataclass(frozen=True, slots=True)
class _Area:
    points: tuple[Point, ...]
    colour: str
    opacity: float

    def svg(self) -> str:
        fill = f'fill="{self.colour}"' if self.colour.startswith("#") else f'class="f {self.colour}"'
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in self.points)
        opacity = f' opacity="{_n(self.opacity)}"' if self.opacity < 1 else ""
        return f'<polygon {fill}{opacity} points="{points}"/>'

    def paint(self, image: Image.Image) -> None:
        layer = ImageDraw.Draw(image, "RGBA")
        points = [(x * _SCALE, y * _SCALE) for x, y in self.points]
        layer.polygon(points, fill=(*_rgb(self.colour), round(255 * self.opacity)))


@dataclass(frozen=True, slots=True)
class _Dot:
    x: float
    y: float
    colour: str
    radius: float
    hint: str
    hollow: bool

    def svg(self) -> str:
        hint = f"<title>{escape(printable(self.hint))}</title>" if self.hint else ""
        kind = "o" if self.hollow else "f"
        place = f'cx="{_n(self.x)}" cy="{_n(self.y)}" r="{_n(self.radius)}"'
        return f'<circle class="{kind} {self.colour}" {place}{"/>" if not hint else ">" + hint + "</circle>"}'

    def paint(self, image: Image.Image) -> None:
        x, y, r = self.x * _SCALE, self.y * _SCALE, self.radius * _SCALE
        colour = _rgb(self.colour)
        fill, outline = (None, colour) if self.hollow else (colour, None)
        ImageDraw.Draw(image).ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=outline, width=4)


@dataclass(frozen=True, slots=True)
class _Text:
    x: float
    y: float
    content: str
    anchor: Anchor
    colour: str
    size: float
    upright: bool

    def svg(self) -> str:
        turn = f' transform="rotate(-90 {_n(self.x)} {_n(self.y)})"' if self.upright else ""
        kind = "" if self.colour.startswith("#") else f' class="{self.colour}"'
        fill = f' fill="{self.colour}" style="fill:{self.colour}"' if self.colour.startswith("#") else ""
        place = f'x="{_n(self.x)}" y="{_n(self.y)}" font-size="{_n(self.size)}" text-anchor="{self.anchor}"'
        return f"<text{kind}{fill} {place}{turn}>{escape(printable(self.content))}</text>"

    def paint(self, image: Image.Image) -> None:
        font = _font(round(self.size * _SCALE))
        x, y = round(self.x * _SCALE), round(self.y * _SCALE)
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[self.anchor]
        if not self.upright:
            ImageDraw.Draw(image).text((x, y), self.content, _rgb(self.colour), font, anchor=anchor)
            return
        width, height = round(font.getlength(self.content)) + 8, round(self.size * _SCALE * 1.6)
        label = Image.new("L", (width, height))
        ImageDraw.Draw(label).text((4, height * 0.7), self.content, 255, font, anchor="ls")
        turned = label.rotate(90, expand=True)
        offset = {"start": width, "middle": width // 2, "end": 0}[self.anchor]
        image.paste(_rgb(self.colour), (x - round(height * 0.7), y - offset), turned)


_Shape = _Line | _Area | _Dot | _Text


def text_width(content: str, size: float = 11) -> float:
    """About how wide words are."""
    return float(_font(32).getlength(content)) * size / 32 * 1.17


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _rgb(colour: str) -> tuple[int, int, int]:
    value = COLOURS.get(colour, colour).removeprefix("#")
    return int(value[:2], 16), int(value[2:4], 16), int(value[4:6], 16)


def _dashed(points: list[Point], pattern: list[float]) -> list[list[Point]]:
    """The drawn pieces of a dashed line."""
    pieces: list[list[Point]] = []
    turn, left, drawn = 0, pattern[0], [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        gone = 0.0
        while length - gone > left:
            gone += left
            here = (x0 + (x1 - x0) * gone / length, y0 + (y1 - y0) * gone / length)
            if turn % 2 == 0:
                pieces.append([*drawn, here])
            turn += 1
            left, drawn = pattern[turn % len(pattern)], [here]
        left -= length - gone
        if turn % 2 == 0:
            drawn.append((x1, y1))
    if turn % 2 == 0 and len(drawn) > 1:
        pieces.append(drawn)
    return pieces
