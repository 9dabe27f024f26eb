"""Content keys: equal keys mean equal results, so a change of anything that matters changes the key."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def content_key(identity: Sequence[object]) -> str:
    """32 hexadecimal digits of the SHA-256 of the identity's canonical JSON.

    Raises:
        TypeError: something in it is not plain JSON.
        ValueError: a float is not finite.

    Example:
        >>> content_key(["threshold", 1, {"objective": "f1"}])
        'cb32a3a6dd47a8162ca98427670335c7'
    """
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
