"""Any folder of images: globs say which are normal and which anomalous, and where the masks are."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.natural_order import natural_key
from adloc.datasets.readers.listing import Listing, is_hidden, is_image, relative_name, what_is_there
from adloc.datasets.readers.mvtec_layout import warn_of_missing_masks
from adloc.datasets.readers.options import Categories, ReaderConfig, chosen, existing_root
from adloc.datasets.readers.several import join_categories
from adloc.datasets.sample import GOOD, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from adloc.datasets.sample import Origin

Globs = Annotated[tuple[str, ...], Field(min_length=1)]

_MASK_SUFFIX = "_mask"
_GLOBS = "it must be a list of globs relative to root, as in [good/*]"


class FolderConfig(ReaderConfig):
    """Images in any folders, by globs relative to root, or to root/<category> where categories are given."""

    kind: Literal["folder"] = "folder"
    categories: Categories | None = Field(
        default=None,
        description="subfolders of root in which the globs are looked up; left out, root itself is the one category",
    )
    normal: Globs = Field(
        description="globs of normal images to fit on; a folder stands for all images inside",
        json_schema_extra={"rule": _GLOBS, "remedy": "write for example normal: [good/*]"},
    )
    anomalous: tuple[str, ...] = Field(
        default=(),
        description="globs of anomalous images; the name of the folder that holds one is its defect type",
        json_schema_extra={"rule": _GLOBS, "remedy": "write for example anomalous: [bad/*], or leave it out"},
    )
    test_normal: tuple[str, ...] = Field(
        default=(),
        description="globs of normal images to test on; left out, split.test_fraction of the normal ones",
        json_schema_extra={"rule": _GLOBS, "remedy": "write for example test_normal: [good_test/*], or leave it out"},
    )
    masks: str | None = Field(
        default=None,
        description="folder of the masks, named as their images, with or without _mask, in a folder for each defect "
        "type or all in one; left out, or where one is missing, pixel metrics are over the others",
        json_schema_extra={"rule": "it must be a folder relative to root", "remedy": "write for example masks: masks"},
    )

    def listing(self) -> Listing:
        """List the images that the globs find, category by category."""
        rule = "root is the folder in which the globs are looked up"
        try:
            root = existing_root(self, rule, "write the path of your images' folder")
            if self.categories is None:
                return join_categories(self, "", {}, {"": _list(root, root.resolve().name, self)})
            available = [entry.name for entry in sorted(root.iterdir(), key=lambda path: natural_key(path.name))]
            folders = [name for name in available if (root / name).is_dir() and not name.startswith(".")]
            if self.categories == "all":  # a folder without a normal image is no category
                folders = [name for name in folders if any(_found(root / name, self.normal))]
            names = chosen(root, self.categories, folders)
        except DatasetError as error:
            return Listing(errors=list(error.problems))
        if not names:
            listing = Listing()
            found = f"{root}: no subfolder with images that {', '.join(self.normal)} finds"
            listing.error(found, rule, "mend the globs, or leave categories out", ("normal",))
            return listing
        return join_categories(self, "", {}, {name: _list(root / name, name, self) for name in names})


def _list(folder: Path, category: str, config: FolderConfig) -> Listing:
    listing = Listing(layout="normal, anomalous and test_normal name the images that are read")
    found = {key: list(dict.fromkeys(_found(folder, getattr(config, key)))) for key in _KEYS}
    masks = _masks(folder, config)
    mask_files = {path for paths in masks.values() for path in paths}
    _check_found(folder, config, listing)
    owners: dict[Path, Path] = {}
    seen: dict[Path, str] = {}
    for key in _KEYS:
        for path in found[key]:
            if path in mask_files and path.stem.endswith(_MASK_SUFFIX):
                continue  # masks beside their images
            if path in seen:
                rule = "an image is normal or anomalous, to fit on or to test on"
                listing.error(f"{path}: found by {seen[path]} and by {key}", rule, "make the globs exclude each other")
                continue
            seen[path] = key
            _add(folder, category, key, path, masks, owners, bool(config.test_normal), listing)
    for path in sorted(mask_files - owners.keys()):
        twin = next((image for image in seen if image.stem == path.stem.removesuffix(_MASK_SUFFIX)), None)
        if twin is not None and seen[twin] != "anomalous":
            listing.good_masks.append(path)
        elif path not in seen:
            remedy = "name it as its image, or leave it: it changes nothing"
            listing.warn(f"{path}: a mask without an image, not read", _MASK_RULE, remedy)
    if config.masks is None and found["anomalous"]:
        listing.warn(
            f"{folder}: no masks are named; pixel metrics will be empty",
            "masks is the folder of the masks of the anomalous images",
            "add masks: FOLDER, if there are any",
        )
    else:
        warn_of_missing_masks(listing, listing.samples, folder / str(config.masks))
    return listing


_KEYS = ("normal", "test_normal", "anomalous")
_MASK_RULE = "a mask has its image's name, with or without _mask, in masks/<defect> or in masks"


def _add(
    folder: Path,
    category: str,
    key: str,
    path: Path,
    masks: dict[tuple[str, str], list[Path]],
    owners: dict[Path, Path],
    has_test: bool,  # noqa: FBT001
    listing: Listing,
) -> None:
    name = relative_name(path, folder)
    if key != "anomalous":
        origin: Origin = "test" if key == "test_normal" else "train" if has_test else "undivided"
        listing.samples.append(Sample(category, name, origin, GOOD, FileImage(path)))
        return
    defect = path.parent.name if path.parent != folder else "anomalous"
    if defect == GOOD:
        rule = f"the folder of anomalous images names their defect type, and {GOOD} names the normal ones"
        listing.error(f"{path}: an anomalous image in a folder called {GOOD}", rule, "mend the globs", ("anomalous",))
        return
    found = masks.get((defect, path.stem)) or masks.get(("", path.stem)) or []
    mask = found[0] if found else None
    if mask is not None and mask in owners:
        rule = "every anomalous image has a mask of its own"
        remedy = "put the masks into a folder for each defect type, named as the images' folders"
        listing.error(f"{path}: its mask {mask} is that of {owners[mask]} too", rule, remedy, ("masks",))
        return
    if mask is not None:
        owners[mask] = path
    source = FileImage(path, mask, mask_known=mask is not None)
    listing.samples.append(Sample(category, name, "test", defect, source, mask_known=mask is not None))


def _check_found(folder: Path, config: FolderConfig, listing: Listing) -> None:
    for key in _KEYS:
        globs: tuple[str, ...] = getattr(config, key)
        for glob in globs:
            if not any(_found(folder, (glob,))):
                parent = folder / glob.rstrip("*").rstrip("/")
                there = what_is_there(parent)
                rule = "a glob is relative to root, or to root/<category>, and finds images or folders of images"
                listing.error(f"{folder / glob}: no images{there}", rule, "mend the glob, or leave it out", (key,))
    if not config.anomalous:
        rule = "ranking metrics (AUROC, AUPRC) need normal and anomalous test images"
        listing.warn(f"{folder}: no anomalous images", rule, "name some, or expect false alarms alone")
    if config.masks is not None and not (folder / config.masks).is_dir():
        rule = "masks is a folder relative to root, or to root/<category>"
        listing.error(f"{folder / config.masks}: no such folder", rule, "mend the path, or leave masks out", ("masks",))


def _found(folder: Path, globs: Iterable[str]) -> Iterator[Path]:
    """The images of some globs, each glob's in natural order; a folder stands for all images below it."""
    for glob in globs:
        for path in sorted(folder.glob(glob.removesuffix("/")), key=lambda path: natural_key(path.as_posix())):
            inside = sorted(path.rglob("*"), key=lambda path: natural_key(path.as_posix())) if path.is_dir() else [path]
            yield from (each for each in inside if is_image(each) and not is_hidden(each))


def _masks(folder: Path, config: FolderConfig) -> dict[tuple[str, str], list[Path]]:
    """Masks by defect type ("" in the folder itself) and the stem of their image."""
    masks: dict[tuple[str, str], list[Path]] = defaultdict(list)
    if config.masks is None:
        return masks
    root = folder / config.masks
    for path in sorted(root.rglob("*"), key=lambda path: natural_key(path.as_posix())):
        if is_image(path) and not is_hidden(path):
            kind = path.parent.name if path.parent != root else ""
            masks[kind, path.stem.removesuffix(_MASK_SUFFIX)].append(path)
    return masks
