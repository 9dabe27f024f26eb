"""The MVTec AD layout: what is read, in which order, and every way in which a folder can be wrong."""

from __future__ import annotations

import pickle
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.natural_order import natural_key
from adloc.datasets.readers.examine import examine
from adloc.datasets.readers.mvtec_layout import list_category

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.datasets.report import Report


def checked(folder: Path) -> Report:
    """Everything that is wrong with a category; every file is decoded."""
    listing = list_category(folder)
    return listing.report() + examine(listing)


def found(problems: tuple[object, ...]) -> str:
    """All that was found, one line each."""
    return "\n".join(problem.found for problem in problems)


# The layout


def test_real_categories_have_their_known_counts(industrial_root: Path) -> None:
    """Bottle is MVTec AD's 209 / 20 / 63; commutator is 223 / 110 / 50."""
    for category, expected in (("bottle", (209, 20, 63)), ("commutator", (223, 110, 50))):
        samples = list_category(industrial_root / category).required()
        n_train = sum(sample.origin == "train" for sample in samples)
        n_anomalous = sum(sample.label for sample in samples)
        assert (n_train, len(samples) - n_train - n_anomalous, n_anomalous) == expected


def test_real_categories_have_no_problems(industrial_root: Path) -> None:
    """The real folders pass the whole check without an error or a warning."""
    assert checked(industrial_root / "commutator").errors == ()
    assert checked(industrial_root / "commutator").warnings == ()


def test_samples_carry_their_place_in_the_layout(mvtec_tree: Path) -> None:
    """Name, origin, defect type and mask of an anomalous sample are those of its folders."""
    sample = next(s for s in list_category(mvtec_tree / "gear").required() if s.name == "test/hole/003.png")
    assert (sample.identity, sample.origin, sample.defect) == ("gear/test/hole/003.png", "test", "hole")
    assert sample.source == FileImage(
        mvtec_tree / "gear/test/hole/003.png", mvtec_tree / "gear/ground_truth/hole/003_mask.png"
    )
    assert sample.source.read().mask.any()


def test_sources_travel_between_processes(mvtec_tree: Path) -> None:
    """A sample pickles and hashes, to be sent to a worker and kept in a set."""
    sample = list_category(mvtec_tree / "gear").required()[-1]
    assert pickle.loads(pickle.dumps(sample)) == sample  # noqa: S301
    assert len({sample, sample}) == 1


def test_names_come_in_natural_order(mvtec_copy: Path) -> None:
    """9.png comes before 10.png, and the order does not depend on the file system."""
    folder = mvtec_copy / "gear/train/good"
    for number in (10, 9, 100):
        shutil.copy(folder / "000.png", folder / f"{number}.png")
    names = [s.name for s in list_category(mvtec_copy / "gear").required() if s.origin == "train"]
    places = [names.index(f"train/good/{number}.png") for number in (9, 10, 100)]
    assert places == sorted(places)
    assert [int(name[11:-4]) for name in names] == sorted([*range(12), 9, 10, 100])


@given(st.lists(st.text(max_size=8), unique=True))
def test_natural_order_is_total(names: list[str]) -> None:
    """Any two different names have one order, whatever the order they are given in."""
    assert all(natural_key(a) < natural_key(b) for a, b in pairwise(sorted(names, key=natural_key)))


@pytest.mark.parametrize("name", ["000.png", "000.bmp", "000_mask.TIF"])
def test_masks_may_have_other_names_and_formats(mvtec_copy: Path, name: str) -> None:
    """A mask may have its image's own stem, or another lossless format."""
    folder = mvtec_copy / "gear/ground_truth/hole"
    with Image.open(folder / "000_mask.png") as mask:
        mask.save(folder / name)
    (folder / "000_mask.png").unlink()
    sample = next(s for s in list_category(mvtec_copy / "gear").required() if s.name == "test/hole/000.png")
    assert sample.source.mask_path == folder / name
    assert checked(mvtec_copy / "gear").warnings == ()


def test_files_of_the_system_and_of_mvtec_are_no_problem(mvtec_copy: Path) -> None:
    """Hidden files, Thumbs.db, and MVTec AD's license.txt and readme.txt are passed over in silence."""
    for name in (".DS_Store", "train/good/.DS_Store", "test/hole/Thumbs.db", "license.txt", "readme.txt"):
        (mvtec_copy / "gear" / name).write_text("x")
    report = checked(mvtec_copy / "gear")
    assert (report.errors, report.warnings) == ((), ())


# Every problem, by name


def test_all_missing_masks_are_named(mvtec_copy: Path) -> None:
    """Two images without a mask are two errors; the category is refused, not scored with empty masks."""
    for i in (1, 3):
        (mvtec_copy / f"gear/ground_truth/glare/00{i}_mask.png").unlink()
    errors = checked(mvtec_copy / "gear").errors
    assert "test/glare/001.png: no mask" in found(errors)
    assert "test/glare/003.png: no mask" in found(errors)
    assert len(errors) == 2
    with pytest.raises(DatasetError) as caught:
        list_category(mvtec_copy / "gear").required()
    assert caught.value.problems == errors


@pytest.mark.parametrize("folder", ["train/good", "test", "test/hole"])
def test_empty_folders_are_errors(mvtec_copy: Path, folder: str) -> None:
    """Nothing to fit on, nothing to test on, or a defect type without images: an error with the folder."""
    for path in (mvtec_copy / "gear" / folder).rglob("*.png"):
        path.unlink()
    report = checked(mvtec_copy / "gear")
    assert f"{mvtec_copy / 'gear' / folder}: no images" in found(report.errors)


def test_a_category_that_is_not_there_lacks_both_parts(tmp_path: Path) -> None:
    """A folder without anything inside lacks normal images and test images, said at once."""
    report = checked(tmp_path / "nothing")
    assert len(report.errors) == 2


@pytest.mark.parametrize(("removed", "kind"), [("good", "normal"), ("defects", "anomalous")])
def test_a_test_part_of_one_label_is_a_warning(mvtec_copy: Path, removed: str, kind: str) -> None:
    """Without normal or without anomalous test images there is no AUROC: said, not refused."""
    for name in ("good",) if removed == "good" else ("hole", "glare"):
        shutil.rmtree(mvtec_copy / "gear/test" / name)
        shutil.rmtree(mvtec_copy / "gear/ground_truth" / name, ignore_errors=True)
    report = checked(mvtec_copy / "gear")
    assert report.ok
    assert f"no {kind} images" in found(report.warnings)


def test_damaged_images_and_masks_are_all_named(mvtec_copy: Path) -> None:
    """Truncated, empty and foreign files are all listed, images and masks alike."""
    gear = mvtec_copy / "gear"
    whole = (gear / "train/good/002.png").read_bytes()
    (gear / "train/good/002.png").write_bytes(whole[:200])
    (gear / "test/good/001.png").write_bytes(b"")
    (gear / "ground_truth/hole/004_mask.png").write_text("not an image")
    lines = found(checked(mvtec_copy / "gear").errors)
    assert "train/good/002.png: does not decode" in lines
    assert "test/good/001.png: does not decode (the file is empty)" in lines
    assert "ground_truth/hole/004_mask.png: does not decode" in lines


def test_masks_of_another_size_are_named(mvtec_copy: Path) -> None:
    """The check finds a mask that does not fit its image."""
    Image.fromarray(np.ones((40, 89), np.uint8)).save(mvtec_copy / "strip/ground_truth/hole/002_mask.png")
    errors = checked(mvtec_copy / "strip").errors
    assert found(errors).endswith("ground_truth/hole/002_mask.png: 40 x 89, its image is 40 x 90")


def test_empty_masks_are_warnings(mvtec_copy: Path) -> None:
    """A mask that is zero everywhere is worth a look, and no reason to stop."""
    path = mvtec_copy / "gear/ground_truth/hole/002_mask.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    report = checked(mvtec_copy / "gear")
    assert report.ok
    assert found(report.warnings) == f"{path}: marks nothing (all zero)"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("notes.xlsx", "not an image"),
        ("train/stray.png", "an image outside the layout"),
        ("test/stray.png", "an image outside the layout"),
        ("train/good/list.csv", "not an image"),
        ("train/bad/000.png", "1 files that are not read"),
        ("train/good/more/000.png", "1 files that are not read"),
        ("validation/good/000.png", "1 files that are not read"),
        ("ground_truth/good/000.png", "marks a defect on a normal image"),
        ("ground_truth/hole/077_mask.png", "a mask without an image"),
    ],
)
def test_strays_are_warnings(mvtec_copy: Path, name: str, what: str) -> None:
    """Whatever stands outside the layout is not read, and said."""
    path = mvtec_copy / "gear" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(mvtec_copy / "gear/ground_truth/hole/000_mask.png", path)
    report = checked(mvtec_copy / "gear")
    assert report.ok
    assert len(report.warnings) == 1
    assert what in report.warnings[0].found


def test_lossy_masks_are_warnings(mvtec_copy: Path) -> None:
    """A JPEG mask has values above zero around its edges: the check says so."""
    folder = mvtec_copy / "gear/ground_truth/hole"
    with Image.open(folder / "000_mask.png") as mask:
        mask.save(folder / "000_mask.jpg")
    (folder / "000_mask.png").unlink()
    assert "000_mask.jpg: a mask in a lossy format" in found(checked(mvtec_copy / "gear").warnings)


def test_two_images_of_one_stem_share_a_mask_with_a_warning(mvtec_copy: Path) -> None:
    """000.png and 000.jpg would both use 000_mask.png: the check says which."""
    folder = mvtec_copy / "gear/test/hole"
    with Image.open(folder / "000.png") as image:
        image.save(folder / "000.jpg")
    assert "000.png: shares 000_mask.png with 000.jpg" in found(checked(mvtec_copy / "gear").warnings)
