"""The galleries: the same images across settings and regimes, cut out of the recorded strips and made small."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from adloc.answer.material import REGIME_TITLES
from adloc.record.heatmaps import Caption
from adloc.record.located import tone, verdict_words
from adloc.record.panels import HEAD
from adloc.study_file.regimes import REGIMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adloc.answer.finding import Finding
    from adloc.answer.material import Material
    from adloc.record.heatmaps import Panels
    from adloc.report.strips import Strip, Strips

MOST_PICTURES = 360  # strips; about 9 kB each
SIDE = 200  # longest side of a panel, pixels
STRIP = 820  # width of a strip of an explanation, pixels
QUALITY = 62
GAP = 3


@dataclass(frozen=True, slots=True)
class Tile:
    """One run's view of an image.

    Attributes:
        setting: label.
        regime: in words.
        verdict: "hit", "miss", "false alarm", "correct rejection", "no threshold".
        words: the verdict, and whether the map bears it out where its picture tells: "hit, contour elsewhere".
        tone: class of the words' colour.
        score: raw, as read.
        threshold: as read; "" without one.
        map: anomaly map and overlay side by side, a data URI; "" where the run's pictures lack the image.
        ratio: width / height of `map`.
    """

    setting: str
    regime: str
    verdict: str
    words: str
    tone: str
    score: str
    threshold: str
    map: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Card:
    """An image with every run's view of it.

    Attributes:
        name: identity.
        category: of the image.
        defect: type, or "good".
        n_wrong: runs shown that judged it wrongly.
        pictures: by domain, the input and the input with its defect outlined, a data URI.
        ratio: width / height of a picture.
        tiles: by setting and regime.
    """

    name: str
    category: str
    defect: str
    n_wrong: int
    pictures: dict[str, str]
    ratio: float
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The cards, those that every run has a picture of before others, among equals the hardest images first.

    Attributes:
        cards: of images.
        n_shown: pictures in them.
        n_recorded: pictures that the records of the whole study hold.
    """

    cards: tuple[Card, ...]
    n_shown: int
    n_recorded: int


def make_gallery(material: Material, strips: Strips) -> Gallery:
    """The pictures of the lead settings' first repeat, images that most runs share before others.

    At most 360 are taken: where a study has more, images that few runs have pictures of are left out, then the
    last categories' share is cut, the same number of images from each.

    Args:
        material: of the report.
        strips: reads the pictures.
    """
    shown = [
        finding
        for setting, regime in material.lines(material.leads)
        for category in material.categories
        if (finding := material.get(setting, regime, category)) is not None
    ]
    n_recorded = sum(material.plan.spec.heatmaps for _ in material.findings)
    by_image: dict[str, list[Strip]] = {}
    for strip in (strip for finding in shown for strip in strips.of(finding)):
        by_image.setdefault(strip.image, []).append(strip)
    chosen = _choose(by_image)
    used = [strip for image in chosen for strip in by_image[image] if strips.is_whole(strip)]
    inputs = {
        (s.image, _domain(s.finding)): s for s in reversed(used)
    }  # the input is the same in every run of a domain
    with_input = {id(strip) for strip in inputs.values()}
    with ThreadPoolExecutor(2) as pool:  # decoding and encoding let go of the interpreter
        encoded = pool.map(lambda s: _encode(strips.panels(s), with_input=id(s) in with_input), used)
        panels = {(s.image, id(s.finding)): e for s, e in zip(used, encoded, strict=True) if e is not None}
    places = [(finding, {name: index for index, name in enumerate(finding.test.names)}) for finding in shown]
    cards = [_card(image, places, panels) for image in chosen]
    cards.sort(key=lambda card: (-(sum(bool(t.map) for t in card.tiles) == len(card.tiles)), -card.n_wrong))
    return Gallery(tuple(cards), len(used), n_recorded)


def _choose(by_image: dict[str, list[Strip]]) -> list[str]:
    """Images in turn from each category, the most pictured first, until the pictures are enough."""
    queues: dict[str, list[str]] = {}
    for image in sorted(by_image, key=lambda name: (-len(by_image[name]), name)):
        queues.setdefault(image.partition("/")[0], []).append(image)
    chosen: list[str] = []
    n_pictures = 0
    while any(queues.values()):
        for queue in queues.values():
            if not queue:
                continue
            image = queue.pop(0)
            if n_pictures + len(by_image[image]) > MOST_PICTURES:
                return chosen
            chosen.append(image)
            n_pictures += len(by_image[image])
    return chosen


@dataclass(frozen=True, slots=True)
class _Encoded:
    views: str
    picture: str
    ratio: float
    contour: str


def _encode(panels: Panels | None, *, with_input: bool) -> _Encoded | None:
    if panels is None:
        return None
    ratio = panels.picture.width / max(1, panels.picture.height)
    picture = _uri(_pair(panels.picture, panels.truth)) if with_input else ""
    return _Encoded(_uri(_pair(panels.anomaly_map, panels.overlay)), picture, ratio, panels.contour)


def _domain(finding: Finding) -> str:
    return REGIMES[finding.record.regime].evaluation  # type: ignore[index]  # a record's regime is one of the spec's


def strip_uri(strip: Image.Image) -> str:
    """A strip of panels as a data URI, without the line of text above and made smaller."""
    below = strip.crop((0, HEAD, strip.width, strip.height))
    factor = min(1.0, STRIP / below.width)
    size = max(1, round(below.width * factor)), max(1, round(below.height * factor))
    return _uri(below.resize(size, Image.Resampling.LANCZOS))


def _pair(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two panels side by side, made small."""
    factor = min(1.0, SIDE / max(left.size))
    width, height = max(1, round(left.width * factor)), max(1, round(left.height * factor))
    pair = Image.new("RGB", (2 * width + GAP, height), (127, 127, 127))
    for index, panel in enumerate((left, right)):
        pair.paste(panel.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), (index * (width + GAP), 0))
    return pair


def _uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=1)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _card(
    image: str, places: Sequence[tuple[Finding, Mapping[str, int]]], panels: Mapping[tuple[str, int], _Encoded]
) -> Card:
    """An image in every run that has it at one of its places among the test images."""
    tiles: list[Tile] = []
    pictures: dict[str, str] = {}
    ratio, n_wrong, defect = 1.0, 0, "good"
    for finding, index_of in places:
        index = index_of.get(image)
        if index is None:
            continue
        defect, score = finding.test.defects[index], float(finding.test.scores[index])
        threshold = finding.record.threshold
        verdict = Caption(image, bool(finding.test.labels[index]), score, threshold).verdict
        n_wrong += verdict in ("miss", "false alarm")
        encoded = panels.get((image, id(finding)))
        if encoded is not None:
            ratio = encoded.ratio
            if encoded.picture:
                pictures[_domain(finding)] = encoded.picture
        said = verdict_words(verdict, encoded.contour if encoded else "")
        regime = REGIME_TITLES[finding.record.regime]
        tiles.append(
            Tile(
                finding.setting.label,
                regime,
                verdict,
                said,
                tone(said),
                f"{score:.4g}",
                "" if threshold is None else f"{threshold:.4g}",
                encoded.views if encoded else "",
                2 * ratio,
            )
        )
    return Card(image, image.partition("/")[0], defect, n_wrong, pictures, ratio, tuple(tiles))
