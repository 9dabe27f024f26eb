"""Images in folders of the MVTec AD layout.

<category>/train/good/<image>                      normal images to fit on
<category>/test/good/<image>                       normal images
<category>/test/<defect>/<image>                   anomalous images of one defect type
<category>/ground_truth/<defect>/<stem>_mask.png   their masks, not zero on the defect; also <stem>.png

Images and masks are png, jpg, bmp or tif, grey or colour, of any size.
P. Bergmann et al., "MVTec AD", CVPR 2019.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from adloc.datasets.decoding import IMAGE_SUFFIXES, LOSSY_SUFFIXES, decode, read_bytes, to_mask, to_rgb
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.report import Report
from adloc.datasets.sample import GOOD, Fingerprint, Picture, Sample

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

LAYOUT = "the layout is train/good, test/good, test/<defect> and ground_truth/<defect>/<image>_mask.png"
_MASK_RULE = "every anomalous image needs a mask, not zero on the defect: ground_truth/<defect>/<image>_mask.png"
_SIZE_RULE = "a mask must have its image's height and width (as stored: an EXIF orientation is not applied)"
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")
_CATEGORY_FILES = ("license.txt", "readme.txt")


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image file with its mask file, if it has one.

    Attributes:
        image_path: a png, jpg, bmp or tif file.
        mask_path: the mask, not zero on defect pixels; None for a normal image.
    """

    image_path: Path
    mask_path: Path | None = None

    @property
    def location(self) -> str:
        """The image's path."""
        return str(self.image_path)

    def read(self) -> Picture:
        """Decode image and mask; the mask of a normal image is all False.

        Raises:
            DatasetError: a file is gone or does not decode, or mask and image differ in size.
        """
        import numpy as np

        pixels = to_rgb(decode(read_bytes(self.image_path), self.image_path), self.image_path)
        height, width = pixels.shape[:2]
        if self.mask_path is None:
            return Picture(pixels, np.zeros((height, width), dtype=np.bool_))
        mask = decode(read_bytes(self.mask_path), self.mask_path)
        self._check_size(mask, height, width)
        return Picture(pixels, to_mask(mask))

    def fingerprint(self) -> Fingerprint:
        """Hash the bytes of image and mask; both are decoded once, so that damage is found here.

        Raises:
            DatasetError: a file is gone or does not decode, or mask and image differ in size.
        """
        data = read_bytes(self.image_path)
        image = decode(data, self.image_path)
        sha256, mask_sha256 = hashlib.sha256(data).hexdigest(), ""
        if self.mask_path is not None:
            mask_data = read_bytes(self.mask_path)
            self._check_size(decode(mask_data, self.mask_path), image.height, image.width)
            mask_sha256 = hashlib.sha256(mask_data).hexdigest()
        return Fingerprint(sha256, mask_sha256, image.height, image.width)

    def examine(self) -> Report:
        """Decode image and mask; errors for damage in either, a warning for a mask that marks nothing."""
        errors: list[Problem] = []
        size: tuple[int, int] | None = None
        marks = True
        try:
            image = decode(read_bytes(self.image_path), self.image_path)
            size = (image.height, image.width)
            to_rgb(image, self.image_path)
        except DatasetError as error:
            errors += error.problems
        if self.mask_path is not None:
            try:
                mask = decode(read_bytes(self.mask_path), self.mask_path)
                marks = bool(to_mask(mask).any())
                if size is not None:
                    self._check_size(mask, *size)
            except DatasetError as error:
                errors += error.problems
        if marks:
            return Report(tuple(errors))
        found = f"{self.mask_path}: marks nothing (all zero)"
        rule, remedy = "a mask is not zero on the defect", "draw the defect, or move the image to test/good"
        return Report(tuple(errors), (Problem(found, rule, remedy),))

    def stamp(self) -> str:
        """Say which state of which files this is: absolute paths, sizes and times of change (ns).

        Raises:
            OSError: a file is gone.
        """
        paths = [self.image_path] if self.mask_path is None else [self.image_path, self.mask_path]
        states = [(path.absolute(), path.stat()) for path in paths]
        return "|".join(f"{path}|{state.st_size}|{state.st_mtime_ns}" for path, state in states)

    def _check_size(self, mask: Image, height: int, width: int) -> None:
        if (mask.height, mask.width) != (height, width):
            found = f"{self.mask_path}: {mask.height} x {mask.width}, its image is {height} x {width}"
            remedy = f"make the mask anew at the size of {self.image_path}"
            raise DatasetError(Problem(found, _SIZE_RULE, remedy))


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return a sort key that puts "9.png" before "10.png", the same on every machine.

    >>> sorted(["10.png", "9.png", "a.png"], key=natural_key)
    ['9.png', '10.png', 'a.png']
    """
    pieces = re.split("([0-9]+)", name)
    return tuple((0, int(p), "") if p.isdecimal() and p.isascii() else (1, 0, p) for p in pieces if p), name


def scan_category(root: Path, category: str) -> list[Sample]:
    """Return the samples of one category: train/good, test/good, the defect types; names in natural order.

    Lists folders only; no file is opened.

    Raises:
        DatasetError: naming every folder that is missing or empty and every anomalous image without a mask.
    """
    survey = _survey(root, category)
    if survey.errors:
        raise DatasetError(*survey.errors)
    return survey.samples


def problems(root: Path, category: str) -> Report:
    """Return all that is wrong with one category; every image and mask is decoded.

    Errors: no train/good or no test images, an empty defect folder, an anomalous image without a mask, a
    file that does not decode, a mask of another size than its image. Warnings: files and folders that are not
    read, masks without an image, masks that mark nothing, masks in a lossy format, no normal or no anomalous
    test image.
    """
    survey = _survey(root, category)
    with ThreadPoolExecutor() as threads:
        sources = [sample.source for sample in survey.samples if isinstance(sample.source, FileImage)]
        examined = list(threads.map(FileImage.examine, sources))
    return sum(examined, Report(tuple(survey.errors), tuple(survey.warnings)))


@dataclass(slots=True)
class _Survey:
    """What the listing of a category's folders tells."""

    samples: list[Sample] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, found: str, rule: str, remedy: str) -> None:
        self.errors.append(Problem(found, rule, remedy))

    def warn(self, found: str, rule: str, remedy: str) -> None:
        self.warnings.append(Problem(found, rule, remedy))

    def stray(self, path: Path) -> None:
        if path.is_dir():
            n_files = sum(1 for inner in path.rglob("*") if inner.is_file() and not _is_hidden(inner))
            self.warn(f"{path}: {n_files} files that are not read", LAYOUT, "move or delete the folder")
        else:
            what = "an image outside the layout" if _is_image(path) else "not an image"
            self.warn(f"{path}: {what}, not read", LAYOUT, "move or delete the file")


def _survey(root: Path, category: str) -> _Survey:
    folder, survey = root / category, _Survey()
    for entry in _entries(folder):
        if entry.name not in ("train", "test", "ground_truth") and entry.name.lower() not in _CATEGORY_FILES:
            survey.stray(entry)
    _survey_train(folder, survey)
    defects = _survey_test(folder, survey)
    for entry in _entries(folder / "ground_truth"):
        if entry.name not in defects:
            survey.stray(entry)
    return survey


def _survey_train(folder: Path, survey: _Survey) -> None:
    for entry in _entries(folder / "train"):
        if entry.name != GOOD:
            survey.stray(entry)
    images = _images(folder / "train" / GOOD, survey)
    if not images:
        survey.error(f"{folder / 'train' / GOOD}: no images", LAYOUT, "put normal images there to fit on")
    survey.samples += [_sample(folder.name, "train", GOOD, path, None) for path in images]


def _survey_test(folder: Path, survey: _Survey) -> list[str]:
    """Survey test/good and the defect types; return the names of the latter."""
    test = folder / "test"
    defects = []
    for entry in _entries(test):
        if not entry.is_dir():
            survey.stray(entry)
        elif entry.name != GOOD:
            defects.append(entry.name)
    normals = _images(test / GOOD, survey)
    survey.samples += [_sample(folder.name, "test", GOOD, path, None) for path in normals]
    n_anomalous = sum(_survey_defect(folder, defect, survey) for defect in defects)
    if not normals and not n_anomalous:
        survey.error(f"{test}: no images", LAYOUT, "put normal and anomalous images there to evaluate on")
    elif not normals or not n_anomalous:
        rule = "ranking metrics (AUROC, AUPRC) need normal and anomalous test images"
        kind = "anomalous" if normals else "normal"
        survey.warn(f"{test}: no {kind} images", rule, "add some, or expect these metrics to be empty")
    return defects


def _survey_defect(folder: Path, defect: str, survey: _Survey) -> int:
    """Pair the images of a defect type with their masks; return how many images there are."""
    images = _images(folder / "test" / defect, survey)
    if not images:
        remedy = "put the anomalous images there, or delete the folder"
        survey.error(f"{folder / 'test' / defect}: no images", LAYOUT, remedy)
    mask_folder = folder / "ground_truth" / defect
    masks = _images(mask_folder, survey)
    by_stem: dict[str, Path] = {}
    for mask in masks:
        by_stem.setdefault(mask.stem, mask)
    owners: dict[Path, Path] = {}
    for image in images:
        found = by_stem.get(f"{image.stem}_mask") or by_stem.get(image.stem)
        if found is None:
            remedy = f"add {mask_folder / image.stem}_mask.png, or remove the image"
            survey.error(f"{image}: no mask", _MASK_RULE, remedy)
            continue
        if found in owners:
            rule = "every anomalous image has a mask of its own"
            remedy = "rename one of the images, and give it its mask"
            survey.warn(f"{image}: shares {found.name} with {owners[found].name}", rule, remedy)
        owners.setdefault(found, image)
        survey.samples.append(_sample(folder.name, "test", defect, image, found))
    for mask in masks:
        if mask not in owners:
            remedy = f"add its image to test/{defect}, or delete the mask"
            survey.warn(f"{mask}: a mask without an image, not read", LAYOUT, remedy)
        elif mask.suffix.lower() in LOSSY_SUFFIXES:
            rule = "what is not zero is defect, and lossy compression leaves such values around every edge"
            survey.warn(f"{mask}: a mask in a lossy format", rule, "store masks as png")
    return len(images)


def _sample(category: str, origin: Literal["train", "test"], defect: str, image: Path, mask: Path | None) -> Sample:
    # Some file systems hand back decomposed accents: the identity must be the same on all of them.
    name = unicodedata.normalize("NFC", f"{origin}/{defect}/{image.name}")
    return Sample(category, name, origin, unicodedata.normalize("NFC", defect), FileImage(image, mask))


def _entries(folder: Path) -> list[Path]:
    """List a folder in natural order, without hidden files; nothing when there is no such folder."""
    if not folder.is_dir():
        return []
    entries = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    return [entry for entry in entries if not _is_hidden(entry)]


def _images(folder: Path, survey: _Survey) -> list[Path]:
    """Return the images of a folder; everything else in it is a stray."""
    images = []
    for entry in _entries(folder):
        if _is_image(entry) and not entry.is_dir():
            images.append(entry)
        else:
            survey.stray(entry)
    return images


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES
