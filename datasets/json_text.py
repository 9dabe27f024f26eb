"""JSON that somebody else has written: whatever is wrong with it is a ValueError."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json


def parse_json(text: bytes | str) -> Any:  # noqa: ANN401  # JSON
    """What the text says.

    Raises:
        ValueError: it is no JSON, or nested some 200 deep; thousands end the standard library's reader in a
            RecursionError.

    Example:
        >>> parse_json('{"score": [1, 2.5, null]}')
        {'score': [1, 2.5, None]}
    """
    return from_json(text)
