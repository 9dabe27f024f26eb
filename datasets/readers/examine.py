"""Every file of a listing decoded: what is damaged, and what is read otherwise than its owner may think."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from adloc.datasets.decoding import decode, read_bytes, to_mask
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.file_image import FileImage
from adloc.datasets.polygons import SUFFIX, read_labelme
from adloc.datasets.report import Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from adloc.datasets.file_image import Findings
    from adloc.datasets.readers.listing import Listing


def examine(listing: Listing) -> Report:
    """Decode every image and mask of a listing, in threads.

    Errors: a file that does not decode, a mask of another size than its image. Warnings that name every file:
    masks that mark nothing, masks that cover everything, masks that mark something on a normal image. Warnings
    that count: images that EXIF turns, soft masks, values that are scaled by their own range.
    """
    with ThreadPoolExecutor() as threads:
        sources = [sample.source for sample in listing.samples if isinstance(sample.source, FileImage)]
        found = list(threads.map(FileImage.examine, sources))
        marked = list(threads.map(_marks, listing.good_masks))
    errors = [problem for each in found for problem in each.errors]
    warnings = [*_masks(found), *_on_normal(listing.good_masks, marked), *_readings(found)]
    return Report(tuple(errors), tuple(warnings))


def _marks(path: Path) -> bool:
    try:
        if path.suffix.lower() == SUFFIX:
            return bool(read_labelme(path).mask().any())
        return bool(to_mask(decode(read_bytes(path), path)).any())
    except DatasetError:
        return False  # it is not read


def _masks(found: Sequence[Findings]) -> list[Problem]:
    warnings = []
    for each in found:
        path = each.image.mask_path
        if each.marks_nothing:
            rule, remedy = (
                "a mask is not zero on the defect",
                "draw the defect, or list the image among the normal ones",
            )
            warnings.append(Problem(f"{path}: marks nothing (all zero)", rule, remedy))
        if each.marks_all:
            rule = "a mask is zero where there is no defect; one without any says nothing about where it is"
            warnings.append(Problem(f"{path}: covers the whole image", rule, "draw the defect alone"))
    return warnings


def _on_normal(paths: Sequence[Path], marked: Sequence[bool]) -> list[Problem]:
    rule = "nothing is marked on a normal image"
    remedy = "list its image among the anomalous ones, if it is; else leave it: it is not read"
    return [
        Problem(f"{path}: marks a defect on a normal image", rule, remedy)
        for path, marks in zip(paths, marked, strict=True)
        if marks
    ]


def _readings(found: Sequence[Findings]) -> list[Problem]:
    kinds = (
        (
            [each.image.image_path for each in found if each.is_turned],
            "images are not stored upright",
            "they are turned as their EXIF orientation says, and a mask of the turned size is taken as it is",
            "nothing, if the masks were drawn on the upright image; else store image and mask upright",
        ),
        (
            [each.image.mask_path for each in found if each.is_soft],
            "masks are soft: values between nothing and half of their range",
            "a mask is binarised at half of its range: from there on it is defect",
            "draw masks with two values, if these were meant as defect",
        ),
        (
            [each.image.image_path for each in found if each.is_stretched],
            "floating-point images leave [0, 1]",
            "each is scaled by its own smallest and largest value, so their contrasts are not the same",
            "store them in [0, 1] by one scale for all, to keep them comparable",
        ),
        (
            [each.image.image_path for each in found if each.is_dark],
            "16-bit images use at most the lowest 12 bits",
            "16 bits are scaled by their full range, 65535 to white, so these come out as good as black",
            "multiply them all by 16 (12 bits) or 64 (10 bits) and store them again",
        ),
    )
    return [
        Problem(f"{paths[0]}: {len(paths)} {what} (this is the first)", rule, remedy)
        for paths, what, rule, remedy in kinds
        if paths
    ]
