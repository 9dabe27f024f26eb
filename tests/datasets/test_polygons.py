"""Masks drawn as polygons: labelme's files beside the images, and one COCO file for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

from adloc.datasets import check, load_samples
from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.polygons import Outline, read_coco, read_labelme
from adloc.datasets.readers.folder import FolderConfig

if TYPE_CHECKING:
    from adloc.datasets.sample import Sample

HEIGHT, WIDTH = 12, 20
BOX = [[2.0, 3.0], [7.0, 3.0], [7.0, 9.0], [2.0, 9.0]]  # the pixels of rows 3 to 8 and columns 2 to 6
TRIANGLE = [[10.0, 0.0], [14.0, 0.0], [10.0, 4.0]]  # 4 + 3 + 2 + 1 pixels, less those whose centres lie on its edge


def labelme(*polygons: list[list[float]], **more: object) -> str:
    """A labelme file as labelme writes it, as far as it is read."""
    shapes = [{"label": "scratch", "points": points, "shape_type": "polygon"} for points in polygons]
    return json.dumps({"version": "5.4", "shapes": shapes, "imageHeight": HEIGHT, "imageWidth": WIDTH, **more})


def coco(root: Path, *annotations: dict[str, object], names: tuple[str, ...] = ("ng/a.png", "b.png")) -> Path:
    """A COCO file of two images, 1 and 2."""
    images = [{"id": i, "file_name": n, "height": HEIGHT, "width": WIDTH} for i, n in enumerate(names, 1)]
    path = root / "marks.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return path


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    """good/0.png to 2.png and ng/a.png, ng/b.png, without masks."""
    rng = np.random.default_rng(3)
    for name in ("good/0", "good/1", "good/2", "ng/a", "ng/b"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
    return tmp_path


def anomalous(root: Path, masks: str | None) -> list[Sample]:
    """The anomalous samples."""
    config = FolderConfig(root=root, normal=("good",), anomalous=("ng",), masks=masks)
    return [sample for sample in load_samples(config) if sample.label]


def test_a_pixel_is_defect_when_its_centre_lies_inside() -> None:
    """By hand: a box from (2, 3) to (7, 9) has 6 x 5 pixels; two polygons are joined; none is an empty mask."""
    box = tuple((x, y) for x, y in BOX)
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[3:9, 2:7] = True
    assert np.array_equal(Outline(Path(), HEIGHT, WIDTH, (box,)).mask(), expected)
    expected[0, 10:15] = expected[1, 10:14] = True
    both = Outline(Path(), HEIGHT, WIDTH, (box, ((10, 0), (15, 0), (15, 1), (14, 1), (14, 2), (10, 2)))).mask()
    assert np.array_equal(both, expected)
    assert not Outline(Path(), HEIGHT, WIDTH, ()).mask().any()


def test_a_slanted_polygon_is_pillows() -> None:
    """On a large canvas the area is the polygon's, and the mask Pillow's but for its edge."""
    corners = ((10.3, 20.1), (180.7, 33.2), (120.4, 150.9), (33.3, 99.9))
    found = Outline(Path(), 160, 200, (corners,)).mask()
    canvas = Image.new("L", (200, 160))
    ImageDraw.Draw(canvas).polygon([(x - 0.5, y - 0.5) for x, y in corners], fill=1)
    x, y = np.array(corners).T
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    assert found.sum() == pytest.approx(area, rel=0.005)
    assert (found != (np.asarray(canvas) > 0)).sum() < 2 * (170 + 130 + 100 + 85)  # two pixels along the perimeter


@pytest.mark.parametrize(("place", "masks"), [("ng", "ng"), ("masks/ng", "masks"), ("masks", "masks")])
def test_labelme_files_are_masks_where_masks_would_lie(boards: Path, place: str, masks: str) -> None:
    """Beside the image, in the folder of its type, or in one for all; an image without one has an unknown mask."""
    (boards / place).mkdir(parents=True, exist_ok=True)
    (boards / place / "a.json").write_text(labelme(BOX))
    a, b = anomalous(boards, masks)
    assert (a.mask_known, b.mask_known) == (True, False)
    mask = a.source.read().mask
    assert mask is not None
    assert mask[3:9, 2:7].all()
    assert mask.sum() == 30


def test_what_is_drawn_is_the_identity_not_how_it_is_written(boards: Path) -> None:
    """Another label leaves the hash; another corner changes it, and mask images are as they were."""
    path = boards / "ng/a.json"
    source = FileImage(boards / "ng/a.png", path)
    hashes = []
    for text in (labelme(BOX), labelme(BOX, imageData="abc"), labelme(BOX, TRIANGLE)):
        path.write_text(text)
        hashes.append(source.fingerprint().mask_sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_without_masks_the_warning_says_where_labelme_files_lie(boards: Path) -> None:
    """Nothing is read that is not named; what would name it is said. Normal images with marks are named."""
    (boards / "ng/a.json").write_text(labelme(BOX))
    config = {"root": boards, "normal": ("good",), "anomalous": ("ng",)}
    (warning,) = check(FolderConfig.model_validate(config)).warnings
    assert "masks: ng, if its .json files are labelme masks" in warning.remedy
    (boards / "good/1.json").write_text(labelme(BOX))
    found = [problem.found for problem in check(FolderConfig.model_validate(config | {"masks": "."})).warnings]
    assert any("good/1.json: marks a defect on a normal image" in each for each in found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{}", "a.json: shapes: Field required"),
        ("no", "a.json: the file: Invalid JSON"),
        (labelme(BOX[:2]), r"a.json: shapes\[0\] is a polygon of 2 points"),
        (labelme().replace("[]", '[{"points": [[0, 0], [4, 4]], "shape_type": "rectangle"}]'), "is a rectangle of 2"),
        (labelme(BOX, imageHeight=13), "a.json: drawn on 13 x 20, .*a.png is 12 x 20"),
    ],
)
def test_a_labelme_file_that_is_none_is_named(boards: Path, text: str, found: str) -> None:
    """By its path, when images are hashed: before any work; and by the check."""
    (boards / "ng/a.json").write_text(text)
    with pytest.raises(DatasetError, match=found):
        anomalous(boards, "ng")[0].source.fingerprint()
    config = FolderConfig(root=boards, normal=("good",), anomalous=("ng",), masks="ng")
    assert "ng/a.json" in check(config).errors[0].found


def test_a_coco_file_gives_the_masks_of_labelme(boards: Path) -> None:
    """By path or by name alone; several annotations of an image are joined, each of several polygons."""
    flat, other = ([number for point in points for number in point] for points in (BOX, TRIANGLE))
    path = coco(
        boards,
        {"image_id": 1, "segmentation": [flat]},
        {"image_id": 1, "segmentation": [other]},
        {"image_id": 2, "segmentation": [flat, other]},
    )
    (boards / "ng/c.json").write_text(labelme(BOX, TRIANGLE))
    expected = read_labelme(boards / "ng/c.json").mask()
    a, b = anomalous(boards, "marks.json")
    assert all(np.array_equal(sample.source.read().mask, expected) for sample in (a, b))
    assert expected.sum() > 30
    assert a.source.fingerprint().mask_sha256 == b.source.fingerprint().mask_sha256
    coco(boards, {"image_id": 2, "segmentation": [flat]})
    a, b = anomalous(boards, path.name)
    assert (a.mask_known, b.mask_known) == (False, True)


def test_coco_annotations_of_other_images_are_named(boards: Path) -> None:
    """On a normal image, or on none: each a warning, with the name in the file."""
    flat = [number for point in BOX for number in point]
    names = ("good/0.png", "gone.png")
    coco(boards, *({"image_id": i, "segmentation": [flat]} for i in (1, 2)), names=names)
    config = FolderConfig(root=boards, normal=("good",), anomalous=("ng",), masks="marks.json")
    found = "\n".join(problem.found for problem in check(config).warnings)
    assert "marks.json: marks a defect on a normal image, good/0.png" in found
    assert "marks.json: gone.png is no image that the globs find" in found
    assert "no mask for 2 of 2 anomalous images" in found


@pytest.mark.parametrize(
    ("annotation", "found", "remedy"),
    [
        ({"image_id": 1, "segmentation": {"counts": [1, 2], "size": [12, 20]}}, "has run lengths", "mask images"),
        ({"image_id": 1, "bbox": [1, 2, 3, 4]}, "has no polygon", "draw the defect as a polygon"),
        ({"image_id": 1, "segmentation": [[1, 2, 3, 4]]}, "has a polygon of 4 numbers", "draw it again"),
        ({"image_id": 7, "segmentation": [[1, 2, 3, 4, 5, 6]]}, "has the image_id 7", "export it again"),
    ],
)
def test_what_is_no_polygon_is_refused(boards: Path, annotation: dict[str, object], found: str, remedy: str) -> None:
    """Run lengths, boxes and broken polygons: the file, which annotation, and what to do."""
    path = coco(boards, annotation)
    with pytest.raises(DatasetError) as caught:
        read_coco(path)
    (problem,) = caught.value.problems
    assert f"{path}: annotations[0] {found}" in problem.found
    assert remedy in problem.remedy
    with pytest.raises(DatasetError, match=r"marks\.json"):
        anomalous(boards, "marks.json")


def test_a_coco_file_that_is_none_or_gone_is_refused(boards: Path) -> None:
    """And one that names two images by one name."""
    with pytest.raises(DatasetError, match=r"nothing\.json: no such file"):
        anomalous(boards, "nothing.json")
    (boards / "labels.json").write_text("[]")
    with pytest.raises(DatasetError, match=r"labels\.json: the file: Input should be"):
        anomalous(boards, "labels.json")
    coco(boards, names=("a.png", "a.png"))
    with pytest.raises(DatasetError, match="there twice"):
        anomalous(boards, "marks.json")


def test_two_images_of_one_name_must_be_told_apart(boards: Path) -> None:
    """A file_name without its folder is of one image alone; which of two is not guessed."""
    (boards / "ng/other").mkdir()
    (boards / "ng/b.png").rename(boards / "ng/other/a.png")
    coco(boards, {"image_id": 1, "segmentation": [[1, 2, 3, 4, 5, 6]]}, names=("a.png",))
    with pytest.raises(DatasetError, match=r"is that of .*ng/a\.png too"):
        anomalous(boards, "marks.json")
