"""Any folder of images: globs say which are normal and which anomalous, and where the masks are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.natural_order import natural_key
from adloc.datasets.polygons import SUFFIX, Outline, read_coco
from adloc.datasets.readers.listing import Listing, is_hidden, is_image, relative_name, what_is_there
from adloc.datasets.readers.mvtec_layout import warn_of_missing_masks
from adloc.datasets.readers.options import Categories, ReaderConfig, chosen, existing_root
from adloc.datasets.readers.several import join_categories
from adloc.datasets.sample import GOOD, Sample

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from pathlib import Path

    from adloc.datasets.sample import Origin

Key = Literal["normal", "test_normal", "anomalous"]
KEYS: tuple[Key, ...] = ("normal", "test_normal", "anomalous")
_MASK_SUFFIX = "_mask"
_GLOB_RULE = "a glob is relative to root, or to root/<category>, and finds images or folders of images"
_MASK_RULE = "a mask has its image's name, with or without _mask, in masks/<defect> or in masks"
_COCO_RULE = "a file_name is an image's path relative to root (or root/<category>), or its name alone"
_GLOBS = "it must be a list of globs relative to root, as in [good/*]"


def _relative(glob: str) -> str:
    """Return a glob unchanged.

    Raises:
        ValueError: it leads out of root, or ** is not a whole part of it.
    """
    parts = glob.split("/")
    if not glob or glob.startswith(("/", "~")) or ".." in parts or any("**" in p and p != "**" for p in parts):
        message = "a glob is relative to root, without .., and ** stands for whole folders"
        raise ValueError(message)
    return glob


Glob = Annotated[str, AfterValidator(_relative)]


class FolderConfig(ReaderConfig):
    """Images in any folders, by globs relative to root, or to root/<category> where categories are given."""

    kind: Literal["folder"] = "folder"
    categories: Categories | None = Field(
        default=None,
        description="subfolders of root in which the globs are looked up; left out, root itself is the one category",
    )
    normal: tuple[Glob, ...] = Field(
        min_length=1,
        description="globs of normal images to fit on; a folder stands for all images inside",
        json_schema_extra={"rule": _GLOBS, "remedy": "write for example normal: [good/*]"},
    )
    anomalous: tuple[Glob, ...] = Field(
        default=(),
        description="globs of anomalous images; the name of the folder that holds one is its defect type",
        json_schema_extra={"rule": _GLOBS, "remedy": "write for example anomalous: [bad/*], or leave it out"},
    )
    test_normal: tuple[Glob, ...] = Field(
        default=(),
        description="globs of normal images to test on; left out, split.test_fraction of the normal ones",
        json_schema_extra={"rule": _GLOBS, "remedy": "write for example test_normal: [good_test/*], or leave it out"},
    )
    masks: Glob | None = Field(
        default=None,
        description="folder of the masks, named as their images, with or without _mask, in a folder for each defect "
        "type or all in one, labelme's .json files among them; or a COCO annotations file; left out, or where one is "
        "missing, pixel metrics are over the others",
        json_schema_extra={
            "rule": "it must be a folder, or a COCO annotations file, relative to root",
            "remedy": "write for example masks: masks, or masks: annotations.json",
        },
    )

    def listing(self) -> Listing:
        """List the images that the globs find, category by category."""
        rule = "root is the folder in which the globs are looked up"
        try:
            root = existing_root(self, rule, "write the path of your images' folder")
            if self.categories is None:
                listing = _list(root, root.resolve().name, self)
                _check_found([root], self, listing)
                return join_categories(self, "", {}, {"": listing})
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
        listings = {name: _list(root / name, name, self) for name in names}
        _check_found([root / name for name in names], self, listings[names[0]])
        return join_categories(self, "", {}, listings)


@dataclass(frozen=True, slots=True)
class _Marks:
    """Where the mask of an image is: in a file of its own, or drawn in a file for many."""

    path: Path
    name: str = ""  # of the image, in a file for many
    outline: Outline | None = None


@dataclass(slots=True)
class _Category:
    """One category while its images are paired with their masks.

    Attributes:
        folder: in which the globs are looked up.
        name: of the category.
        config: the globs.
        masks: by defect type ("" for those of no type) and the stem of their image.
        outlines: of a COCO file, by the name that it gives to their image.
        listing: what is found.
        divided: whether it has normal test images of its own.
        owners: the image that a mask went to.
    """

    folder: Path
    name: str
    config: FolderConfig
    masks: dict[tuple[str, str], Path]
    outlines: dict[str, Outline]
    listing: Listing
    divided: bool
    owners: dict[_Marks, Path] = field(default_factory=dict)

    def add(self, path: Path, key: Key) -> None:
        """Add an image that the globs of a key have found."""
        name = relative_name(path, self.folder)
        if key == "anomalous":
            self._add_anomalous(path, name)
            return
        divided: Origin = "train" if self.divided else "undivided"
        origin: Origin = "test" if key == "test_normal" else divided
        self.listing.samples.append(Sample(self.name, name, origin, GOOD, FileImage(path)))

    def _add_anomalous(self, path: Path, name: str) -> None:
        defect = path.parent.name if path.parent != self.folder else "anomalous"
        if defect == GOOD:
            rule = f"the folder of anomalous images names their defect type, and {GOOD} names the normal ones"
            found = f"{path}: an anomalous image in a folder called {GOOD}"
            self.listing.error(found, rule, "mend the globs", ("anomalous",))
            return
        marks = self._marks_of(path, name, defect)
        if marks is None:
            source = FileImage(path, mask_known=False)
        elif marks in self.owners:
            rule = "every anomalous image has a mask of its own"
            remedy = "use a folder of masks for each defect type, named as the images' folders"
            if marks.outline:
                remedy = "write the images' paths relative to root into file_name"
            found = f"{path}: its mask {marks.path} is that of {self.owners[marks]} too"
            self.listing.error(found, rule, remedy, ("masks",))
            return
        else:
            self.owners[marks] = path
            source = FileImage(path, marks.path, outline=marks.outline)
        sample = Sample(self.name, name, "test", defect, source, mask_known=source.mask_known)
        self.listing.samples.append(sample)

    def _marks_of(self, path: Path, name: str, defect: str) -> _Marks | None:
        for known in (name, path.name):
            if known in self.outlines:
                return _Marks(self.outlines[known].path, known, self.outlines[known])
        mask = self.masks.get((defect, path.stem)) or self.masks.get(("", path.stem))
        return None if mask is None else _Marks(mask)


def _list(folder: Path, category: str, config: FolderConfig) -> Listing:
    listing = Listing(layout="normal, anomalous and test_normal name the images that are read")
    images: dict[Path, Key] = {}
    for key in KEYS:
        for path in dict.fromkeys(_found(folder, getattr(config, key))):
            if _is_mask_beside(path, folder, config):
                continue
            if path in images:
                rule = "an image is normal or anomalous, to fit on or to test on"
                found = f"{path}: found by {images[path]} and by {key}"
                listing.error(found, rule, "make the globs exclude each other")
                continue
            images[path] = key
    masks, divided = _masks(folder, config, images), "test_normal" in images.values()
    outlines: dict[str, Outline] = {}
    if _is_coco(config) and (folder / str(config.masks)).is_file():
        try:
            outlines = read_coco(folder / str(config.masks))
        except DatasetError as error:
            listing.errors += error.problems
    survey = _Category(folder, category, config, masks, outlines, listing, divided)
    for path, key in images.items():
        survey.add(path, key)
    _judge_masks(survey, images)
    return listing


def _judge_masks(survey: _Category, images: dict[Path, Key]) -> None:
    """Name the masks that no anomalous image has; say how many of those have none."""
    normal = {path.stem for path, key in images.items() if key != "anomalous"}
    for (_, stem), path in survey.masks.items():
        if _Marks(path) in survey.owners:
            continue
        if stem in normal:
            survey.listing.good_masks.append(path)
        else:
            remedy = "name it as its image, or leave it: it changes nothing"
            survey.listing.warn(f"{path}: a mask without an image, not read", _MASK_RULE, remedy)
    _judge_outlines(survey, images)
    if survey.config.masks is not None:
        warn_of_missing_masks(survey.listing, survey.listing.samples, survey.folder / survey.config.masks)
    elif "anomalous" in images.values():
        beside = [path for path, key in images.items() if key == "anomalous" and path.with_suffix(SUFFIX).is_file()]
        there = relative_name(beside[0].parent, survey.folder) if beside else "FOLDER"
        survey.listing.warn(
            f"{survey.folder}: no masks are named; pixel metrics will be empty",
            "masks is the folder of the masks of the anomalous images",
            f"add masks: {there}, {'if its .json files are labelme masks' if beside else 'if there are any'}",
        )


def _judge_outlines(survey: _Category, images: dict[Path, Key]) -> None:
    """Name what a COCO file draws on images that are normal, or not there."""
    known = {name: key for path, key in images.items() for name in (path.name, relative_name(path, survey.folder))}
    for name, outline in survey.outlines.items():
        if _Marks(outline.path, name, outline) in survey.owners:
            continue
        if known.get(name) in ("normal", "test_normal"):
            remedy = "list its image among the anomalous ones, if it is; else leave it: it is not read"
            survey.listing.warn(
                f"{outline.path}: marks a defect on a normal image, {name}", "nothing is marked on one", remedy
            )
        else:
            remedy = "mend the file_name, or leave it: it changes nothing"
            survey.listing.warn(f"{outline.path}: {name} is no image that the globs find", _COCO_RULE, remedy)


def _check_found(folders: Sequence[Path], config: FolderConfig, listing: Listing) -> None:
    """Add an error for each glob, and for a folder of masks, that no category has; and for one without normals."""
    where = folders[0] if len(folders) == 1 else folders[0].parent / "<category>"
    for key in KEYS:
        globs: tuple[str, ...] = getattr(config, key)
        for glob in globs:
            if not any(any(_found(folder, (glob,))) for folder in folders):
                there = what_is_there(folders[0] / glob.rstrip("*").rstrip("/"))
                listing.error(f"{where / glob}: no images{there}", _GLOB_RULE, "mend the glob, or leave it out", (key,))
    without = [folder for folder in folders if not any(_found(folder, config.normal))]
    if not listing.errors and without:
        remedy = "put some there, or leave the category out"
        listing.error(f"{without[0]}: no images that {', '.join(config.normal)} finds", _GLOB_RULE, remedy, ("normal",))
    if not config.anomalous:
        rule = "ranking metrics (AUROC, AUPRC) need normal and anomalous test images"
        listing.warn(f"{where}: no anomalous images", rule, "name some, or expect false alarms alone")
    if config.masks is not None:
        _check_masks([folder / str(config.masks) for folder in folders], where / str(config.masks), config, listing)


def _check_masks(places: Sequence[Path], where: Path, config: FolderConfig, listing: Listing) -> None:
    """Add an error where masks are at none of these places."""
    relative = "relative to root, or to root/<category>"
    if _is_coco(config):
        if not any(place.is_file() for place in places):
            rule = f"masks is a COCO annotations file {relative}"
            listing.error(f"{where}: no such file", rule, "mend the path", ("masks",))
    elif not any(place.is_dir() for place in places):
        rule = f"masks is a folder {relative}"
        listing.error(f"{where}: no such folder", rule, "mend the path, or leave masks out", ("masks",))


def _found(folder: Path, globs: Iterable[str]) -> Iterator[Path]:
    """The images of some globs, each glob's in natural order; a folder stands for all images below it."""
    for glob in globs:
        pattern = glob.strip("./")  # pathlib knows no pattern of the folder itself
        matches = folder.glob(glob.removesuffix("/")) if pattern else [folder]
        for path in sorted(matches, key=lambda path: natural_key(path.as_posix())):
            inside = sorted(path.rglob("*"), key=lambda path: natural_key(path.as_posix())) if path.is_dir() else [path]
            yield from (each for each in inside if is_image(each) and not is_hidden(each))


def _is_coco(config: FolderConfig) -> bool:
    return config.masks is not None and config.masks.lower().endswith(SUFFIX)


def _is_mask_beside(path: Path, folder: Path, config: FolderConfig) -> bool:
    """Whether a file that a glob has found is a mask beside its image: x_mask.png in the folder of the masks."""
    inside = config.masks is not None and path.is_relative_to(folder / config.masks)
    return inside and path.stem.endswith(_MASK_SUFFIX)


def _masks(folder: Path, config: FolderConfig, images: Container[Path]) -> dict[tuple[str, str], Path]:
    """Masks by defect type ("" in the folder itself) and the stem of their image."""
    masks: dict[tuple[str, str], Path] = {}
    if config.masks is None or _is_coco(config):
        return masks
    root = folder / config.masks
    found = sorted(root.rglob("*"), key=lambda path: natural_key(path.as_posix()))
    drawn = [path for path in found if path.suffix.lower() == SUFFIX and path.is_file()]
    for path in (*(path for path in found if is_image(path)), *drawn):  # a mask image before a labelme file
        if not is_hidden(path) and path not in images:
            kind = path.parent.name if path.parent != root else ""
            masks.setdefault((kind, path.stem.removesuffix(_MASK_SUFFIX)), path)
    return masks
