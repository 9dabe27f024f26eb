"""Pictures for a paper, cut out of the recorded strips: samples before and after the shift, and maps side by side."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from adloc.answer.material import REGIME_TITLES
from adloc.record.files import write_whole
from adloc.record.heatmaps import choose_common, png_bytes
from adloc.report.charts.figure import safe
from adloc.study_file.regimes import REGIMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material
    from adloc.record.heatmaps import Panels
    from adloc.report.strips import Strip, Strips

SIDE = 180  # longest side of a panel, pixels
GAP, HEAD, LABEL = 6, 36, 120
MOST_IMAGES = 6  # rows of a qualitative grid
MOST_SAMPLES = 4  # images of a category before and after the shift
MOST_METHODS = 3


@dataclass(frozen=True, slots=True)
class Plate:
    """A grid of pictures.

    Attributes:
        name: of its file.
        columns: heads, one line each method and regime.
        rows: labels.
        panels: (rows, columns); None leaves a place empty.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    panels: tuple[tuple[Image.Image | None, ...], ...]

    def draw(self) -> Image.Image:
        """On white, every panel within a square of `SIDE` pixels, in its proportions."""
        font = ImageFont.load_default(13)
        size = (LABEL + len(self.columns) * (SIDE + GAP), HEAD + len(self.rows) * (SIDE + GAP))
        sheet = Image.new("RGB", size, "white")
        pen = ImageDraw.Draw(sheet)
        for j, head in enumerate(self.columns):
            pen.multiline_text((LABEL + j * (SIDE + GAP), 2), head, "black", font)
        for i, (label, row) in enumerate(zip(self.rows, self.panels, strict=True)):
            top = HEAD + i * (SIDE + GAP)
            pen.multiline_text((4, top + 4), label, "black", font)
            for j, panel in enumerate(row):
                if panel is not None:
                    factor = SIDE / max(panel.size)
                    fitted = (max(1, round(panel.width * factor)), max(1, round(panel.height * factor)))
                    small = panel.convert("RGB").resize(fitted, Image.Resampling.BILINEAR)
                    sheet.paste(small, (LABEL + j * (SIDE + GAP), top))
        return sheet


def write_plates(material: Material, strips: Strips, folder: Path) -> list[Path]:
    """Write plate_samples.png and a plate_maps_<category>.png each; returns all of them."""
    plates = [
        p for p in (sample_plate(material, strips), *(map_plate(material, strips, c) for c in material.categories)) if p
    ]
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{plate.name}.png" for plate in plates]
    for plate, path in zip(plates, written, strict=True):
        write_whole(path, png_bytes(plate.draw()))
    return written


def sample_plate(material: Material, strips: Strips) -> Plate | None:
    """Images of every category, clean above and shifted below; None without both domains."""
    rows: list[str] = []
    panels: list[tuple[Image.Image | None, ...]] = []
    for category in material.categories:
        by_domain: dict[str, dict[str, Strip]] = defaultdict(dict)
        for setting, regime in material.lines(material.leads):
            finding = material.get(setting, regime, category)
            if finding is not None:
                for strip in strips.of(finding):
                    by_domain[_domain(regime)].setdefault(strip.image, strip)
        both = by_domain["clean"].keys() & by_domain["shift"].keys()
        finding = next(f for f in material.findings if f.record.category == category)
        whole = (i for i in _in_turn(finding, both) if all(strips.is_whole(each[i]) for each in by_domain.values()))
        images = list(islice(whole, MOST_SAMPLES))
        if images:
            for domain, title in (("clean", "clean"), ("shift", "shifted")):
                read = [strips.panels(by_domain[domain][image]) for image in images]
                cut = [each.picture if each else None for each in read]
                panels.append((*cut, *[None] * (MOST_SAMPLES - len(cut))))
                rows.append(f"{category}\n{title}")
    if not rows:
        return None
    n = max(sum(p is not None for p in row) for row in panels)
    return Plate("plate_samples", ("",) * n, tuple(rows), tuple(row[:n] for row in panels))


@dataclass(frozen=True, slots=True)
class _Source:
    """A run whose maps are on a plate, with its recorded strips by image."""

    finding: Finding
    strips: dict[str, Strip]

    @property
    def domain(self) -> str:
        return _domain(self.finding.record.regime)

    @property
    def head(self) -> str:
        return f"{self.finding.setting.method}\n{REGIME_TITLES[self.finding.record.regime]}"


@dataclass(frozen=True, slots=True)
class _Column:
    """A head and what is below it; None leaves a place empty."""

    head: str
    panels: list[Image.Image | None]


def map_plate(material: Material, strips: Strips, category: str) -> Plate | None:
    """Rows: images; columns: the image, its defect, and the map of every method and regime."""
    sources = [
        _Source(finding, {strip.image: strip for strip in strips.of(finding)})
        for setting, regime in material.lines(_one_a_method(material))
        if (finding := material.get(setting, regime, category)) is not None
    ]
    if not any(source.strips for source in sources):
        return None
    images = _in_turn(sources[0].finding, _in_most(sources))[:MOST_IMAGES]
    columns: list[_Column] = []
    for domain in dict.fromkeys(source.domain for source in sources):
        columns += _columns([s for s in sources if s.domain == domain], images, strips)
    rows = tuple(i.partition("/")[2].removeprefix("test/").replace("/", "\n") for i in images)
    panels = tuple(zip(*(column.panels for column in columns), strict=True))
    return Plate(safe(f"plate_maps_{category}"), tuple(column.head for column in columns), rows, panels)


def _in_most(sources: Sequence[_Source]) -> set[str]:
    """The images that as many of the runs recorded as any."""
    counted = Counter(image for source in sources for image in source.strips)
    most = max(counted.values())
    return {image for image, n in counted.items() if n == most}


def _columns(sources: Sequence[_Source], images: Sequence[str], strips: Strips) -> list[_Column]:
    """Image, defect and maps of the runs of one domain, one at least."""
    inputs: list[Panels | None] = [None] * len(images)
    maps: list[_Column] = []
    for source in sources:
        cut = [strips.panels(source.strips[i]) if i in source.strips else None for i in images]
        inputs = [new or old for new, old in zip(cut, inputs, strict=True)]  # the same in all runs of a domain
        maps.append(_Column(source.head, [p.anomaly_map if p else None for p in cut]))
    title = "clean" if sources[0].domain == "clean" else "shifted"
    pictures = _Column(f"image\n{title}", [p.picture if p else None for p in inputs])
    defects = _Column(f"defect\n{title}", [p.truth if p else None for p in inputs])
    return [pictures, defects, *maps]


def _one_a_method(material: Material) -> list[Setting]:
    """The first lead of each method: a model and a threshold for each category, where the study has them."""
    first: dict[str, Setting] = {}
    for lead in sorted(material.leads, key=lambda s: (s.scope, s.threshold_scope)):
        first.setdefault(lead.method, lead)
    return [s for s in material.leads if s in first.values()][:MOST_METHODS]


def _in_turn(finding: Finding, images: Sequence[str] | set[str]) -> list[str]:
    """One of each defect type in turn, the same in every run whatever its scores."""
    pairs = [(n, d) for n, d in zip(finding.test.names, finding.test.defects, strict=True) if n in images]
    order = choose_common([n for n, _ in pairs], [d for _, d in pairs], len(pairs))
    return [pairs[i][0] for i in order]


def _domain(regime: str) -> str:
    return REGIMES[regime].evaluation  # type: ignore[index]  # a record's regime is one of the spec's
