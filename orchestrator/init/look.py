"""What a folder holds, from names alone; and the sizes of its images, from the heads of some files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.datasets.readers.listing import entries, is_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_DEEPEST = 8  # levels; also the end of a link that leads back to its own folder
MOST_OPENED = 200


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, with those below it that hold images.

    Attributes:
        path: of the folder.
        images: directly inside, in natural order.
        folders: below it, those without any image left out, in natural order.
        n_others: files directly inside that are no images of a format that is read.
    """

    path: Path
    images: tuple[Path, ...]
    folders: tuple[Folder, ...]
    n_others: int

    @property
    def n_images(self) -> int:
        """Images inside and below."""
        return len(self.images) + sum(folder.n_images for folder in self.folders)

    def with_images(self) -> Iterator[Folder]:
        """Yield this folder and those below it that have images directly inside."""
        if self.images:
            yield self
        for folder in self.folders:
            yield from folder.with_images()


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of some images.

    Attributes:
        height: the median, in pixels.
        width: the median, in pixels.
        aspect: the median of width / height.
        vary: whether not all of them have the same size.
    """

    height: int
    width: int
    aspect: float
    vary: bool


def look(path: Path, depth: int = _DEEPEST) -> Folder:
    """Return what a folder holds. Hidden files are passed over; no file is opened."""
    found = entries(path)
    images = tuple(entry for entry in found if is_image(entry))
    below = [look(entry, depth - 1) for entry in found if depth and entry.is_dir()]
    n_others = sum(entry.is_file() for entry in found) - len(images)
    return Folder(path, images, tuple(folder for folder in below if folder.n_images), n_others)


def sizes_of(paths: Sequence[Path], at_most: int = MOST_OPENED) -> Sizes | None:
    """Return the sizes of some images, evenly spread; None when none of them can be read.

    Only the heads are read: 0.1 ms a file. `adloc data check` names those that are damaged.
    """
    from statistics import median

    from PIL import Image

    from adloc.datasets.decoding import orientation

    found: list[tuple[int, int]] = []
    for path in paths[:: max(1, -(-len(paths) // at_most))]:
        try:
            with Image.open(path) as image:
                turned = orientation(image) >= 5  # noqa: PLR2004  # EXIF: 5 to 8 lie on their side
                found.append((image.width, image.height) if turned else (image.height, image.width))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
    if not found:
        return None
    heights, widths = zip(*found, strict=True)
    aspect = median(width / height for height, width in found)
    return Sizes(int(median(heights)), int(median(widths)), aspect, len(set(found)) > 1)
