"""Folders of the family of MVTec AD: <category>/train/good, test/good, test/<defect>, ground_truth/<defect>.

P. Bergmann et al., "MVTec AD", CVPR 2019. Other datasets use the same tree with other names: see `Tree`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.datasets.decoding import LOSSY_SUFFIXES
from adloc.datasets.file_image import FileImage
from adloc.datasets.readers.listing import Listing, entries, images, is_image, relative_name, what_is_there
from adloc.datasets.sample import GOOD, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from adloc.datasets.readers.options import Masks
    from adloc.datasets.sample import Part

_CATEGORY_FILES = ("license.txt", "readme.txt", "defects_config.json")
_NORMAL_WORDS = ("good", "ok", "normal")


@dataclass(frozen=True, slots=True)
class Tree:
    """The names of the folders of a category.

    Attributes:
        normals: folders of normal images outside the test part, each with its published part.
        test: folder whose subfolders are the normal test images and the defect types.
        good: name of the normal images' folder inside `test`.
        masks: folder whose subfolders are the defect types.
        masks_in_folders: a mask folder has a folder for each image, with a file for each defect.
        passed_over: other folders of the layout, which are not read.
    """

    normals: tuple[tuple[str, Part], ...] = (("train/good", "train"),)
    test: str = "test"
    good: str = GOOD
    masks: str = "ground_truth"
    masks_in_folders: bool = False
    passed_over: tuple[str, ...] = ()

    @property
    def layout(self) -> str:
        """In words: "the layout is train/good, test/good, test/<defect> and ground_truth/<defect>/<image>_mask.png"."""
        mask = "<image>/<number>.png" if self.masks_in_folders else "<image>_mask.png"
        normals = ", ".join(folder for folder, _ in self.normals)
        return (
            f"the layout is {normals}, {self.test}/{self.good}, {self.test}/<defect> and {self.masks}/<defect>/{mask}"
        )


MVTEC_AD = Tree()


def list_category(folder: Path, tree: Tree = MVTEC_AD, masks: Masks = "required") -> Listing:
    """List one category: the normal images, the defect types; names in natural order; no file is opened.

    Errors: no normal images to fit on, no test images, an empty defect folder, with masks required an anomalous
    image without one. Warnings: files and folders that are not read, masks without an image, masks in a lossy
    format, no normal or no anomalous test image, with masks optional how many there are not.
    """
    listing = Listing(layout=tree.layout)
    roots = {tree.test, tree.masks, *tree.passed_over, *(name for name, _ in tree.normals)}
    known = {path.partition("/")[0] for path in roots}
    for entry in entries(folder):
        if entry.name not in known and entry.name.lower() not in _CATEGORY_FILES:
            listing.strays.append(entry)
    _list_normals(folder, tree, listing)
    defects = _list_test(folder, tree, masks, listing)
    for entry in entries(folder / tree.masks):
        if entry.name == tree.good:
            listing.good_masks += [path for path in sorted(entry.rglob("*")) if is_image(path)]
        elif entry.name not in defects:
            listing.strays.append(entry)
    return listing


def suggested_kind(folder: Path) -> str | None:
    """Say how images in other folders than train/good can be read, as keys of kind: folder; None when unclear."""
    trained, tested = _folders_of_part(folder, "train"), _folders_of_part(folder, "test")
    if not trained:
        return None
    normal = next(filter(_is_normal, trained), trained[0])
    kinds = {
        "normal": [f"{normal.parent.name}/{normal.name}/*"],
        "test_normal": [f"{entry.parent.name}/{entry.name}/*" for entry in tested if _is_normal(entry)],
        "anomalous": [f"{entry.parent.name}/{entry.name}/*" for entry in tested if not _is_normal(entry)],
    }
    keys = ", ".join(f"{name}: [{', '.join(globs)}]" for name, globs in kinds.items() if globs)
    return f"use kind: folder with {keys}"


def _is_normal(folder: Path) -> bool:
    return folder.name.lower() in _NORMAL_WORDS


def _folders_of_part(folder: Path, part: str) -> list[Path]:
    """The folders with images inside of the first that has the part's name, in whatever case."""
    inside = next((entry for entry in entries(folder) if entry.is_dir() and entry.name.lower() == part), None)
    below = [] if inside is None else entries(inside)
    return [entry for entry in below if entry.is_dir() and any(is_image(path) for path in entry.iterdir())]


def _list_normals(folder: Path, tree: Tree, listing: Listing) -> None:
    for name, part in tree.normals:
        inside = folder / name
        for entry in entries(inside.parent):
            if entry != inside:
                listing.strays.append(entry)
        found = images(inside, listing)
        if not found and part == "train":
            remedy = suggested_kind(folder) or "put normal images there to fit on, or name yours by kind: folder"
            listing.error(f"{inside}: no images{what_is_there(inside)}", tree.layout, remedy)
        for path in found:
            name_inside = relative_name(path, folder)
            listing.samples.append(Sample(folder.name, name_inside, "train", GOOD, FileImage(path), part=part))


def _list_test(folder: Path, tree: Tree, masks: Masks, listing: Listing) -> list[str]:
    """List the normal test images and the defect types; return the names of the latter."""
    test, mask_root = folder / tree.test, folder / tree.masks
    defects = []
    for entry in entries(test):
        if not entry.is_dir():
            listing.strays.append(entry)
        elif entry.name != tree.good and entry != mask_root:
            defects.append(entry)
    normals = images(test / tree.good, listing)
    for path in normals:
        name = relative_name(path, folder)
        listing.samples.append(Sample(folder.name, name, "test", GOOD, FileImage(path), part="test"))
    before = len(listing.samples)
    n_images = sum(_list_defect(folder, entry, tree, masks, listing) for entry in defects)
    if not normals and not n_images:
        listing.error(f"{test}: no images", tree.layout, "put normal and anomalous images there to evaluate on")
    elif not normals or not n_images:
        rule = "ranking metrics (AUROC, AUPRC) need normal and anomalous test images"
        kind = "anomalous" if normals else "normal"
        listing.warn(f"{test}: no {kind} images", rule, "add some, or expect these metrics to be empty")
    warn_of_missing_masks(listing, listing.samples[before:], mask_root)
    return [entry.name for entry in defects]


def warn_of_missing_masks(listing: Listing, samples: Sequence[Sample], place: Path) -> None:
    """Say once how many of the anomalous samples have no mask."""
    without = [sample for sample in samples if not sample.mask_known]
    if without:
        n_anomalous = sum(sample.label for sample in samples)
        listing.warn(
            f"{place}: no mask for {len(without)} of {n_anomalous} anomalous images of {without[0].category}"
            f" (the first is {without[0].name})",
            "pixel metrics are over the images that have a mask and the normal ones",
            "add the masks, or expect pixel metrics to say nothing of these images",
        )


def _own(image: Path, pair: tuple[Path, ...], owners: dict[tuple[Path, ...], Path], listing: Listing) -> None:
    """Note whose masks these are; a warning where another image has them already."""
    if pair in owners:
        listing.warn(
            f"{image}: shares {pair[0].name} with {owners[pair].name}",
            "every anomalous image has a mask of its own",
            "rename one of the images, and give it its mask",
        )
    owners.setdefault(pair, image)


def _list_defect(folder: Path, defect: Path, tree: Tree, masks: Masks, listing: Listing) -> int:
    """Pair the images of a defect type with their masks; return how many images there are."""
    found = images(defect, listing)
    if not found:
        remedy = "put the anomalous images there, or name the folders to read by kind: folder"
        listing.error(f"{defect}: no images{what_is_there(defect)}", tree.layout, remedy)
    mask_folder = folder / tree.masks / defect.name
    by_stem = _masks_by_stem(mask_folder, tree, listing)
    owners: dict[tuple[Path, ...], Path] = {}
    rule = f"every anomalous image needs a mask, not zero on the defect: {tree.layout}"
    if found and not by_stem and masks == "required":
        remedy = f"put the masks into {mask_folder}, or write masks: optional"
        if not mask_folder.is_dir():
            listing.error(f"{defect}: no mask for any of its {len(found)} images", rule, remedy)
            return len(found)
    for image in found:
        pair = by_stem.get(f"{image.stem}_mask") or by_stem.get(image.stem) or ()
        if pair:
            _own(image, pair, owners, listing)
        elif masks == "required":
            example = mask_folder / f"{image.stem}_mask.png"
            listing.error(f"{image}: no mask", rule, f"add {example}, or write masks: optional")
            continue
        source = FileImage(image, pair[0] if pair else None, pair[1:], mask_known=bool(pair))
        name = relative_name(image, folder)
        kind = relative_name(defect, defect.parent)
        sample = Sample(folder.name, name, "test", kind, source, mask_known=bool(pair), part="test")
        listing.samples.append(sample)
    _judge_masks(by_stem, owners, defect, tree, listing)
    return len(found)


def _masks_by_stem(mask_folder: Path, tree: Tree, listing: Listing) -> dict[str, tuple[Path, ...]]:
    """The masks of a defect type by the stem of their file, or by the name of the folder that holds them."""
    found: dict[str, tuple[Path, ...]] = {}
    if tree.masks_in_folders:
        for entry in entries(mask_folder):
            if entry.is_dir():
                found[entry.name] = tuple(images(entry, listing))
            else:
                listing.strays.append(entry)
        return {name: masks for name, masks in found.items() if masks}
    for mask in images(mask_folder, listing):
        found.setdefault(mask.stem, (mask,))
    return found


def _judge_masks(
    by_stem: dict[str, tuple[Path, ...]],
    owners: dict[tuple[Path, ...], Path],
    defect: Path,
    tree: Tree,
    listing: Listing,
) -> None:
    orphans = [masks[0] for masks in by_stem.values() if masks not in owners]
    for mask in orphans:
        remedy = f"add its image to {tree.test}/{defect.name}, or leave it: it changes nothing"
        listing.warn(f"{mask}: a mask without an image, not read", tree.layout, remedy)
    for masks in owners:
        if masks[0].suffix.lower() in LOSSY_SUFFIXES:
            rule = "lossy compression leaves values around every edge that nobody drew; a mask is binarised at half"
            listing.warn(f"{masks[0]}: a mask in a lossy format", rule, "store masks as png")
