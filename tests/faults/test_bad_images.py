"""Images and masks that are none, or not as they should be: the check names each, and no study is planned."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from categories import write_category
from commandline import call
from faults.category import (
    HEIGHT,
    MASK,
    TESTED,
    TRAIN,
    WIDTH,
    both,
    copied,
    cut,
    cut_as,
    drawn,
    gone,
    holds,
    linked,
    listens,
    named,
    pipe,
    png,
    sparse,
    study_of,
)
from faults.told import complaints, refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NO_IMAGES = {
    "no bytes": b"",
    "text": b"hello",
    "a page": b"<html>404</html>",
    "a GIF": b"GIF89a" + bytes(20),
    "a drawing": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a document": b"%PDF-1.4",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "a pointer of git": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n",
    "zeros": bytes(3000),
    "noise": np.random.default_rng(0).bytes(3000),
    "a signature": b"\x89PNG\r\n\x1a\n",
    "no pixels": png(0, 0),
    "no rows": png(WIDTH, 0),
    "no data": png(WIDTH, HEIGHT),
    "wrong checksums": png(8, 8, bytes(25 * 8), checksum=1),
    "2,500 million pixels": png(50_000, 50_000),
    "more pixels than numbers": png(2**31 - 1, 2**31 - 1),
}
PLACES = {"of training": TRAIN, "of the test": TESTED, "of a mask": MASK}
TIFF, TIFF_MASK = TRAIN.replace("png", "tif"), MASK.replace("png", "tif")

# What is done to the category, and what is said to be found.
SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    f"{what} in place {of}": (holds(name, content), f"{name}: does not decode")
    for what, content in NO_IMAGES.items()
    for of, name in PLACES.items()
}
SPOILT |= {
    f"{suffix} that ends at {share}": (cut_as(TRAIN, suffix, share), f"{TRAIN[:-4]}{suffix}: does not decode")
    for suffix in (".jpg", ".bmp", ".tif", ".webp", ".jp2")
    for share in (0.1, 0.5, 0.9)
}
SPOILT |= {f"PNG that ends at {share}": (cut(TRAIN, share), f"{TRAIN}: does not decode") for share in (0.05, 0.5, 0.9)}
for of, name in PLACES.items():
    SPOILT |= {
        f"pipe in place {of}": (pipe(name), f"{name}: is a folder, pipe or device"),
        f"socket in place {of}": (listens(name), f"{name}: is a folder, pipe or device"),
        f"device in place {of}": (linked(name, "/dev/zero"), f"{name}: is a folder, pipe or device"),
        f"300 GB in place {of}": (sparse(name, 300 * 10**9), f"{name}: has 300.0 GB"),
        f"link to nothing in place {of}": (linked(name, "nowhere.png"), f"{name}: no such file"),
        f"link to itself in place {of}": (linked(name, name.rpartition("/")[2]), f"{name}: cannot be read"),
    }
SPOILT |= {
    "32-bit integers": (
        both(gone(TRAIN), drawn(TIFF, np.zeros((HEIGHT, WIDTH), np.int32))),
        f"{TIFF}: pixels of type 32-bit",
    ),
    **{
        f"{value} in {of}": (
            both(gone(name), drawn(tiff, np.full((HEIGHT, WIDTH), value, np.float32))),
            f"{tiff}: some pixels are not a number, or infinite",
        )
        for value in (np.nan, np.inf)
        for of, name, tiff in (("an image", TRAIN, TIFF), ("a mask", MASK, TIFF_MASK))
    },
    "mask of another size": (drawn(MASK, np.zeros((16, 16), np.uint8)), f"{MASK}: 16 x 16, its image is 32 x 40"),
    "mask on its side": (drawn(MASK, np.zeros((WIDTH, HEIGHT), np.uint8)), f"{MASK}: 40 x 32, its image is 32 x 40"),
    "mask that is gone": (gone(MASK), f"{TESTED}: no mask"),
    "mask that is a folder": (both(gone(MASK), lambda root: (root / MASK).mkdir()), f"{TESTED}: no mask"),
    "masks that are gone": (gone("gear/ground_truth"), "gear/test/hole: no mask for any of its 2 images"),
    "the same pixels in two parts": (copied(TRAIN, "gear/test/good/900.png"), "900.png (test): the same content"),
    "name that is no text": (named(b"\xff\xfe.png"), r"\udcff\udcfe.png': its name is not UTF-8"),
    "line break in the name of no image": (
        holds("gear/train/good/a\nb.png", b"x"),
        r"gear/train/good/a\nb.png: does not decode",
    ),
    "orders to a terminal in the name of no image": (
        holds("gear/train/good/\x1b[31m.png", b"x"),
        r"gear/train/good/\x1b[31m.png: does not decode",
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a category without a fault; to read only."""
    root = tmp_path_factory.mktemp("sound")
    write_category(root, "gear", HEIGHT, WIDTH, channels=3, n_train=6, n_defects=2)
    return root


@pytest.mark.parametrize(("spoil", "words"), SPOILT.values(), ids=SPOILT)
def test_image_that_is_none_is_told(
    sound: Path, tmp_path: Path, caused: Callable[..., None], spoil: Callable[[Path], None], words: str
) -> None:
    """By the check of the data, and by the plan of a study; whatever it is, nothing is waited for."""
    root = tmp_path / "data"
    shutil.copytree(sound, root)
    spoil(root)
    study = study_of(root, tmp_path)
    refused(call("data", "check", study, "--workspace", tmp_path / "w"), words, "error: ")
    refused(call("study", "plan", study, "--workspace", tmp_path / "w"), words)
    caused("images and masks that are wrong")


# What can be read, but is hardly meant: said, and no reason to stop.
DOUBTFUL = {
    "mask of nothing": (drawn(MASK, np.zeros((HEIGHT, WIDTH), np.uint8)), f"{MASK}: marks nothing"),
    "mask of everything": (
        drawn(MASK, np.full((HEIGHT, WIDTH), 255, np.uint8)),
        f"{MASK}: covers the whole image",
    ),
    "mask of a normal image": (
        drawn("gear/ground_truth/good/000_mask.png", np.full((HEIGHT, WIDTH), 255, np.uint8)),
        "good/000_mask.png: marks a defect on a normal image",
    ),
    "mask of no image": (copied(MASK, "gear/ground_truth/hole/999_mask.png"), "999_mask.png: a mask without an image"),
    "mask of two images": (
        drawn("gear/test/hole/000.bmp", np.full((HEIGHT, WIDTH, 3), 9, np.uint8)),
        "shares 000_mask.png",
    ),
    "photograph of a phone": (holds("gear/train/good/a.heic", b"x"), "a.heic: an image format that is not read"),
    "folder that is called an image": (
        both(gone(TRAIN), lambda root: (root / TRAIN).mkdir()),
        f"{TRAIN}: 0 files that are not read",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_image_that_is_hardly_meant_is_warned_of(
    sound: Path, tmp_path: Path, caused: Callable[..., None], spoil: Callable[[Path], None], words: str
) -> None:
    """Exit code 0, and one warning."""
    root = tmp_path / "data"
    shutil.copytree(sound, root)
    spoil(root)
    result = call("data", "check", study_of(root, tmp_path), "--workspace", tmp_path / "w")
    assert result.exit_code == 0, result.output
    assert [words in each.found for each in complaints(result.stdout, "warning: ")] == [True]
    caused("images and masks that are wrong")
