"""Where this machine keeps copies of what is behind URLs, and by what name a person knows them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

DATASETS = "datasets"
NAMED = re.compile(r"[a-z][a-z0-9+]+%3A%2F%2F[^/\s]*")
_COPY = re.compile(rf"(?<!\S)/\S*?/{DATASETS}/(?={NAMED.pattern})")


def cache_path() -> Path:
    """Where this machine keeps what it has read of URLs: $ADLOC_CACHE, else ~/.cache/adloc."""
    return Path(os.environ.get("ADLOC_CACHE") or "~/.cache/adloc").expanduser().absolute()


def as_name(url: str) -> str:
    """A URL as the name of one folder; `urllib.parse.unquote` gives it back."""
    return quote(url, safe="")


def by_url(text: str) -> str:
    """A text in which every path of a dataset's copy, this machine's or another's, is the URL of what it is a copy of.

    Example:
        >>> by_url("/home/me/.cache/adloc/datasets/s3%3A%2F%2Fbucket%2Fparts/gear/000.png: no mask")
        's3://bucket/parts/gear/000.png: no mask'
    """
    if "%3A%2F%2F" not in text:
        return text
    bare = _COPY.sub("", text.replace(f"{cache_path() / DATASETS}/", ""))
    return NAMED.sub(lambda found: unquote(found[0]), bare)
