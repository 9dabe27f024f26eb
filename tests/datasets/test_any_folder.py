"""`kind: folder` and `kind: table`: one's own images, whatever the folders are called."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from pydantic import ValidationError

from adloc.datasets import check, load_samples
from adloc.datasets.errors import DatasetError
from adloc.datasets.readers.folder import FolderConfig
from adloc.datasets.readers.table import TableConfig
from adloc.datasets.split import SplitConfig, split

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def boards(mvtec_tree: Path, tmp_path: Path) -> Path:
    """A folder with good/ (12), ng/<type>/ (2 x 5) and masks/ with all masks in one, as <type>_<stem>_mask.png."""
    root, gear = tmp_path / "boards", mvtec_tree / "gear"
    shutil.copytree(gear / "train/good", root / "good")
    (root / "masks").mkdir()
    for kind in ("glare", "hole"):
        (root / "ng" / kind).mkdir(parents=True)
        for image in (gear / "test" / kind).iterdir():
            shutil.copy(image, root / "ng" / kind / f"{kind}_{image.name}")
            mask = gear / "ground_truth" / kind / f"{image.stem}_mask.png"
            shutil.copy(mask, root / "masks" / f"{kind}_{image.stem}_mask.png")
    return root


def found(problems: tuple[object, ...]) -> str:
    """All that was found, one line each."""
    return "\n".join(problem.found for problem in problems)


def test_a_plain_folder_is_one_category(boards: Path) -> None:
    """Without categories root is the one, named after its folder; a subfolder's name is the defect type."""
    config = FolderConfig(root=boards, normal=["good/*"], anomalous=["ng/*"], masks="masks")
    samples = load_samples(config)
    assert {sample.category for sample in samples} == {"boards"}
    assert {(s.origin, s.defect) for s in samples} == {("undivided", "good"), ("test", "glare"), ("test", "hole")}
    assert all(
        s.mask_known and s.source.mask_path.stem == f"{s.source.image_path.stem}_mask" for s in samples if s.label
    )
    assert check(config).warnings == ()


def test_normal_images_that_nobody_divided_are_drawn(boards: Path) -> None:
    """12 at test_fraction 0.25: 3 for the test; of the other 9, at train_fraction 0.8, 7 are fitted on."""
    samples = load_samples(FolderConfig(root=boards, normal=["good/*"], anomalous=["ng/*"], masks="masks"))
    parts = split(samples, SplitConfig(test_fraction=0.25))
    assert [sum(s.label == 0 for s in part) for _, part in parts.parts()] == [7, 2, 3]


def test_root_itself_stands_for_all_images_below_it(boards: Path) -> None:
    """The glob "." is a folder like any other."""
    config = FolderConfig(root=boards / "good", normal=(".",))
    assert len(config.listing().samples) == 12


def test_test_normals_are_not_drawn(boards: Path) -> None:
    """With test_normal, those are for the test, and the others for fitting and validation."""
    (boards / "later").mkdir()
    for i in (0, 1):
        (boards / f"good/00{i}.png").rename(boards / f"later/00{i}.png")
    samples = load_samples(FolderConfig(root=boards, normal=["good/*"], test_normal=["later"], anomalous=["ng/*"]))
    assert sorted(s.name for s in samples if s.origin == "test" and not s.label) == ["later/000.png", "later/001.png"]
    assert sum(s.origin == "train" for s in samples) == 10


def test_images_without_masks_are_used_and_counted(boards: Path) -> None:
    """A missing mask is a warning with the number; without any, pixel metrics are said to be empty."""
    (boards / "masks/hole_003_mask.png").unlink()
    with_masks = FolderConfig(root=boards, normal=["good/*"], anomalous=["ng/*"], masks="masks")
    assert "no mask for 1 of 10 anomalous images of boards (the first is ng/hole/hole_003.png)" in found(
        check(with_masks).warnings
    )
    without = FolderConfig(root=boards, normal=["good/*"], anomalous=["ng/*"])
    assert all(sample.mask_known is (sample.label == 0) for sample in load_samples(without))
    assert "no masks are named" in found(check(without).warnings)


def test_good_images_alone_are_enough(boards: Path) -> None:
    """Without anomalous images there are false alarms to measure: a warning, no refusal."""
    report = check(FolderConfig(root=boards, normal=["good/*"]))
    assert report.ok
    assert "no anomalous images" in found(report.warnings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal": ["gut/*"]}, "gut/*: no images"),
        ({"anomalous": ["ng/*", "broken/*"]}, "broken/*: no images (no such folder)"),
        ({"masks": "mask"}, "mask: no such folder"),
        ({"test_normal": ["good/*"]}, "good/000.png: found by normal and by test_normal"),
        ({"anomalous": ["good/*"]}, "good/000.png: found by normal and by anomalous"),
        ({"categories": ["ng", "nowhere"]}, "nowhere: no such category"),
    ],
)
def test_mistakes_in_globs_are_named(boards: Path, change: dict[str, object], message: str) -> None:
    """A glob that finds nothing, two that find the same, a folder that is not there: each with its path."""
    given = {"root": boards, "normal": ["good/*"], "anomalous": ["ng/*"], "masks": "masks"} | change
    with pytest.raises(DatasetError) as caught:
        load_samples(FolderConfig(**given))
    assert message in found(caught.value.problems)


def test_two_images_with_one_mask_are_refused(boards: Path) -> None:
    """In one folder for all types, images of the same name would share a mask: which is whose must be said."""
    shutil.copy(boards / "ng/hole/hole_000.png", boards / "ng/glare/hole_000.png")
    with pytest.raises(DatasetError, match=r"its mask .*hole_000_mask\.png is that of"):
        load_samples(FolderConfig(root=boards, normal=["good/*"], anomalous=["ng/*"], masks="masks"))


@pytest.mark.parametrize("glob", ["/data/good/*", "../good/*", "good/**.png", ""])
def test_globs_stay_inside_root(boards: Path, glob: str) -> None:
    """An absolute glob, one that leads out of root, or one that Python cannot read is refused with its key."""
    with pytest.raises(ValidationError, match="a glob is relative to root"):
        FolderConfig(root=boards, normal=[glob])


def test_masks_of_normal_images_are_looked_at(boards: Path) -> None:
    """In one folder for all, the mask of a normal image is no orphan: it is named when it marks something."""
    shutil.copy(boards / "masks/hole_000_mask.png", boards / "masks/003.png")
    shutil.copy(boards / "masks/hole_000_mask.png", boards / "masks/unknown.png")
    config = FolderConfig(root=boards, normal=["good/*"], anomalous=["ng/*"], masks="masks")
    assert found(check(config).warnings).split("\n") == [
        f"{boards}/masks/unknown.png: a mask without an image, not read",
        f"{boards}/masks/003.png: marks a defect on a normal image",
    ]


def test_masks_may_lie_beside_their_images(boards: Path) -> None:
    """x_mask.png beside x.png is its mask and no image."""
    for mask in (boards / "masks").iterdir():
        mask.rename(boards / "ng" / mask.name.partition("_")[0] / mask.name)
    samples = load_samples(FolderConfig(root=boards, normal=["good/*"], anomalous=["ng/*"], masks="ng"))
    assert sum(sample.label for sample in samples) == 10
    assert all(s.source.mask_path.name == f"{s.source.image_path.stem}_mask.png" for s in samples if s.label)


def write_table(boards: Path, rows: list[dict[str, object]], name: str = "images.csv") -> TableConfig:
    """A table of some rows, as CSV or Parquet."""
    path = boards / name
    frame = pd.DataFrame(rows)
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return TableConfig(file=path)


def rows_of(boards: Path) -> list[dict[str, object]]:
    """A row for every image of the folder."""
    good = [
        {"path": f"good/{p.name}", "label": 0, "group": f"g{int(p.stem) // 4}"} for p in (boards / "good").iterdir()
    ]
    bad = [
        {
            "path": f"ng/hole/{p.name}",
            "label": 1,
            "defect": "hole",
            "mask": f"masks/{p.stem}_mask.png",
            "domain": "noon",
        }
        for p in (boards / "ng/hole").iterdir()
    ]
    return good + bad


@pytest.mark.parametrize("name", ["images.csv", "images.parquet"])
def test_a_table_names_images(boards: Path, name: str) -> None:
    """CSV and Parquet alike: path from its folder, label, defect, mask, domain, group; empty cells are none."""
    samples = load_samples(write_table(boards, rows_of(boards), name))
    assert len(samples) == 12 + 5
    assert {sample.category for sample in samples} == {"images"}
    hole = next(sample for sample in samples if sample.name == "ng/hole/hole_002.png")
    assert (hole.label, hole.defect, hole.domain, hole.group, hole.origin) == (1, "hole", "noon", None, "test")
    assert hole.source.mask_path == boards / "masks/hole_002_mask.png"
    good = next(sample for sample in samples if sample.name == "good/005.png")
    assert (good.label, good.domain, good.group, good.origin, good.part) == (0, None, "g1", "undivided", None)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"path": "good/000.png", "label": "maybe"}, "row 19: label is maybe"),
        ({"path": "", "label": 0}, "row 19: no path"),
        ({"path": "good/000.png", "label": 0}, "row 19: good/000.png is in row"),
        ({"path": "other.png", "label": 0, "part": "exam"}, "row 19: part is exam"),
        ({"path": "other.png", "label": 1, "part": "train"}, "row 19: an anomalous image in part train"),
        ({"path": "other.png", "label": 1, "defect": "good"}, "row 19: label 1 with defect good"),
    ],
)
def test_mistakes_in_a_table_name_the_row(boards: Path, row: dict[str, object], message: str) -> None:
    """The header is row 1, as in a spreadsheet."""
    with pytest.raises(DatasetError) as caught:
        load_samples(write_table(boards, [*rows_of(boards), row]))
    assert message in found(caught.value.problems)


def test_a_table_that_is_none_is_refused(boards: Path) -> None:
    """Missing file, missing columns, something else than a table, columns that nobody reads."""
    with pytest.raises(DatasetError, match="no such file"):
        load_samples(TableConfig(file=boards / "nowhere.csv"))
    with pytest.raises(DatasetError, match="no column label; there are path, Label"):
        load_samples(write_table(boards, [{"path": "a", "Label": 0}]))
    (boards / "images.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DatasetError, match="cannot be read"):
        load_samples(TableConfig(file=boards / "images.parquet"))
    more = write_table(boards, [row | {"colour": "red"} for row in rows_of(boards)])
    assert "columns that are not read: colour" in found(check(more).warnings)
    with pytest.raises(ValidationError):
        TableConfig(file=boards / "images.csv", root=boards)
