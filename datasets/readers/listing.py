"""The listing of a dataset: its samples, and what is wrong with its folders as far as names tell."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adloc.datasets.decoding import FORMATS_IN_WORDS, IMAGE_SUFFIXES
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.natural_order import natural_key
from adloc.datasets.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from adloc.datasets.sample import Sample

_LONGEST_NAME = 120  # bytes of a category: with method and key it names files, of at most 255
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")
# Photographs all the same, of formats that a camera or a phone writes and Pillow does not read by itself.
_OTHER_PHOTOGRAPHS = (".avif", ".cr2", ".dng", ".gif", ".heic", ".heif", ".jxl", ".nef", ".npy", ".raw")


@dataclass(slots=True)
class Listing:
    """What the listing of folders tells.

    Attributes:
        samples: category by category, in natural order.
        errors: what keeps the dataset from being used.
        warnings: what is not as its owner may think.
        good_masks: masks that lie beside normal images: nothing may be marked in them.
        strays: files and folders that no reader takes.
        layout: in words, for the rule of a stray.
    """

    samples: list[Sample] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    good_masks: list[Path] = field(default_factory=list)
    strays: list[Path] = field(default_factory=list)
    layout: str = ""

    def error(self, found: str, rule: str, remedy: str, key: tuple[str | int, ...] = ()) -> None:
        """Add an error."""
        self.errors.append(Problem(found, rule, remedy, key))

    def warn(self, found: str, rule: str, remedy: str) -> None:
        """Add a warning."""
        self.warnings.append(Problem(found, rule, remedy))

    def join(self, other: Listing) -> None:
        """Take over what another category's listing tells."""
        self.samples += other.samples
        self.errors += other.errors
        self.warnings += [*other.warnings, *stray_warnings(other.strays, other.layout)]
        self.good_masks += other.good_masks

    def required(self) -> list[Sample]:
        """Return the samples of a listing without errors.

        Raises:
            DatasetError: with every error.
        """
        if errors := (*self.errors, *self._unusable()):
            raise DatasetError(*errors)
        return self.samples

    def report(self) -> Report:
        """Errors and warnings, those of strays at the end."""
        warnings = (*self.warnings, *stray_warnings(self.strays, self.layout))
        return Report((*self.errors, *self._unusable()), warnings)

    def _unusable(self) -> Iterator[Problem]:
        """An error for each name that could not stand where it will: of a category in paths, of an image in tables."""
        for category in dict.fromkeys(sample.category for sample in self.samples):
            if not _names_a_folder(category):
                rule = (
                    f"a category names folders: of at most {_LONGEST_NAME} bytes, without / and \\, no . at its start"
                )
                yield Problem(f"{category[:_LONGEST_NAME]!r}: is no name for a category", rule, "rename it")
        for sample in self.samples:
            if not _is_utf8(sample.name):
                rule = "the names of images stand in records and tables, which are UTF-8"
                yield Problem(f"{sample.identity!a}: its name is not UTF-8", rule, "rename the file, or its folder")


def _names_a_folder(name: str) -> bool:
    return (
        name.isprintable()
        and len(name.encode()) <= _LONGEST_NAME
        and not name.startswith(".")
        and not set(name) & set("/\\")
    )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of a file system, which Python keeps as halves of characters
        return False
    return True


def relative_name(path: Path, folder: Path) -> str:
    """Return the name of an image in its category, with forward slashes.

    Some file systems hand back decomposed accents: the identity must be the same on all of them.
    """
    return unicodedata.normalize("NFC", path.relative_to(folder).as_posix())


def entries(folder: Path) -> list[Path]:
    """List a folder in natural order, without hidden files; nothing when there is no such folder."""
    if not folder.is_dir():
        return []
    found = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    return [entry for entry in found if not is_hidden(entry)]


def images(folder: Path, listing: Listing) -> list[Path]:
    """Return the images of a folder; everything else in it is a stray."""
    found = []
    for entry in entries(folder):
        if is_image(entry):
            found.append(entry)
        else:
            listing.strays.append(entry)
    return found


def is_image(path: Path) -> bool:
    """Whether a path names an image of a format that is read."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()


def is_hidden(path: Path) -> bool:
    """Whether a file is the system's and not its user's."""
    return path.name.startswith(".") or path.name.lower() in _SYSTEM_FILES


def what_is_there(folder: Path) -> str:
    """Say what a folder without images holds instead: "no such folder", " (108 .heic files, which are not read)"."""
    if not folder.is_dir():
        return " (no such folder)"
    kinds: dict[str, int] = defaultdict(int)
    for entry in entries(folder):
        kinds["folders" if entry.is_dir() else f"{entry.suffix.lower() or 'other'} files"] += 1
    listed = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    return f" (only {listed}, which are not read)" if listed else ""


def stray_warnings(strays: Iterable[Path], layout: str) -> list[Problem]:
    """One warning a folder and kind of file, however many of them there are."""
    kinds: dict[tuple[Path, str, str], list[Path]] = defaultdict(list)
    warnings = []
    for path in strays:
        if path.is_dir():
            n_files = sum(1 for inner in path.rglob("*") if inner.is_file() and not is_hidden(inner))
            remedy = "leave it if it is not meant to be read, or name its images by kind: folder"
            warnings.append(Problem(f"{path}: {n_files} files that are not read", layout, remedy))
        else:
            kinds[path.parent, path.suffix.lower(), _what(path)].append(path)
    for (folder, suffix, what), paths in kinds.items():
        found = f"{paths[0]}: {what}, not read"
        if len(paths) > 1:
            found = f"{folder}: {len(paths)} {suffix or 'other'} files, {what}, not read (the first is {paths[0].name})"
        if suffix in _OTHER_PHOTOGRAPHS:
            rule, remedy = f"images are {FORMATS_IN_WORDS}", "convert them to png"
        else:
            rule, remedy = layout, "leave it if it is not meant to be read"
        warnings.append(Problem(found, rule, remedy))
    return warnings


def _what(path: Path) -> str:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return "an image outside the layout"
    return "an image format that is not read" if path.suffix.lower() in _OTHER_PHOTOGRAPHS else "not an image"
