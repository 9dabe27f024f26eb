"""Image files: every format, mode and range that is read, and damage by name."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adloc.datasets.decoding import decode, is_soft, to_mask, to_rgb
from adloc.datasets.defect_kinds import DefectKind
from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage

NOWHERE = Path("made-up.png")


def colours(height: int = 7, width: int = 11) -> np.ndarray:
    """Random RGB pixels, not square."""
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


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


def test_pixel_types_without_a_range_are_refused(tmp_path: Path) -> None:
    """32-bit images are refused by name, when read and when hashed: nothing says which value is white."""
    path = tmp_path / "a.tif"
    Image.fromarray(np.ones((4, 5), dtype=np.int32)).save(path)
    for use in (FileImage(path).read, FileImage(path).fingerprint):
        with pytest.raises(DatasetError, match=r"a\.tif: pixels of type"):
            use()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0.2, 1], [0, 51, 255]),  # [0, 1] is the agreed range
        ([0.2, 0.4], [51, 102]),  # which the image need not fill
        ([-1, 0, 3], [0, 64, 255]),  # by its own range: a quarter of the way
        ([7, 7], [0, 0]),
    ],
)
def test_floating_point_is_scaled(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    """[0, 1] is taken as it is; what leaves it is scaled by its own smallest and largest value."""
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([values], dtype=np.float32)).save(path)
    assert FileImage(path).read().image[0, :, 0].tolist() == expected
    assert FileImage(path).examine().is_stretched == (min(values) < 0 or max(values) > 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floating_point_that_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    """A hole in a measured image is an error by name, in the check and not in the middle of a run."""
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[0, value]], dtype=np.float32)).save(path)
    for use in (FileImage(path).read, FileImage(path).fingerprint):
        with pytest.raises(DatasetError, match=r"a\.tif: some pixels are not a number"):
            use()


@pytest.mark.parametrize(("largest", "is_dark"), [(4095, True), (4096, False)])
def test_12_bits_in_16_are_noticed(tmp_path: Path, largest: int, is_dark: bool) -> None:
    """An image that uses at most the lowest 12 bits of 16 comes out as good as black: the check says so."""
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, largest]], dtype=np.uint16)).save(path)
    assert FileImage(path).examine().is_dark is is_dark


@pytest.mark.parametrize("suffix", ["webp", "jp2"])
def test_webp_and_jpeg_2000_are_read(tmp_path: Path, suffix: str) -> None:
    """Stored without loss they give the pixels that were saved, and the pixel hash of the same image as PNG."""
    path, png = tmp_path / f"a.{suffix}", tmp_path / "a.png"
    pixels = colours(32, 40)
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == "webp" else {}))
    Image.fromarray(pixels).save(png)
    assert np.array_equal(FileImage(path).read().image, pixels)
    assert FileImage(path).fingerprint().pixels == FileImage(png).fingerprint().pixels


# Orientation


def save_turned(path: Path, orientation: int) -> None:
    """Save `colours` with an EXIF orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(colours()).save(path, exif=exif)


# EXIF 2.32, tag 274: the place of the stored row 0 and column 0 in the image as it is meant to be seen.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    """An image comes as it is meant to be seen, and with the size that it then has."""
    path = tmp_path / "a.png"
    save_turned(path, orientation)
    image = FileImage(path)
    expected = TURNS[orientation](colours())
    assert np.array_equal(image.read().image, expected)
    assert (image.fingerprint().height, image.fingerprint().width) == expected.shape[:2]
    assert image.examine().is_turned is (orientation != 1)


def test_a_mask_on_the_stored_grid_is_turned_with_its_image(tmp_path: Path) -> None:
    """One drawn on the upright image stays, one drawn on the stored pixels turns: both mark the same place."""
    path = tmp_path / "a.png"
    save_turned(path, 6)
    stored = np.zeros((7, 11), np.uint8)
    stored[1, 2:5] = 255
    upright = np.rot90(stored, -1)
    for name, mask in (("stored", stored), ("upright", upright)):
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
        assert np.array_equal(FileImage(path, tmp_path / f"{name}.png").read().mask, upright > 0)


def test_only_what_is_read_otherwise_has_another_identity(tmp_path: Path) -> None:
    """A hash is that of the bytes, as before, but for a turned image and for a mask that half of its range changes."""
    save_turned(tmp_path / "turned.png", 3)
    save_turned(tmp_path / "plain.png", 1)
    masks = {"hard": [0, 255], "labels": [0, 1], "soft": [0, 100, 255]}
    for name, values in masks.items():
        Image.fromarray(np.resize(np.array(values, np.uint8), (7, 11))).save(tmp_path / f"{name}.png")

    def as_bytes(image: str, mask: str) -> tuple[bool, bool]:
        known = FileImage(tmp_path / f"{image}.png", tmp_path / f"{mask}.png").fingerprint()
        hashes = [hashlib.sha256((tmp_path / f"{name}.png").read_bytes()).hexdigest() for name in (image, mask)]
        return known.sha256 == hashes[0], known.mask_sha256 == hashes[1]

    assert as_bytes("plain", "hard") == (True, True)
    assert as_bytes("plain", "labels") == (True, True)
    assert as_bytes("plain", "soft") == (True, False)
    assert as_bytes("turned", "hard") == (False, False)


# Masks


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


@pytest.mark.parametrize(
    ("values", "marked", "soft"),
    [
        ([0, 127, 128, 255], [False, False, True, True], True),  # half of 255 is between 127 and 128
        ([0, 1, 2, 3], [False, True, True, True], False),  # labels
        ([0, 249], [False, True], False),  # one label, as in MVTec LOCO
        ([0, 3, 252, 255], [False, False, True, True], True),  # what JPEG leaves around an edge
        ([0, 0], [False, False], False),
        ([255, 255], [True, True], False),
    ],
)
def test_a_soft_mask_is_binarised_at_half(values: list[int], marked: list[bool], soft: bool) -> None:
    """From half of the range on it is defect; where no value reaches half the values are labels."""
    image = Image.fromarray(np.array([values], dtype=np.uint8))
    assert to_mask(image).tolist() == [marked]
    assert is_soft(image) is soft


def test_several_masks_are_joined_and_kept(tmp_path: Path) -> None:
    """A picture has the union of an image's masks; each is to be had by itself; another one is another identity."""
    masks = [np.zeros((7, 11), np.uint8) for _ in range(2)]
    masks[0][0, :3] = 255
    masks[1][5, 2:] = 249
    for i, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / f"{i}.png")
    Image.fromarray(colours()).save(tmp_path / "a.png")
    one = FileImage(tmp_path / "a.png", tmp_path / "0.png")
    both = FileImage(tmp_path / "a.png", tmp_path / "0.png", (tmp_path / "1.png",))
    assert np.array_equal(both.read().mask, (masks[0] > 0) | (masks[1] > 0))
    assert both.fingerprint().mask_sha256 != one.fingerprint().mask_sha256
    kinds = tuple(
        DefectKind(defect_name=str(value), pixel_value=value, saturation_threshold=1, relative_saturation=True)
        for value in (249, 255)
    )
    defects = replace(both, kinds=kinds).read_defects()
    assert [(defect.mask.sum(), defect.kind.pixel_value) for defect in defects] == [(3, 255), (9, 249)]


def test_a_mask_of_no_known_kind_is_named(tmp_path: Path) -> None:
    """Where the dataset says which values its masks have, another one is damage; it is found before any work."""
    Image.fromarray(colours()).save(tmp_path / "a.png")
    Image.fromarray(np.full((7, 11), 7, np.uint8)).save(tmp_path / "0.png")
    kind = DefectKind(defect_name="x", pixel_value=9, saturation_threshold=1, relative_saturation=True)
    image = FileImage(tmp_path / "a.png", tmp_path / "0.png", kinds=(kind,))
    with pytest.raises(DatasetError, match=r"0\.png: marks with the values 7"):
        image.fingerprint()
    assert "0.png: marks with the values 7" in image.examine().errors[0].found


def test_an_unknown_mask_is_not_an_empty_one(tmp_path: Path) -> None:
    """An anomalous image that nobody drew a mask for has none, where a normal one has an empty one."""
    Image.fromarray(colours()).save(tmp_path / "a.png")
    assert FileImage(tmp_path / "a.png", mask_known=False).read().mask is None
    assert FileImage(tmp_path / "a.png").read().mask.sum() == 0


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


@settings(deadline=None)  # the first image loads Pillow's plugins
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
