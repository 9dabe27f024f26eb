"""An image file with its mask files: its picture, the identity of its content, and what is odd about it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adloc.datasets.decoding import (
    UPRIGHT,
    decode,
    is_soft,
    orientation,
    read_bytes,
    to_mask,
    to_rgb,
    within_unit,
)
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.look import look_of, pixels_hash
from adloc.datasets.sample import Fingerprint, Picture

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

_SIZE_RULE = "a mask must have its image's height and width"
_DARK_BITS = 12  # a 16-bit image whose values all fit into as many comes out as good as black


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image file with its mask files, if it has any.

    Attributes:
        image_path: of a format that `decoding` reads.
        mask_path: the mask; None for a normal image, and for an anomalous one that has none.
        further_masks: of the same image, where each defect has a file of its own (MVTec LOCO).
        mask_known: False for an anomalous image without a mask.
    """

    image_path: Path
    mask_path: Path | None = None
    further_masks: tuple[Path, ...] = ()
    mask_known: bool = True

    @property
    def location(self) -> str:
        """The image's path."""
        return str(self.image_path)

    @property
    def mask_paths(self) -> tuple[Path, ...]:
        """Every mask of the image."""
        return () if self.mask_path is None else (self.mask_path, *self.further_masks)

    def read(self) -> Picture:
        """Decode image and masks; several masks are joined.

        Raises:
            DatasetError: a file is gone or does not decode, or mask and image differ in size.
        """
        import numpy as np

        image, pixels = self._decoded(read_bytes(self.image_path))
        if not self.mask_known:
            return Picture(pixels, None)
        mask = np.zeros(pixels.shape[:2], dtype=np.bool_)
        for path in self.mask_paths:
            mask |= to_mask(self._fitting(decode(read_bytes(path), path), path, image, pixels))
        return Picture(pixels, mask)

    def read_masks(self) -> tuple[NDArray[np.bool_], ...]:
        """Decode every mask by itself, bool (height, width) each: sPRO saturates each defect by its own area.

        Raises:
            DatasetError: a file is gone or does not decode, or mask and image differ in size.
        """
        image, pixels = self._decoded(read_bytes(self.image_path))
        masks = [(decode(read_bytes(path), path), path) for path in self.mask_paths]
        return tuple(to_mask(self._fitting(mask, path, image, pixels)) for mask, path in masks)

    def fingerprint(self) -> Fingerprint:
        """Hash image and masks, bytes and pixels; all are decoded, so that damage is found here.

        What is read otherwise than by earlier versions (an image that EXIF turns, a mask that is not the same at
        half of its range as above zero) has another hash than its bytes alone, so no result of theirs stands for it.

        Raises:
            DatasetError: a file is gone or does not decode, or mask and image differ in size.
        """
        data = read_bytes(self.image_path)
        image, pixels = self._decoded(data)
        turned = b"upright\0" if orientation(image) != UPRIGHT else b""
        hashes = []
        for path in self.mask_paths:
            mask_data = read_bytes(path)
            mask = self._fitting(decode(mask_data, path), path, image, pixels)
            halved = b"half\0" if is_soft(mask) else b""
            hashes.append(hashlib.sha256(turned + halved + mask_data).hexdigest())
        mask_sha256 = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        return Fingerprint(
            hashlib.sha256(turned + data).hexdigest(),
            mask_sha256 if hashes else "",
            pixels.shape[0],
            pixels.shape[1],
            pixels_hash(pixels),
            look_of(pixels),
        )

    def examine(self) -> Findings:
        """Decode image and masks; whatever is damaged or odd."""
        found = Findings(self)
        decoded = None
        try:
            decoded = self._decoded(read_bytes(self.image_path))
            found.look_at(decoded[0])
        except DatasetError as error:
            found.errors += error.problems
        shares = []
        for path in self.mask_paths:
            try:
                mask = decode(read_bytes(path), path)
                if decoded is not None:
                    mask = self._fitting(mask, path, *decoded)
                found.is_soft |= is_soft(mask)
                shares.append(float(to_mask(mask).mean()))
            except DatasetError as error:
                found.errors += error.problems
        found.marks_nothing = bool(shares) and max(shares) == 0
        found.marks_all = bool(shares) and max(shares) == 1
        return found

    def stamp(self) -> str:
        """Say which state of which files this is: absolute paths, sizes and times of change (ns).

        Raises:
            OSError: a file is gone.
        """
        states = [(path.absolute(), path.stat()) for path in (self.image_path, *self.mask_paths)]
        return "|".join(f"{path}|{state.st_size}|{state.st_mtime_ns}" for path, state in states)

    def _decoded(self, data: bytes) -> tuple[Image, NDArray[np.uint8]]:
        image = decode(data, self.image_path)
        return image, to_rgb(image, self.image_path)

    def _fitting(self, mask: Image, path: Path, image: Image, pixels: NDArray[np.uint8]) -> Image:
        """The mask at the image's size; one drawn on the stored grid is turned as EXIF turns the image."""
        from PIL import ImageOps

        height, width = pixels.shape[:2]
        if (mask.height, mask.width) == (height, width):
            return mask
        if orientation(image) != UPRIGHT and (mask.height, mask.width) == (image.height, image.width):
            mask.getexif()[0x0112] = orientation(image)
            return ImageOps.exif_transpose(mask)
        found = f"{path}: {mask.height} x {mask.width}, its image is {height} x {width}"
        raise DatasetError(Problem(found, _SIZE_RULE, f"make the mask anew at the size of {self.image_path}"))


@dataclass(slots=True)
class Findings:
    """What decoding an image and its masks has shown.

    Attributes:
        image: that was looked at.
        errors: damage, and masks that do not fit.
        is_turned: EXIF says that the image is not stored upright.
        is_stretched: floating point outside [0, 1], scaled by its own range.
        is_dark: 16 bit, of which it uses at most the lowest 12.
        is_soft: a mask has values between nothing and half of its range.
        marks_nothing: the masks are zero everywhere.
        marks_all: a mask covers the whole image.
    """

    image: FileImage
    errors: tuple[Problem, ...] = field(default=())
    is_turned: bool = False
    is_stretched: bool = False
    is_dark: bool = False
    is_soft: bool = False
    marks_nothing: bool = False
    marks_all: bool = False

    def look_at(self, image: Image) -> None:
        """Note how the pixels are stored."""
        import numpy as np

        self.is_turned = orientation(image) != UPRIGHT
        if image.mode == "F":
            values = np.asarray(image)
            self.is_stretched = not within_unit(float(values.min()), float(values.max()))
        elif image.mode.startswith("I;16"):
            self.is_dark = int(np.asarray(image).max()) < 1 << _DARK_BITS
