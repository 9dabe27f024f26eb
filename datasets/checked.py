"""JSON with a checksum of its own: a flipped bit is found, where most of them would leave other, valid JSON.

The checksum is the first key of the object, over every byte after it. A file of an earlier version has none and is
read as it is; it has one as soon as it is written again.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD, _TAIL = b'{"checksum": "', b'",'
_N_DIGITS = 8
_NEAR = 2  # bytes of the head that differ: a head that was damaged, and not another key


class DamagedError(ValueError):
    """A file is not what was written."""


def to_checked(value: Mapping[str, object], *, indent: int | None = None) -> str:
    """A JSON object, of at least one key, with its checksum.

    Example:
        >>> to_checked({"n": 1})
        '{"checksum": "02bbd3d2", "n": 1}'
        >>> from_checked(to_checked({"n": 1}).encode())
        b'{ "n": 1}'
    """
    return add_checksum(json.dumps(value, indent=indent, ensure_ascii=False))


def add_checksum(text: str) -> str:
    """The same of an object that is JSON already."""
    rest = text[1:] if text[1:2].isspace() else f" {text[1:]}"
    return _head(rest.encode()).decode() + rest


def from_checked(data: bytes) -> bytes:
    """The object without its checksum, as JSON; as it is where it has none.

    Raises:
        DamagedError: it is not what was written.
    """
    if not data.startswith(_HEAD):
        if len(data) >= len(_HEAD) and sum(a != b for a, b in zip(data, _HEAD, strict=False)) <= _NEAR:
            raise DamagedError("the name of the checksum is damaged")
        return data
    n_head = len(_HEAD) + _N_DIGITS + len(_TAIL)
    rest = data[n_head:]
    if data[:n_head] != _head(rest):
        raise DamagedError("the checksum is that of other content")
    return b"{" + rest


def crc32_of(content: bytes) -> str:
    """The checksum, in hexadecimal digits.

    Example:
        >>> crc32_of(b"123456789")
        'cbf43926'
    """
    return f"{zlib.crc32(content):0{_N_DIGITS}x}"


def _head(rest: bytes) -> bytes:
    return _HEAD + crc32_of(rest).encode() + _TAIL
