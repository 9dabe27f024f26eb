"""Pixels and masks out of image files, by Pillow.

What is decided here, once for all files:

- An EXIF orientation is applied to an image, so that a method sees it as a person does; a mask is taken as it is
  stored and must fit the image either way. Embedded colour profiles are not applied; transparency is dropped; of
  several frames the first is read.
- 16-bit grey is scaled by the range of its type (65535 becomes 255), never by the image's own, which would give
  every image another contrast. Floating point within [0, 1] is taken as that range; only what leaves it is scaled
  by its own smallest and largest value, and the check says so.
- A mask is binarised at half of its range. Where no value reaches half, the values are labels (0, 1, 2, ...) and
  all but zero is defect.
"""

from __future__ import annotations

import stat
import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.fetched import is_fetched, read_fetched

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".jp2")
FORMATS_IN_WORDS = "png, jpg, bmp, tif, webp or jp2"
LOSSY_SUFFIXES = (".jpg", ".jpeg")
UPRIGHT = 1
MOST_BYTES = 2**31  # of a file; the most pixels that Pillow decodes take a third of it in the largest of these formats

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "JPEG2000")
_RULE = f"every image and every mask must be a complete {FORMATS_IN_WORDS} file"
_ORIENTATION = 0x0112
# What Pillow was seen to raise on damaged bytes of these formats, and the families they belong to.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error, zlib.error)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        DatasetError: it is gone, cannot be read, is no regular file (a pipe that is called x.png would be waited for),
            or larger than any image.
    """
    try:
        if is_fetched(path):
            return read_fetched(path)
        state = path.stat()
        if stat.S_ISREG(state.st_mode) and state.st_size <= MOST_BYTES:
            return path.read_bytes()
        what = f"has {state.st_size / 1e9:.1f} GB" if stat.S_ISREG(state.st_mode) else "is a folder, pipe or device"
        problem = Problem(f"{path}: {what}", _RULE, "put a file of one image there")
    except FileNotFoundError:
        problem = Problem(f"{path}: no such file", _RULE, "restore the file, or check the dataset again")
    except OSError as error:
        problem = Problem(f"{path}: cannot be read ({error.strerror})", _RULE, "make the file readable")
    raise DatasetError(problem)


def decode(data: bytes, path: Path) -> Image:
    """Return the fully decoded image of a file's bytes, in the mode in which it is stored.

    Args:
        data: the file's bytes.
        path: where they come from, for the message.

    Raises:
        DatasetError: the bytes are no such image, end early, or hold floating point that is not finite.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
        image.load()
    except UnidentifiedImageError:
        reason = f"not a {FORMATS_IN_WORDS} inside" if data else "the file is empty"
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        reason = str(error) or type(error).__name__
    else:
        if image.mode == "F":
            _require_finite(image, path)
        return image
    remedy = "export the file again from where it comes from"
    raise DatasetError(Problem(f"{path}: does not decode ({reason})", _RULE, remedy))


def orientation(image: Image) -> int:
    """Return the EXIF orientation of a decoded image, 1 (upright) to 8."""
    try:
        value = image.getexif().get(_ORIENTATION, UPRIGHT)
    except _DAMAGE:
        return UPRIGHT
    return value if isinstance(value, int) and UPRIGHT <= value <= 8 else UPRIGHT  # noqa: PLR2004


def to_rgb(image: Image, path: Path) -> NDArray[np.uint8]:
    """Return the colours of a decoded image, turned upright, uint8 (height, width, 3).

    Raises:
        DatasetError: a pixel type without an agreed range (32-bit or signed integers).
    """
    import numpy as np
    from PIL import ImageOps

    if orientation(image) != UPRIGHT:
        image = ImageOps.exif_transpose(image)
    if image.mode == "I":
        raise DatasetError(
            Problem(
                f"{path}: pixels of type 32-bit or signed integer",
                "images must have 8 bits a channel, 16-bit grey, or floating point: other types have no agreed range",
                "convert the image to 8 or 16 bits",
            )
        )
    if image.mode == "F":
        return _grey(_float_levels(np.asarray(image)))
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        return _grey(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("P", "PA"):
        # By way of RGBA: Pillow warns when it drops a palette's transparency.
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def to_mask(image: Image) -> NDArray[np.bool_]:
    """Return where a decoded mask marks a defect, bool (height, width); see the module for what counts.

    A palette is read by its colours, of colours the strongest channel counts; transparency is ignored.
    """
    import numpy as np

    levels, half = _mask_levels(image)
    return np.asarray(levels >= half if levels.size and levels.max() >= half else levels != 0)


def is_soft(image: Image) -> bool:
    """Say whether binarising a decoded mask at half of its range drops values that are not zero."""
    levels, half = _mask_levels(image)
    return bool(levels.size and levels.max() >= half and ((levels > 0) & (levels < half)).any())


def _mask_levels(image: Image) -> tuple[NDArray[np.float32], float]:
    """Return the values of a mask (height, width), and half of the range that they are stored in."""
    import numpy as np

    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    stored = np.asarray(image)
    values = stored.astype(np.float32)
    if values.ndim == 3:  # noqa: PLR2004  # rows, columns, channels
        n_colours = 1 if image.mode in ("LA", "La") else 3
        values = values[:, :, :n_colours].max(axis=2)
    if stored.dtype == np.bool_:
        return values, 0.5
    if stored.dtype.kind == "f":
        largest = float(values.max()) if values.size else 1.0
        return values, max(largest, 1.0) / 2
    full = 255 if stored.dtype == np.uint8 else 65535
    return values, (full + 1) / 2


def _require_finite(image: Image, path: Path) -> None:
    import numpy as np

    if not np.isfinite(np.asarray(image)).all():
        raise DatasetError(
            Problem(
                f"{path}: some pixels are not a number, or infinite",
                "every pixel of an image and of a mask must have a finite value",
                "export the file again, with these pixels filled in",
            )
        )


def _float_levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Floating point as 0 to 255: [0, 1] as it is, anything else by its own range."""
    import numpy as np

    low, high = float(values.min()), float(values.max())
    if not within_unit(low, high):
        values = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return np.rint(values * 255).astype(np.uint8)


def within_unit(low: float, high: float) -> bool:
    """Say whether floating-point values from low to high lie in [0, 1], the agreed range of such images."""
    return low >= 0 and high <= 1


def _grey(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import numpy as np

    return np.repeat(levels[:, :, None], 3, axis=2)
