"""Files behind a URL by the SHA-256 of their content, `files/<kk>/<sha256>`: each is kept once and never changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

from adloc.datasets.errors import Problem
from adloc.datasets.objects import UnreachableError
from adloc.keys import hash_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adloc.datasets.objects import Objects

FOLDER = "files"
_AT_A_TIME = 8
_DOWNLOADS = 3


class Files:
    """The files of one workspace."""

    def __init__(self, objects: Objects) -> None:
        """Behind this URL."""
        self._objects = objects
        self._there: set[str] = set()

    def send(self, paths: Mapping[str, Path]) -> None:
        """Have these files there, by their SHA-256."""
        new = {sha256: path for sha256, path in paths.items() if sha256 not in self._there}
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(self._send, new.items()))
        self._there |= new.keys()

    def fetch(self, folder: Path, files: Mapping[str, str]) -> None:
        """Bring files into a folder, each whole or not at all.

        Args:
            folder: where they go.
            files: SHA-256 by name relative to the folder.

        Raises:
            UnreachableError: one is not there, or is not what was written.
        """
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda each: self._fetch(folder / each[0], each[1]), files.items()))

    def _send(self, item: tuple[str, Path]) -> None:
        sha256, path = item
        stat = self._objects.stat(name_of(sha256))
        if stat is None or stat.n_bytes != path.stat().st_size:
            self._objects.send(name_of(sha256), path)

    def _fetch(self, path: Path, sha256: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
        try:
            for _ in range(_DOWNLOADS):
                if self._objects.fetch(name_of(sha256), aside) and hash_file(aside) == sha256:
                    aside.replace(path)
                    return
        finally:
            aside.unlink(missing_ok=True)
        problem = Problem(
            f"{self._objects.url}/{name_of(sha256)}: {path.name} is not there, or damaged",
            "a record's files are kept under the SHA-256 of their content",
            "restore the object from a copy of the bucket, or set its record aside: `adloc store verify` names it",
        )
        raise UnreachableError(problem)


def name_of(sha256: str) -> str:
    """The object's."""
    return f"{FOLDER}/{sha256[:2]}/{sha256}"
