"""The MVTec AD layout: what is read, in which order, and every way in which a folder can be wrong."""

from __future__ import annotations

import pickle
import random
import shutil
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adloc.datasets.decoding import decode, to_mask, to_rgb
from adloc.datasets.errors import DatasetError
from adloc.datasets.folder import FileImage, natural_key, problems, scan_category

NOWHERE = Path("made-up.png")


def colours(height: int = 7, width: int = 11) -> np.ndarray:
    """Random RGB pixels, not square."""
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def found(problems_: tuple[object, ...]) -> str:
    """All that was found, one line each."""
    return "\n".join(problem.found for problem in problems_)


# Pixels


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "tif", "TIFF"])
def test_lossless_formats_give_the_pixels_that_were_saved(tmp_path: Path, suffix: str) -> None:
    """Colours survive png, bmp and tif unchanged, as (height, width, RGB), in any case of the suffix."""
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(colours()).save(path)
    assert np.array_equal(FileImage(path).read().image, colours())


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
def test_jpeg_gives_what_pillow_decodes(tmp_path: Path, suffix: str) -> None:
    """A JPEG gives the pixels of its decoder."""
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(colours()).save(path)
    with Image.open(path) as image:
        assert np.array_equal(FileImage(path).read().image, np.asarray(image))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_three_channels(tmp_path: Path, mode: str) -> None:
    """Bilevel, grey, palette, transparent and CMYK images become RGB like Pillow's conversion."""
    image = Image.fromarray(colours()).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    assert np.array_equal(FileImage(path).read().image, np.asarray(image.convert("RGB")))


def test_transparency_is_dropped() -> None:
    """A transparent pixel keeps the colour that is stored for it, in a palette too (and nothing warns)."""
    pixels = np.dstack([colours(), np.zeros((7, 11), np.uint8)])
    assert np.array_equal(to_rgb(Image.fromarray(pixels), NOWHERE), colours())
    palette = Image.fromarray(colours()).convert("P")
    expected = np.asarray(palette.convert("RGB"))
    palette.info["transparency"] = bytes(range(256))
    assert np.array_equal(to_rgb(palette, NOWHERE), expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_by_its_full_range(tmp_path: Path, suffix: str) -> None:
    """65535 becomes 255 and 0 stays 0, to the nearest step, whatever values the image itself has."""
    values = np.array([[0, 128, 129, 257, 3000, 32768, 65535]], dtype=np.uint16)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    expected = np.rint(values / 65535 * 255).astype(np.uint8)
    assert np.array_equal(FileImage(path).read().image, np.repeat(expected[:, :, None], 3, axis=2))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixel_types_without_a_range_are_refused(tmp_path: Path, dtype: type) -> None:
    """Float and 32-bit images are refused by name: nothing says which value is white."""
    path = tmp_path / "a.tif"
    Image.fromarray(np.ones((4, 5), dtype=dtype)).save(path)
    with pytest.raises(DatasetError, match=r"a\.tif: pixels of type"):
        FileImage(path).read()


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    """Pixels come as they are stored, as the masks are: an orientation tag turns nothing."""
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(colours()).save(path, exif=exif)
    assert FileImage(path).read().image.shape == (7, 11, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F"])
def test_a_mask_is_what_is_not_zero(mode: str) -> None:
    """Any value but zero marks a defect, be it 1 or 255, in every mode; opacity marks nothing."""
    marked = np.zeros((6, 9), dtype=bool)
    marked[1:3, 4:8] = True
    if mode in ("I;16", "F"):
        image = Image.fromarray(marked.astype(np.uint16 if mode == "I;16" else np.float32))
    elif mode in ("L", "LA"):
        image = Image.fromarray(marked.astype(np.uint8)).convert(mode)
    else:
        image = Image.fromarray(marked.astype(np.uint8) * 255).convert(mode)
    assert np.array_equal(to_mask(image), marked)


def test_a_normal_image_has_an_empty_mask(mvtec_tree: Path) -> None:
    """Without a mask file nothing is marked, at the image's own size."""
    picture = FileImage(mvtec_tree / "strip/train/good/000.png").read()
    assert picture.image.shape == (40, 90, 3)
    assert picture.mask.shape == (40, 90)
    assert not picture.mask.any()


# Damage


@pytest.mark.parametrize(("suffix", "kept"), [("png", 0.6), ("jpg", 0.6), ("bmp", 0.9), ("tif", 0.9)])
def test_a_truncated_file_is_found(tmp_path: Path, suffix: str, kept: float) -> None:
    """A file that ends early is refused by name, when it is read and when it is hashed."""
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(colours(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    for use in (FileImage(path).read, FileImage(path).fingerprint):
        with pytest.raises(DatasetError, match=rf"a\.{suffix}: does not decode"):
            use()


@given(st.binary(max_size=64), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0"]))
@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
def test_whatever_the_bytes_only_a_dataset_error_comes_out(tail: bytes, head: bytes) -> None:
    """No bytes that look like an image can raise anything but a DatasetError."""
    try:
        decode(head + tail, NOWHERE)
    except DatasetError as error:
        assert "made-up.png: does not decode" in str(error)  # noqa: PT017 - decoding is allowed to succeed


def test_damage_in_the_middle_is_a_dataset_error() -> None:
    """Changed bytes anywhere in a PNG either decode or are a DatasetError."""
    buffer = BytesIO()
    Image.fromarray(colours(32, 32)).save(buffer, "PNG")
    draw = random.Random(0)  # noqa: S311
    for _ in range(300):
        data = bytearray(buffer.getvalue())
        data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            decode(bytes(data), NOWHERE)
        except DatasetError:
            continue


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    """A missing file is a DatasetError with its path, not a traceback."""
    with pytest.raises(DatasetError, match=r"gone\.png: no such file"):
        FileImage(tmp_path / "gone.png").read()


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    """Image and mask must agree in size; the message gives both as height x width."""
    Image.fromarray(colours()).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((11, 7), np.uint8)).save(tmp_path / "m.png")
    for use in (FileImage.read, FileImage.fingerprint):
        with pytest.raises(DatasetError, match=r"m\.png: 11 x 7, its image is 7 x 11"):
            use(FileImage(tmp_path / "a.png", tmp_path / "m.png"))


# The layout


def test_real_categories_have_their_known_counts(industrial_root: Path) -> None:
    """Bottle is MVTec AD's 209 / 20 / 63; commutator is 223 / 110 / 50."""
    for category, expected in (("bottle", (209, 20, 63)), ("commutator", (223, 110, 50))):
        samples = scan_category(industrial_root, category)
        n_train = sum(sample.origin == "train" for sample in samples)
        n_anomalous = sum(sample.label for sample in samples)
        assert (n_train, len(samples) - n_train - n_anomalous, n_anomalous) == expected


def test_real_categories_have_no_problems(industrial_root: Path) -> None:
    """The real folders pass the whole check without an error or a warning."""
    assert problems(industrial_root, "commutator").errors == ()
    assert problems(industrial_root, "commutator").warnings == ()


def test_samples_carry_their_place_in_the_layout(mvtec_tree: Path) -> None:
    """Name, origin, defect type and mask of an anomalous sample are those of its folders."""
    sample = next(s for s in scan_category(mvtec_tree, "gear") if s.name == "test/hole/003.png")
    assert (sample.identity, sample.origin, sample.defect) == ("gear/test/hole/003.png", "test", "hole")
    assert sample.source == FileImage(
        mvtec_tree / "gear/test/hole/003.png", mvtec_tree / "gear/ground_truth/hole/003_mask.png"
    )
    assert sample.source.read().mask.any()


def test_sources_travel_between_processes(mvtec_tree: Path) -> None:
    """A sample pickles and hashes, to be sent to a worker and kept in a set."""
    sample = scan_category(mvtec_tree, "gear")[-1]
    assert pickle.loads(pickle.dumps(sample)) == sample  # noqa: S301
    assert len({sample, sample}) == 1


def test_names_come_in_natural_order(mvtec_copy: Path) -> None:
    """9.png comes before 10.png, and the order does not depend on the file system."""
    folder = mvtec_copy / "gear/train/good"
    for number in (10, 9, 100):
        shutil.copy(folder / "000.png", folder / f"{number}.png")
    names = [s.name for s in scan_category(mvtec_copy, "gear") if s.origin == "train"]
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
    sample = next(s for s in scan_category(mvtec_copy, "gear") if s.name == "test/hole/000.png")
    assert sample.source.mask_path == folder / name
    assert problems(mvtec_copy, "gear").warnings == ()


def test_files_of_the_system_and_of_mvtec_are_no_problem(mvtec_copy: Path) -> None:
    """Hidden files, Thumbs.db, and MVTec AD's license.txt and readme.txt are passed over in silence."""
    for name in (".DS_Store", "train/good/.DS_Store", "test/hole/Thumbs.db", "license.txt", "readme.txt"):
        (mvtec_copy / "gear" / name).write_text("x")
    report = problems(mvtec_copy, "gear")
    assert (report.errors, report.warnings) == ((), ())


# Every problem, by name


def test_all_missing_masks_are_named(mvtec_copy: Path) -> None:
    """Two images without a mask are two errors; the category is refused, not scored with empty masks."""
    for i in (1, 3):
        (mvtec_copy / f"gear/ground_truth/glare/00{i}_mask.png").unlink()
    errors = problems(mvtec_copy, "gear").errors
    assert "test/glare/001.png: no mask" in found(errors)
    assert "test/glare/003.png: no mask" in found(errors)
    assert len(errors) == 2
    with pytest.raises(DatasetError) as caught:
        scan_category(mvtec_copy, "gear")
    assert caught.value.problems == errors


@pytest.mark.parametrize("folder", ["train/good", "test", "test/hole"])
def test_empty_folders_are_errors(mvtec_copy: Path, folder: str) -> None:
    """Nothing to fit on, nothing to test on, or a defect type without images: an error with the folder."""
    for path in (mvtec_copy / "gear" / folder).rglob("*.png"):
        path.unlink()
    report = problems(mvtec_copy, "gear")
    assert f"{mvtec_copy / 'gear' / folder}: no images" in found(report.errors)


def test_a_category_that_is_not_there_lacks_both_parts(tmp_path: Path) -> None:
    """A folder without anything inside lacks normal images and test images, said at once."""
    report = problems(tmp_path, "nothing")
    assert len(report.errors) == 2


@pytest.mark.parametrize(("removed", "kind"), [("good", "normal"), ("defects", "anomalous")])
def test_a_test_part_of_one_label_is_a_warning(mvtec_copy: Path, removed: str, kind: str) -> None:
    """Without normal or without anomalous test images there is no AUROC: said, not refused."""
    for name in ("good",) if removed == "good" else ("hole", "glare"):
        shutil.rmtree(mvtec_copy / "gear/test" / name)
        shutil.rmtree(mvtec_copy / "gear/ground_truth" / name, ignore_errors=True)
    report = problems(mvtec_copy, "gear")
    assert report.ok
    assert f"no {kind} images" in found(report.warnings)


def test_damaged_images_and_masks_are_all_named(mvtec_copy: Path) -> None:
    """Truncated, empty and foreign files are all listed, images and masks alike."""
    gear = mvtec_copy / "gear"
    whole = (gear / "train/good/002.png").read_bytes()
    (gear / "train/good/002.png").write_bytes(whole[:200])
    (gear / "test/good/001.png").write_bytes(b"")
    (gear / "ground_truth/hole/004_mask.png").write_text("not an image")
    lines = found(problems(mvtec_copy, "gear").errors)
    assert "train/good/002.png: does not decode" in lines
    assert "test/good/001.png: does not decode (the file is empty)" in lines
    assert "ground_truth/hole/004_mask.png: does not decode" in lines


def test_masks_of_another_size_are_named(mvtec_copy: Path) -> None:
    """The check finds a mask that does not fit its image."""
    Image.fromarray(np.ones((40, 89), np.uint8)).save(mvtec_copy / "strip/ground_truth/hole/002_mask.png")
    errors = problems(mvtec_copy, "strip").errors
    assert found(errors).endswith("ground_truth/hole/002_mask.png: 40 x 89, its image is 40 x 90")


def test_empty_masks_are_warnings(mvtec_copy: Path) -> None:
    """A mask that is zero everywhere is worth a look, and no reason to stop."""
    path = mvtec_copy / "gear/ground_truth/hole/002_mask.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    report = problems(mvtec_copy, "gear")
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
        ("ground_truth/good/000.png", "1 files that are not read"),
        ("ground_truth/hole/077_mask.png", "a mask without an image"),
    ],
)
def test_strays_are_warnings(mvtec_copy: Path, name: str, what: str) -> None:
    """Whatever stands outside the layout is not read, and said."""
    path = mvtec_copy / "gear" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(mvtec_copy / "gear/ground_truth/hole/000_mask.png", path)
    report = problems(mvtec_copy, "gear")
    assert report.ok
    assert len(report.warnings) == 1
    assert what in report.warnings[0].found


def test_lossy_masks_are_warnings(mvtec_copy: Path) -> None:
    """A JPEG mask has values above zero around its edges: the check says so."""
    folder = mvtec_copy / "gear/ground_truth/hole"
    with Image.open(folder / "000_mask.png") as mask:
        mask.save(folder / "000_mask.jpg")
    (folder / "000_mask.png").unlink()
    assert "000_mask.jpg: a mask in a lossy format" in found(problems(mvtec_copy, "gear").warnings)


def test_two_images_of_one_stem_share_a_mask_with_a_warning(mvtec_copy: Path) -> None:
    """000.png and 000.jpg would both use 000_mask.png: the check says which."""
    folder = mvtec_copy / "gear/test/hole"
    with Image.open(folder / "000.png") as image:
        image.save(folder / "000.jpg")
    assert "000.png: shares 000_mask.png with 000.jpg" in found(problems(mvtec_copy, "gear").warnings)
