"""An image file with its mask files: its picture, the identity of its content, and what is odd about it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adloc.datasets.copies import by_url
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
from adloc.datasets.polygons import SUFFIX, read_labelme
from adloc.datasets.sample import Fingerprint, Picture
from adloc.datasets.stamp import stamp_files

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from adloc.datasets.defect_kinds import DefectKind
    from adloc.datasets.polygons import Outline

_SIZE_RULE = "a mask must have its image's height and width"
_DARK_BITS = 12  # a 16-bit image whose values all fit into as many comes out as good as black


@dataclass(frozen=True, slots=True, eq=False)
class Defect:
    """What one mask of an image marks.

    Attributes:
        mask: bool (height, width), True on the defect; at least one pixel.
        kind: what the dataset says of it.
    """

    mask: NDArray[np.bool_]
    kind: DefectKind


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image file with its mask files, if it has any.

    Attributes:
        image_path: of a format that `decoding` reads.
        mask_path: the mask, an image or a labelme file; None for a normal image, and for an anomalous one without any.
        further_masks: of the same image, where each defect has a file of its own (MVTec LOCO).
        mask_known: False for an anomalous image without a mask.
        kinds: of the defects that the masks mark, by their pixel values; empty where the dataset says nothing of them.
        outline: what is drawn on the image in a file for many, which is then `mask_path`.
    """

    image_path: Path
    mask_path: Path | None = None
    further_masks: tuple[Path, ...] = ()
    mask_known: bool = True
    kinds: tuple[DefectKind, ...] = ()
    outline: Outline | None = None

    @property
    def location(self) -> str:
        """The image's path, or its URL."""
        return by_url(str(self.image_path))

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
            mask |= self._drawn(path, image, pixels).mask
        return Picture(pixels, mask)

    def read_defects(self) -> tuple[Defect, ...]:
        """Decode every mask by itself: sPRO saturates each defect by its own area; one that marks nothing is left out.

        Raises:
            DatasetError: a file is gone or does not decode, mask and image differ in size, or a mask's value is of
                none of `kinds`.
        """
        image, pixels = self._decoded(read_bytes(self.image_path))
        found = []
        for path in self.mask_paths:
            mask = self._fitting(decode(read_bytes(path), path), path, image, pixels)
            kind = self._kind_of(mask, path)
            if kind is not None:
                found.append(Defect(to_mask(mask), kind))
        return tuple(found)

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
        drawn = [self._drawn(path, image, pixels) for path in self.mask_paths]
        hashes = [hashlib.sha256(turned + each.identity).hexdigest() for each in drawn]
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
                drawn = self._drawn(path, *(decoded or (None, None)))
                found.is_soft |= drawn.is_soft
                shares.append(float(drawn.mask.mean()))
            except DatasetError as error:
                found.errors += error.problems
        found.marks_nothing = bool(shares) and max(shares) == 0
        found.marks_all = bool(shares) and max(shares) == 1
        return found

    def stamp(self) -> str | None:
        """Say which state of which files this is; None while that cannot be told."""
        return stamp_files((self.image_path, *self.mask_paths))

    def _decoded(self, data: bytes) -> tuple[Image, NDArray[np.uint8]]:
        image = decode(data, self.image_path)
        return image, to_rgb(image, self.image_path)

    def _drawn(self, path: Path, image: Image | None, pixels: NDArray[np.uint8] | None) -> _Drawn:
        """What a mask file marks on the image; its size is not looked at where the image does not decode."""
        if self.outline is None and path.suffix.lower() != SUFFIX:
            data = read_bytes(path)
            mask = decode(data, path)
            if image is not None and pixels is not None:
                mask = self._fitting(mask, path, image, pixels)
            if self.kinds:
                self._kind_of(mask, path)
            soft = is_soft(mask)
            return _Drawn(to_mask(mask), (b"half\0" if soft else b"") + data, is_soft=soft)
        outline = self.outline or read_labelme(path)
        if pixels is not None and (outline.height, outline.width) != pixels.shape[:2]:
            found = f"{path}: drawn on {outline.height} x {outline.width}, {self.image_path} is"
            found = f"{found} {pixels.shape[0]} x {pixels.shape[1]}"
            raise DatasetError(Problem(found, _SIZE_RULE, "draw the polygons anew on the image as it is"))
        return _Drawn(outline.mask(), outline.identity)

    def _kind_of(self, mask: Image, path: Path) -> DefectKind | None:
        """The kind of defect that a mask marks; None when it marks nothing."""
        import numpy as np

        values = [value for value in np.unique(np.asarray(mask.convert("L"))).tolist() if value]
        kinds = [kind for kind in self.kinds if values == [kind.pixel_value]]
        if values and not kinds:
            known = ", ".join(str(kind.pixel_value) for kind in self.kinds)
            found = f"{path}: marks with the values {', '.join(str(value) for value in values)}"
            rule = f"a mask marks one defect with its kind's pixel_value: {known or 'none is known'}"
            raise DatasetError(Problem(found, rule, "unpack the category again, its defects_config.json as well"))
        return kinds[0] if kinds else None

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


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """A mask as it is read: bool (height, width), what its hash is of, and whether binarising it dropped values."""

    mask: NDArray[np.bool_]
    identity: bytes
    is_soft: bool = False


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
