"""A picture out of the bytes that somebody sends: of any content, so bounded before it is decoded."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from adloc.datasets.decoding import FORMATS_IN_WORDS, decode, read_bytes, to_rgb
from adloc.datasets.errors import DatasetError, Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_BYTES = 100_000_000
MOST_PIXELS = 100_000_000  # 300 MB decoded, and about twice that while it is


def read_picture(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an image: uint8 (height, width, 3), as a study reads its images.

    Args:
        data: the bytes of a file.
        name: for messages.

    Raises:
        DatasetError: no such image, a broken one, or one beyond the bounds.
    """
    _check_bounds(data, name)
    return to_rgb(decode(data, Path(name)), Path(name))


def read_picture_file(path: Path) -> NDArray[np.uint8]:
    """Decode an image file in the same way; its size is looked at before a byte of it is read.

    Raises:
        DatasetError: as `read_picture`; it cannot be read, or is a folder, a pipe or a device.
    """
    try:
        status = path.stat()
    except OSError:
        return read_picture(read_bytes(path), str(path))  # which says why not
    if not S_ISREG(status.st_mode):
        rule = f"an image is a {FORMATS_IN_WORDS} file"
        raise DatasetError(Problem(f"{path}: not a file", rule, "name the image itself"))
    if status.st_size > MOST_BYTES:
        raise _too_large(f"{path}: {status.st_size / 1e6:.0f} MB")
    return read_picture(read_bytes(path), str(path))


def problem_of(error: DatasetError) -> str:
    """The first problem in one line: what was found, and the rule."""
    first = error.problems[0]
    return f"{first.found}: {first.rule}"


def _check_bounds(data: bytes, name: str) -> None:
    """Refuse what would take too much memory; the size is read from the header, before any pixel is."""
    from PIL import Image

    if len(data) > MOST_BYTES:
        raise _too_large(f"{name}: {len(data) / 1e6:.0f} MB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = Image.open(BytesIO(data)).size
    except Image.DecompressionBombError as error:
        raise _too_large(f"{name}: {error}") from None
    except Exception:  # noqa: BLE001  whatever Pillow raises on foreign bytes: decoding says what is wrong
        return
    if width * height > MOST_PIXELS:
        raise _too_large(f"{name}: {width} x {height} pixels")


def _too_large(found: str) -> DatasetError:
    most = f"{MOST_BYTES / 1e6:.0f} MB and {MOST_PIXELS / 1e6:.0f} million pixels"
    rule = f"an image may have at most {most}, as {FORMATS_IN_WORDS}"
    return DatasetError(Problem(found, rule, "resize it, or cut it into parts"))
