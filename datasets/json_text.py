"""JSON that somebody else has written: whatever is wrong with it is a ValueError."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: bytes | str) -> Any:  # noqa: ANN401  # JSON
    """What the text says.

    Raises:
        ValueError: it is no JSON, or nested too deep.

    Example:
        >>> parse_json('{"score": [1, 2.5, null]}')
        {'score': [1, 2.5, None]}
    """
    try:
        return json.loads(text)
    except RecursionError:
        message = "it is nested too deep to be read"
        raise ValueError(message) from None
