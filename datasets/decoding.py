"""Pixels and masks out of image files, by Pillow.

What is decided here, once for all files:

- Pixels are taken as they are stored. An EXIF orientation is not applied, because masks are drawn on the
  stored grid; embedded colour profiles are not applied; transparency is dropped; of several frames the first
  is read.
- 16-bit grey is scaled by its full range (65535 becomes 255), never by the image's own range, which would
  give every image another contrast.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

from adloc.datasets.errors import DatasetError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
LOSSY_SUFFIXES = (".jpg", ".jpeg")

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_RULE = "every image and every mask must be a complete png, jpg, bmp or tif file"
# What Pillow was seen to raise on damaged bytes of these formats, and the families they belong to.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, struct.error, zlib.error)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        DatasetError: it is gone or cannot be read.
    """
    try:
        return path.read_bytes()
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
        DatasetError: the bytes are no such image, or end early.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
        image.load()
    except UnidentifiedImageError:
        reason = "not a png, jpg, bmp or tif inside" if data else "the file is empty"
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        reason = str(error) or type(error).__name__
    else:
        return image
    raise DatasetError(Problem(f"{path}: does not decode ({reason})", _RULE, "replace or delete the file"))


def to_rgb(image: Image, path: Path) -> NDArray[np.uint8]:
    """Return the colours of a decoded image, uint8 (height, width, 3).

    Raises:
        DatasetError: a pixel type without an agreed range (floating point, 32-bit or signed integers).
    """
    import numpy as np

    if image.mode in ("I", "F"):
        raise DatasetError(
            Problem(
                f"{path}: pixels of type {'float' if image.mode == 'F' else '32-bit or signed integer'}",
                "images must have 8 bits a channel, or 16-bit grey: other types have no agreed range",
                "convert the image to 8 or 16 bits",
            )
        )
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        grey = ((wide * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("P", "PA"):
        # By way of RGBA: Pillow warns when it drops a palette's transparency.
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def to_mask(image: Image) -> NDArray[np.bool_]:
    """Return where a decoded mask is not zero, bool (height, width).

    A palette is read by its colours, colour by any channel that is not zero; transparency is ignored.
    """
    import numpy as np

    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    marked: NDArray[np.bool_] = np.asarray(image) != 0
    if marked.ndim == 2:  # noqa: PLR2004  # rows and columns: one channel
        return marked
    n_colours = 1 if image.mode in ("LA", "La") else 3
    return np.asarray(marked[:, :, :n_colours].any(axis=2), dtype=np.bool_)
