"""A verdict on the image score says what the map adds to it: located, elsewhere, or cold throughout."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from adloc.cli import cli
from adloc.datasets.checked import crc32_of
from adloc.record.files import write_checked
from adloc.record.heatmaps import Caption, ColourScale, png_bytes, read_panels, render
from adloc.record.located import Contour, find_contour, tone, verdict_words

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: located
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 32}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none}}
heatmaps: 6
models: none
"""


def warm_at(*pixels: tuple[int, int]) -> np.ndarray:
    """A map of 0, with 2 at some pixels."""
    found = np.zeros((4, 6), dtype=np.float32)
    for pixel in pixels:
        found[pixel] = 2
    return found


@pytest.mark.parametrize(
    ("warm", "masked", "anomalous", "contour"),
    [
        ([(1, 2)], [(1, 2), (1, 3)], True, "on defect"),
        ([(0, 0), (3, 5)], [(3, 5)], True, "on defect"),
        ([(1, 1)], [(2, 2)], True, "elsewhere"),
        ([], [(1, 2)], True, "none"),
        ([], [], False, "none"),
        ([(0, 0)], [], False, "elsewhere"),
        ([(0, 0)], [], True, None),
    ],
)
def test_where_the_map_reaches_the_threshold(
    *, warm: list[tuple[int, int]], masked: list[tuple[int, int]], anomalous: bool, contour: Contour | None
) -> None:
    """One shared pixel locates a defect, a neighbour does not; a defect without a mask is located by nobody."""
    assert find_contour(warm_at(*warm), warm_at(*masked) > 0, 2.0, anomalous=anomalous) == contour
    assert find_contour(warm_at(*warm), warm_at(*masked) > 0, None, anomalous=anomalous) is None


@pytest.mark.parametrize(
    ("verdict", "contour", "words", "colour"),
    [
        ("hit", "on defect", "hit, located", "hit"),
        ("hit", "elsewhere", "hit, contour elsewhere", "doubtful"),
        ("hit", "none", "hit, no contour", "doubtful"),
        ("hit", "", "hit", "hit"),
        ("false alarm", "none", "false alarm, map cold", "doubtful"),
        ("false alarm", "elsewhere", "false alarm", "false-alarm"),
        ("miss", "none", "miss", "miss"),
        ("correct rejection", "none", "correct rejection", "correct-rejection"),
        ("no threshold", "", "no threshold", "no-threshold"),
    ],
)
def test_words_and_their_colour(verdict: str, contour: str, words: str, colour: str) -> None:
    """Green is for a hit that is located, or of which no more is known; amber where the map disagrees."""
    assert verdict_words(verdict, contour) == words
    assert tone(words) == colour


@pytest.mark.parametrize("contour", ["on defect", "elsewhere", "none", None])
def test_a_picture_keeps_what_its_map_says(contour: Contour | None, tmp_path: Path) -> None:
    """The contour is in the file's text and comes back with the panels; a picture without it has none."""
    caption = Caption("gear/test/hole/000.png", anomalous=True, score=3.0, threshold=2.0, contour=contour)
    picture = render(
        np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8)), np.zeros((8, 8), bool), ColourScale(0, 2, 4), caption
    )
    path = tmp_path / "strip.png"
    path.write_bytes(png_bytes(picture))
    assert read_panels(path).contour == (contour or "")


def adloc(*arguments: str | Path) -> None:
    """Run the command line in this process."""
    result = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def verdicts(page: Path) -> list[tuple[str, str, str]]:
    """Of every view: the verdict to filter by, the colour's class and the words."""
    views = re.findall(r'data-verdict="([^"]+)".*?<b class="([^"]+)">([^<]+)</b>', page.read_text(), re.DOTALL)
    return [(str(verdict), str(colour), str(words)) for verdict, colour, words in views]


@pytest.mark.slow
def test_the_gallery_says_it(mvtec_tree: Path, tmp_path: Path) -> None:
    """A recorded run's hits say where they are, in the words of its pictures; older ones keep their words."""
    path, workspace = tmp_path / "located.yaml", tmp_path / "workspace"
    path.write_text(STUDY.format(root=mvtec_tree))
    adloc("study", "run", path, "--workspace", workspace)
    page = workspace / "studies" / "located" / "report.html"
    pictures = sorted(workspace.glob("studies/located/records/*/heatmaps/*.png"))
    assert len(pictures) == 6
    assert {read_panels(p).contour for p in pictures} <= {"on defect", "elsewhere", "none"}
    seen = verdicts(page)
    hits = [words for verdict, _, words in seen if verdict == "hit"]
    assert hits
    assert set(hits) - {"hit"} <= {"hit, located", "hit, contour elsewhere", "hit, no contour"}

    def rewritten(**text: str) -> list[tuple[str, str, str]]:
        for picture in pictures:
            with Image.open(picture) as strip:
                strip.load()
                kept = {k: v for k, v in strip.info.items() if k != "contour"}
                bare = strip.convert("RGB")
            bare.info = {**kept, **text}
            picture.write_bytes(png_bytes(bare))
        for path_of_record in workspace.glob("studies/located/records/*/record.json"):
            record = json.loads(path_of_record.read_bytes())  # as if it had been recorded with these pictures
            del record["checksum"]
            for name in record["files"]:
                record["files"][name] = crc32_of((path_of_record.parent / name).read_bytes())
            write_checked(path_of_record, record)
        adloc("study", "report", path, "--workspace", workspace)
        return verdicts(page)

    assert ("hit", "doubtful", "hit, contour elsewhere") in rewritten(contour="elsewhere")
    assert {words for _, _, words in rewritten()} == {verdict for verdict, _, _ in seen}
