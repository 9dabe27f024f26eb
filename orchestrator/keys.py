"""Content keys: equal keys mean equal results, so a change of anything that matters changes the key."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_key(identity: Sequence[object]) -> str:
    """32 hexadecimal digits of the SHA-256 of the identity's canonical JSON.

    Raises:
        TypeError: something in it is not plain JSON.
        ValueError: a float is not finite.

    Example:
        >>> content_key(["threshold", 1, {"objective": "f1"}])
        'cb32a3a6dd47a8162ca98427670335c7'
    """
    return _digest(canonical(identity))


def key_of_lists(*lists: str) -> str:
    """The `content_key` of one list made of several that are canonical JSON already: what many share is encoded once.

    Example:
        >>> key_of_lists(canonical(["threshold"]), canonical([1, {"objective": "f1"}]))
        'cb32a3a6dd47a8162ca98427670335c7'
    """
    return _digest(f"[{','.join(each[1:-1] for each in lists)}]")


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces.

    Raises:
        TypeError: something in it is not plain JSON.
        ValueError: a float is not finite.
    """
    return _ENCODER.encode(value)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
