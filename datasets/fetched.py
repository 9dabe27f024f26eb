"""The files of a dataset behind a URL: listed once, fetched when they are read.

A dataset at s3://bucket/parts stands in this machine's cache as a folder, datasets/s3%3A%2F%2Fbucket%2Fparts, so that
readers list it as any other: folders are those that files are in. A file that was not read yet is a placeholder there:
of its size and time, without its content, and with no right to read it. The folder's name tells where the files come
from, so a path in it is as good on another machine, which fetches into a cache of its own.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from contextlib import suppress
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote
from uuid import uuid4

from adloc.datasets.copies import DATASETS, NAMED, as_name, cache_path
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.objects import Objects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path, PurePath

    from adloc.datasets.objects import Stat

_URL = re.compile(r"([a-z][a-z0-9+]+):/(?=.)(.*)", re.DOTALL)
_MD5 = re.compile(r"[0-9a-f]{32}")
_LISTED_S = 600  # so long what a listing said of a file is not asked again
_DOWNLOADS = 3
_SECOND_NS = 1_000_000_000
_NAMES = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)
_listed: dict[tuple[str, str], tuple[float, Stat]] = {}


def as_url(root: PurePath) -> str | None:
    """The URL that a path was made of, which has lost one of its slashes; None for a path.

    Example:
        >>> from pathlib import PurePosixPath
        >>> as_url(PurePosixPath("s3://bucket/parts"))
        's3://bucket/parts'
        >>> as_url(PurePosixPath("/data/parts")) is None
        True
    """
    found = _URL.fullmatch(root.as_posix())
    return None if found is None else f"{found[1]}://{'/' if found[1] == 'file' else ''}{found[2].lstrip('/')}"


def local_root(root: Path) -> Path:
    """The folder of a dataset on this machine: the root itself with ~ expanded, or of a URL its place in the cache.

    Raises:
        UnreachableError: the URL cannot be listed.
        DatasetError: it has names that no folder of this machine can have.
    """
    url = as_url(root)
    if url is None:
        return root.expanduser()
    folder, there = _folder(url), _list(url)
    try:
        _clear(folder, there)
        for name, known in there.items():
            if not _is_current(folder / name, known):
                _hold_place(folder / name, known)
    except OSError as error:
        if error.errno not in _NAMES:
            raise
        name = str(error.filename2 or error.filename).rpartition("/")[2]
        problem = Problem(
            f"{url}: {name[:80]}: {error.strerror}",
            "this machine keeps a copy under the names of the objects, as files in folders",
            "have no object whose name is that of a folder too, and names of at most 255 bytes between slashes",
        )
        raise DatasetError(problem) from None
    return folder


def _clear(folder: Path, there: Mapping[str, Stat]) -> None:
    """Remove what is not there any more, and then folders that nothing is in: a reader would ask what they are for."""
    wanted = {parent.as_posix() for name in there for parent in PurePosixPath(name).parents}
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            if name not in wanted:
                with suppress(OSError):  # another process holds a place in it
                    path.rmdir()
        elif not path.name.startswith(".") and name not in there:
            path.unlink(missing_ok=True)


def is_fetched(path: Path) -> bool:
    """Whether a path is in some machine's cache of a dataset behind a URL."""
    return "%3A%2F%2F" in str(path) and any(NAMED.fullmatch(part) for part in path.parts)


def read_fetched(path: Path) -> bytes:
    """The bytes of such a file, fetched if this machine has them not, or others than are behind the URL now.

    Raises:
        DatasetError: it is gone, or does not arrive whole.
        UnreachableError: the URL cannot be reached.
    """
    start = next(number for number, part in enumerate(path.parts) if NAMED.fullmatch(part))
    url, name = unquote(path.parts[start]), "/".join(path.parts[start + 1 :])
    here, known = _folder(url) / name, _known(url, name)
    if known is None:
        problem = Problem(f"{url}/{name}: no such file", "a dataset stays as it was listed", "check the dataset again")
        raise DatasetError(problem)
    data = _whole(here, known)
    return _fetch(url, name, here, known) if data is None else data


def _fetch(url: str, name: str, here: Path, known: Stat) -> bytes:
    here.parent.mkdir(parents=True, exist_ok=True)
    aside = here.with_name(f".{uuid4().hex}.partial")
    try:
        for _ in range(_DOWNLOADS):
            if not _objects(url).fetch(name, aside):
                break
            data = aside.read_bytes()
            if len(data) == known.n_bytes and _has_tag(data, known.tag):
                os.utime(aside, ns=(_time_ns(known), _time_ns(known)))
                aside.replace(here)
                return data
    finally:
        aside.unlink(missing_ok=True)
    problem = Problem(
        f"{url}/{name}: what arrives is not the file that was listed ({known.n_bytes} bytes)",
        "a dataset stays as it is while it is read",
        "check the dataset again",
    )
    raise DatasetError(problem)


def _has_tag(data: bytes, tag: str) -> bool:
    """Whether this is the content that a server's tag is of; tags other than an MD5 say nothing."""
    return _MD5.fullmatch(tag) is None or hashlib.md5(data, usedforsecurity=False).hexdigest() == tag


def _whole(path: Path, known: Stat) -> bytes | None:
    """The content of the copy here; None where there is but a placeholder, or an older one."""
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            whole = state.st_mode & stat.S_IRUSR and _is_state(state, known)
            return file.read() if whole else None
    except (FileNotFoundError, PermissionError):
        return None


def _is_current(path: Path, known: Stat) -> bool:
    try:
        return _is_state(path.stat(), known)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_state(state: os.stat_result, known: Stat) -> bool:
    """Disks that keep whole seconds alone, and copies of earlier versions, are held to those."""
    time_ns, whole_ns = state.st_mtime_ns, int(known.changed_s) * _SECOND_NS
    return state.st_size == known.n_bytes and time_ns in (_time_ns(known), whole_ns)


def _time_ns(known: Stat) -> int:
    """When it was written, to the second that servers tell, and in the digits after it which content it is: its tag."""
    digest = int.from_bytes(hashlib.sha256(known.tag.encode()).digest()[:4])
    return (
        int(known.changed_s) * _SECOND_NS + (digest % 999_999 + 1) * 1000
    )  # in microseconds, for disks that keep those


def _hold_place(path: Path, known: Stat) -> None:
    """Put a placeholder where a file will be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid4().hex}.partial")
    aside.touch(mode=0o600)
    os.truncate(aside, known.n_bytes)
    os.utime(aside, ns=(_time_ns(known), _time_ns(known)))
    aside.chmod(0)
    aside.replace(path)


def _list(url: str) -> dict[str, Stat]:
    """Every file by its name; those that would lead out of the dataset's folder are none of it."""
    found = {
        name: known
        for name, known in _objects(url).list().items()
        if not name.endswith("/") and not {"", ".", ".."} & set(name.split("/")) and "\0" not in name
    }
    now = time.monotonic()
    _listed.update({(url, name): (now, known) for name, known in found.items()})
    return found


def _known(url: str, name: str) -> Stat | None:
    """What is known of a file: by a listing of this process that is not old, else asked now."""
    listed_s, known = _listed.get((url, name), (float("-inf"), None))
    return known if time.monotonic() - listed_s < _LISTED_S else _objects(url).stat(name)


def _folder(url: str) -> Path:
    return cache_path() / DATASETS / as_name(url)


@cache
def _objects(url: str) -> Objects:
    return Objects(url)
