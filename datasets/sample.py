"""One image of a dataset, where its pixels come from, and what is known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GOOD = "good"
UNKNOWN = "unknown"  # the defect type of an image of which nobody here knows whether it has one
Part = Literal["train", "validation", "test"]
Origin = Literal["train", "test", "undivided", "private"]


@dataclass(frozen=True, slots=True)
class Picture:
    """Decoded pixels with the defect mask, at the image's own size.

    Attributes:
        image: uint8 (height, width, 3), RGB; grey images have three equal channels.
        mask: bool (height, width), True on defect pixels; all False on a normal image. None where nobody drew
            one: the image is anomalous, and nothing says where.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None

    def fingerprint(self) -> Fingerprint:
        """Hashes of the pixels and of the mask's bytes, one a pixel: for a source without files."""
        drawn = b"" if self.mask is None or not self.mask.any() else self.mask.tobytes()
        mask_sha256 = hashlib.sha256(drawn).hexdigest() if drawn else ""
        height, width = self.image.shape[:2]
        return Fingerprint(hashlib.sha256(self.image.tobytes()).hexdigest(), mask_sha256, height, width)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of an image's content.

    Attributes:
        sha256: of the image file's bytes, or of the pixels where there is no file. Hexadecimal.
        mask_sha256: the same of the mask; empty for a normal image, and where no mask was drawn.
        height: in pixels, as it is read.
        width: in pixels, as it is read.
        pixels: hash of the decoded pixels, the same whatever the file's format; empty where nothing was decoded.
        look: 256 bits, hexadecimal, that change little when the image is compressed or resized; or empty.
    """

    sha256: str
    mask_sha256: str
    height: int
    width: int
    pixels: str = ""
    look: str = ""


@runtime_checkable
class ImageSource(Protocol):
    """Where pixels come from: files, or a generator. Small, hashable and picklable."""

    @property
    def location(self) -> str:
        """Where a person finds the image: a path, or the generator's own name for it. No two images have the same."""
        ...

    def stamp(self) -> str | None:
        """Say which state of what the pixels come from this is, without reading them.

        A fingerprint is remembered by the stamp: equal stamps, equal pixels and masks, of whatever images. Files have
        their absolute paths, sizes and times of change (`adloc.datasets.stamp.stamp_files`); what is generated has
        its name, all parameters and the version of the code that draws it.

        Returns:
            None where it cannot be told (a file is gone, or was changed just now): the image is then hashed again.
        """
        ...

    def read(self) -> Picture:
        """Decode image and mask.

        Raises:
            DatasetError: the file is gone, or does not decode.
        """
        ...

    def fingerprint(self) -> Fingerprint:
        """Hash image and mask; decodes them fully, so that a damaged file is found here.

        Raises:
            DatasetError: the file is gone, or does not decode, or mask and image differ in size.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of one category.

    Attributes:
        category: "bottle".
        name: path inside the category, with forward slashes: "test/broken_large/003.png". It is the image's
            identity in the split and in MVTec-Shift, whatever the machine and the dataset's root.
        origin: what the layout offers it for, before any split; "undivided" where the layout does not say; "private"
            for images without labels, which no split takes.
        defect: "good", or the defect type: "broken_large".
        source: where the pixels come from.
        mask_known: False for an anomalous image without a mask, which is not the same as an empty one.
        domain: what it was taken under, where the dataset says so: "illumination"; for the real shifts.
        group: the object, board or batch that it shows, where the dataset says so.
        part: the published part, where there is one.
    """

    category: str
    name: str
    origin: Origin
    defect: str
    source: ImageSource
    mask_known: bool = True
    domain: str | None = None
    group: str | None = None
    part: Part | None = None

    @property
    def identity(self) -> str:
        """ "bottle/test/broken_large/003.png": unique in the dataset."""
        return f"{self.category}/{self.name}"

    @property
    def label(self) -> Literal[0, 1]:
        """1 for an anomalous image, 0 for a normal one; of a private image it means nothing, and nothing reads it."""
        return 0 if self.defect == GOOD else 1
