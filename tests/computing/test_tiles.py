"""Tiles: where they lie, how their feature maps are joined, and what they find that the resized image does not show."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adloc.cli import cli
from adloc.computing.tiling import check_tiles, pass_network
from adloc.datasets.tiles import TilesConfig, place_tiles, share_of
from adloc.datasets.transform import ImageConfig, native_size, prepare_image, prepare_mask
from adloc.methods.backbone import resolve_weights
from adloc.methods.errors import MethodError
from adloc.methods.network import load_backbone
from categories import write_layout_image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adloc.methods.network import FeatureExtractor

CPU = torch.device("cpu")
# What a cell of ResNet-18's layer1 sees: 7 pixels, 11 after pooling, and 8 more of each of four 3 x 3 convolutions.
RADIUS = (11 + 4 * 8) // 2


def random_network(*layers: str) -> FeatureExtractor:
    """ResNet-18 with random weights."""
    return load_backbone("resnet18", resolve_weights("resnet18", "random", seed=7), layers, 7, CPU)


def noise(n_images: int, height: int, width: int) -> torch.Tensor:
    """Random images."""
    return torch.rand((n_images, 3, height, width), generator=torch.Generator().manual_seed(1))


def tiled(size: int | tuple[int, int], rows: int, columns: int, overlap: float = 0.0) -> ImageConfig:
    """A configuration with tiles."""
    return ImageConfig(size=size, tiles=TilesConfig(rows=rows, columns=columns, overlap=overlap))


# Where tiles lie


@settings(deadline=None)
@given(
    counts=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(16, 260), st.integers(16, 260)),
    overlap=st.floats(0, 0.5),
)
def test_cores_cover_the_canvas_once(counts: tuple[int, int], size: tuple[int, int], overlap: float) -> None:
    """Each pixel of the canvas lies in one core, and each core inside its tile, whatever the overlap."""
    tiles = TilesConfig(rows=counts[0], columns=counts[1], overlap=overlap)
    assume(all(n == 1 or 2 * tiles.shared(side) <= side for n, side in zip(counts, size, strict=True)))
    covered = np.zeros(tiles.canvas(size), dtype=int)
    for tile in place_tiles(tiles, size):
        for span, side in zip((tile.rows, tile.columns), size, strict=True):
            assert span.stop - span.start == side
            assert span.start <= span.core_start < span.core_stop <= span.stop
        covered[tile.rows.core_start : tile.rows.core_stop, tile.columns.core_start : tile.columns.core_stop] += 1
    assert (covered == 1).all()


def test_neighbours_share_the_overlap_widened_to_whole_steps() -> None:
    """A tenth of 224 pixels is 22.4: neighbours share 32, and each is kept for 16 of them."""
    tiles = TilesConfig(rows=1, columns=3, overlap=0.1)
    columns = [tile.columns for tile in place_tiles(tiles, (224, 224))]
    for left, right in pairwise(columns):
        assert left.stop - right.start == 32
        assert left.stop - left.core_stop == right.core_start - right.start == 16
    assert (columns[0].core_start, columns[-1].core_stop) == (0, 3 * 224 - 2 * 32)


@given(steps=st.integers(0, 8), side=st.integers(16, 4096))
def test_a_share_that_is_named_gives_its_pixels(steps: int, side: int) -> None:
    """What a remedy says to write is widened to the pixels that it is meant for."""
    assume(64 * steps <= side)
    assert TilesConfig(rows=1, columns=2, overlap=share_of(32 * steps, side)).shared(side) == 32 * steps


def test_images_masks_and_evaluation_are_of_the_canvas() -> None:
    """2 x 3 tiles of [64, 96] that share 32 pixels cover 96 x 224; native masks keep the image's own size."""
    config = tiled((64, 96), 2, 3, 0.3)
    assert config.input_size == config.resized == (96, 224)
    assert config.tile_size == (64, 96)
    assert prepare_image(np.zeros((50, 50, 3), dtype=np.uint8), config).shape == (3, 96, 224)
    assert prepare_mask(np.ones((50, 50), dtype=bool), config).shape == (96, 224)
    assert native_size(500, 300, config) == (500, 300)


# How feature maps are joined


def test_one_tile_gives_the_bits_of_no_tiles() -> None:
    """Nothing is cut and nothing is joined."""
    network, images = random_network("layer1", "layer3"), noise(2, 64, 96)
    plain = pass_network(network, images, ImageConfig(size=(64, 96)), 2)
    one = pass_network(network, images, tiled((64, 96), 1, 1, 0.2), 2)
    assert all(torch.equal(plain[layer], one[layer]) for layer in ("layer1", "layer3"))


def test_tiles_without_overlap_stand_side_by_side() -> None:
    """Rows x columns times the cells of a tile, each tile's own map where the tile lies; image by image."""
    network, images = random_network("layer2", "layer3"), noise(2, 2 * 32, 3 * 64)
    joined = pass_network(network, images, tiled((32, 64), 2, 3), 4)
    for layer, stride in (("layer2", 8), ("layer3", 16)):
        height, width = 32 // stride, 64 // stride
        assert joined[layer].shape[-2:] == (2 * height, 3 * width)
        for row in range(2):
            for column in range(3):
                cut = images[:, :, row * 32 : (row + 1) * 32, column * 64 : (column + 1) * 64]
                there = joined[layer][:, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
                assert torch.equal(there, network(cut)[layer])


def test_enough_overlap_leaves_no_seam() -> None:
    """Once half of the overlap is wider than what a cell sees, the joined map is that of the whole canvas."""
    network, config = random_network("layer1"), tiled(128, 2, 2, 0.5)
    assert config.tiles is not None
    assert config.tiles.shared(128) // 2 > RADIUS
    images = noise(1, *config.input_size)
    joined, whole = pass_network(network, images, config, 2)["layer1"], network(images)["layer1"]
    torch.testing.assert_close(joined, whole, rtol=0, atol=1e-4)


def test_seams_reach_as_far_as_a_cell_sees() -> None:
    """Without overlap a constant image's map is constant but near borders of tiles, where it sees the padding."""
    network, config = random_network("layer1"), tiled(128, 1, 2)
    joined = pass_network(network, torch.full((1, 3, 128, 256), 0.5), config, 2)["layer1"][0]
    off = (joined - joined[:, 16:17, 16:17]).abs().amax(0)  # the centre of the first tile, cells of 4 pixels
    centres = torch.arange(64) * 4 + 1.5
    inner = RADIUS + 2  # a cell's centre may lie up to two pixels from what it sees the middle of
    far = (centres % 128 > inner) & (centres % 128 < 128 - inner)
    assert off[far[:32]][:, far].max() < 1e-4
    assert off[16, 31] > 1e-2  # at the seam
    assert off[16, 32] > 1e-2


def test_no_more_tiles_pass_together_than_images_would() -> None:
    """Of an image in six tiles, four pass and then two: memory does not grow with the number of tiles."""
    passed: list[int] = []

    def network(images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        passed.append(len(images))
        return {"layer": images[:, :1, ::8, ::8]}

    images = noise(2, 64, 96)
    joined = pass_network(network, images, tiled(32, 2, 3), 4)
    assert passed == [4, 4, 4]
    assert torch.equal(joined["layer"], images[:, :1, ::8, ::8])


# What is refused


@pytest.mark.parametrize(
    ("layer", "config", "words", "remedy"),
    [
        ("layer4", tiled(224, 1, 2, 0.1), "half of 32 shared pixels", "use an overlap of 0 or 0.2857,"),
        ("layer3", tiled(100, 2, 1), "7 cells of layer3 on 100 pixels", "use an image.size of 96 or 128"),
    ],
)
def test_cells_that_do_not_fit_are_refused(layer: str, config: ImageConfig, words: str, remedy: str) -> None:
    """A stride that divides no tile, or not half of the overlap, is named with the nearest sizes that it divides."""
    network = random_network(layer)
    with pytest.raises(MethodError) as caught:
        check_tiles(network, config)
    assert words in caught.value.found
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize("config", [tiled(224, 1, 2, 0.2857), tiled(224, 1, 2), tiled(96, 2, 1), tiled(128, 2, 1)])
def test_what_the_remedies_say_works(config: ImageConfig) -> None:
    """The nearest sizes and overlaps are taken."""
    check_tiles(random_network("layer4"), config)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"size": 256, "crop": 224, "tiles": {"rows": 2, "columns": 2}}, "crop 224 x 224 and tiles 2 x 2"),
        ({"size": 48, "tiles": {"rows": 2, "columns": 2, "overlap": 0.1}}, "overlap of at most 0, or a size of at l"),
        ({"size": 96, "tiles": {"rows": 1, "columns": 2, "overlap": 0.5}}, "overlap of at most 0.3333, or a size"),
        ({"tiles": {"rows": 0, "columns": 2}}, "greater than or equal to 1"),
        ({"tiles": {"rows": 2, "columns": 2, "overlap": 0.6}}, "less than or equal to 0.5"),
        ({"tiles": {"rows": 2}}, "columns"),
    ],
)
def test_tiles_that_cannot_be_meant_are_refused(given_: dict[str, object], words: str) -> None:
    """With a crop, without tiles, sharing more than half; with what could be meant."""
    with pytest.raises(ValidationError, match=words):
        ImageConfig.model_validate(given_)


def test_configurations_without_tiles_are_written_as_before() -> None:
    """Keys and run ids are made of what is written: tiles stand there only where there are some."""
    assert ImageConfig().model_dump(mode="json") == {"size": 224, "crop": None}
    config = tiled(224, 2, 3, 0.1)
    assert ImageConfig.model_validate_json(config.model_dump_json()) == config
    assert "tiles" in ImageConfig.model_json_schema()["properties"]


# Studies


STUDY = """\
study: tiles
dataset: {{kind: mvtec_ad, root: {root}, categories: [plate]}}
image: {{size: 96}}
split: {{train_fraction: 0.75, validation_defects: 0.4}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, layers: [layer2], reweight: none, coreset_ratio: 0.1}}
    {more}
"""


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of one category of 480 x 480 pixels, "plate": grain, whose defects are 16 x 16 pixels of fine stripes.

    The stripes, a pixel light and a pixel dark, are as bright on the average as what is around them: at a fifth of the
    size, which cannot show them, there is nothing left to find.
    """
    root, rng = tmp_path_factory.mktemp("plates"), np.random.default_rng(3)
    stripes = np.where(np.arange(16) % 2 == 0, 40.0, -40.0)

    def save(name: str, place: tuple[int, int] | None = None) -> None:
        pixels = 120 + rng.normal(0, 8, (480, 480))
        if place is not None:
            row, column = place
            pixels[row : row + 16, column : column + 16] += stripes
        write_layout_image(root / "plate" / name, np.repeat(pixels.clip(0, 255).astype(np.uint8)[:, :, None], 3, 2))

    for index in range(12):
        save(f"train/good/{index:03}.png")
    for index in range(10):
        row, column = (int(place) for place in rng.integers(20, 440, 2))
        save(f"test/good/{index:03}.png")
        save(f"test/stripes/{index:03}.png", (row, column))
        mask = np.zeros((480, 480), dtype=np.uint8)
        mask[row : row + 16, column : column + 16] = 255
        write_layout_image(root / f"plate/ground_truth/stripes/{index:03}_mask.png", mask)
    return root


def run(folder: Path, text: str) -> list[dict[str, object]]:
    """The rows of a study that has run."""
    path = folder / "study.yaml"
    path.write_text(text)
    for verb in ("run", "results"):
        done = CliRunner().invoke(cli, ["study", verb, str(path), "--workspace", str(folder), "--json"])
        assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout))


@pytest.mark.slow
def test_small_defects_are_found_in_tiles(plates: Path, tmp_path: Path) -> None:
    """Stripes too fine for 96 pixels are found in 5 x 5 tiles of them, in a grid that holds both."""
    grid = "grid: {image.tiles: [null, {rows: 5, columns: 5, overlap: 0.0}]}"
    rows = [row for row in run(tmp_path, STUDY.format(root=plates, more=grid)) if row["category"] == "plate"]
    found = {row["params.image.tiles"]: float(str(row["image_auroc"])) for row in rows}
    assert found["5 x 5, overlap 0"] > 0.95
    assert found[None] < 0.8


@pytest.mark.slow
def test_tiles_are_tuned_as_any_choice(plates: Path, tmp_path: Path) -> None:
    """A search over no tiles and some takes the some where the validation part says so."""
    tune = (
        "tune: {space: {image.tiles: {choices: [null, {columns: 5, overlap: 0, rows: 5}]}}}\n"
        "tuning: {trials: 2, metric: val_image_auroc}"
    )
    rows = [row for row in run(tmp_path, STUDY.format(root=plates, more=tune)) if row["category"] == "plate"]
    assert [row["params.image.tiles"] for row in rows] == [None, "5 x 5, overlap 0"]
