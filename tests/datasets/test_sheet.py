"""Contact sheets: everything is on them, in its proportions, with the defects outlined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.datasets.readers.mvtec_layout import list_category
from adloc.datasets.sample import Picture
from adloc.datasets.sheet import SheetRow, contact_sheet, outlined

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image


def flat(value: int, height: int = 60, width: int = 60, *, defect: bool = False) -> Picture:
    """Make a picture of one grey value, with or without a square defect in its middle."""
    mask = np.zeros((height, width), np.bool_)
    if defect:
        mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = True
    return Picture(np.full((height, width, 3), value, np.uint8), mask)


def reddish(image: Image.Image) -> np.ndarray:
    """Where an image has the colour of an outline."""
    pixels = np.asarray(image).astype(int)
    return (pixels[:, :, 0] > 180) & (pixels[:, :, 1] < 120)


@pytest.mark.parametrize(("height", "width", "expected"), [(60, 60, (90, 90)), (40, 80, (90, 45)), (80, 40, (45, 90))])
def test_pictures_keep_their_proportions(height: int, width: int, expected: tuple[int, int]) -> None:
    """The longer side becomes the side asked for, the other follows."""
    assert outlined(flat(100, height, width), 90).size == expected


def test_a_defect_is_outlined_and_not_covered() -> None:
    """The line runs around the defect: none of it inside, all of it near."""
    marks = reddish(outlined(flat(100, defect=True), 120))
    assert marks.any()
    assert not marks[42:78, 42:78].any()
    rows, columns = np.nonzero(marks)
    assert min(rows.min(), columns.min()) >= 30
    assert max(rows.max(), columns.max()) <= 90


def test_a_normal_image_has_no_outline() -> None:
    """Nothing is drawn over a picture without a defect."""
    assert not reddish(outlined(flat(100), 120)).any()


def test_a_defect_at_the_edge_is_outlined_too() -> None:
    """A region that touches the image's edge has a line on its inner side."""
    mask = np.zeros((60, 60), np.bool_)
    mask[:, :20] = True
    marks = reddish(outlined(Picture(flat(100).image, mask), 60))
    assert marks[5:55, 20:28].any(axis=1).all()


def test_every_picture_is_on_the_sheet() -> None:
    """Rows of different lengths and sizes: each picture's own grey is found on an area of its own size."""
    values = iter(range(40, 220, 20))
    shapes = [[(60, 60), (60, 60), (60, 60)], [(30, 60)], [(60, 20), (60, 20)]]
    rows = [SheetRow("gear", tuple(flat(next(values), *shape) for shape in row)) for row in shapes]
    sheet = np.asarray(contact_sheet(rows, side=60))
    values = iter(range(40, 220, 20))
    for height, width in (shape for row in shapes for shape in row):
        area = (sheet == next(values)).all(axis=2).sum()
        assert area >= (height - 2) * (width - 2)


def test_captions_headings_and_labels_take_room() -> None:
    """Each text adds to the sheet: the caption on the left, heading and title above, the label below."""
    plain = contact_sheet([SheetRow("", (flat(100),))])
    assert contact_sheet([SheetRow("bottle", (flat(100),))]).width > plain.width
    assert contact_sheet([SheetRow("", (flat(100),), ("000.png",))]).height > plain.height
    assert contact_sheet([SheetRow("", (flat(100),))], headings=["clean"]).height > plain.height
    assert contact_sheet([SheetRow("", (flat(100),))], title="bottle").height > plain.height


def test_columns_stand_under_their_headings() -> None:
    """Clean and shifted pictures of all rows are aligned, also when the rows have other proportions."""
    rows = [SheetRow("a", (flat(50), flat(90))), SheetRow("b", (flat(60, 60, 20), flat(80, 60, 20)))]
    sheet = np.asarray(contact_sheet(rows, headings=["clean", "shift"], side=60))
    lefts = [np.nonzero((sheet == value).all(axis=2).any(axis=0))[0][0] for value in (90, 80)]
    assert lefts[0] == lefts[1]


def test_a_sheet_without_rows_is_a_mistake_of_the_caller() -> None:
    """Nothing to show is said."""
    with pytest.raises(ValueError, match="needs a row"):
        contact_sheet([])


def test_labels_must_be_as_many_as_pictures() -> None:
    """A label too few would stand under the wrong picture."""
    with pytest.raises(ValueError, match="zip"):
        contact_sheet([SheetRow("a", (flat(1), flat(2)), ("one",))])


def test_real_samples_make_a_sheet(mvtec_tree: Path) -> None:
    """Samples from files go on a sheet that can be saved as PNG."""
    samples = list_category(mvtec_tree / "strip").samples[-4:]
    sheet = contact_sheet([SheetRow("strip\nhole", tuple(s.source.read() for s in samples))])
    assert sheet.mode == "RGB"
    assert reddish(sheet).any()
