"""What is kept behind a workspace's URL: counted, collected down to a cap, held against its hashes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

from adloc.datasets.objects import ReadOnlyError
from adloc.keys import hash_file
from adloc.remote.files import FOLDER as FILES
from adloc.remote.results import FOLDER as RESULTS
from adloc.remote.versions import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.datasets.objects import Objects, Stat

_AT_A_TIME = 8
_SETTLED_S = 24 * 3600.0  # a file that no list names may be named by one that is being written


@dataclass(frozen=True, slots=True)
class Kept:
    """An object of the store: its name, the kind and key of its result, its bytes."""

    name: str
    kind: str
    key: str
    n_bytes: int


def results(objects: Objects) -> Iterator[Kept]:
    """Every result, those that were written longest ago first."""
    for name, stat in sorted(objects.list(RESULTS).items(), key=lambda each: each[1].changed_s):
        _, kind, _, key, _ = name.split("/")
        yield Kept(name, kind, key, stat.n_bytes)


def collect(objects: Objects, cap_bytes: float) -> list[Kept]:
    """Remove the results that were written longest ago until at most `cap_bytes` remain; return those removed.

    All objects of a key go together: what is left of a result must not pass for it. Files that no record and no study
    names any more go too.
    """
    kept = list(results(objects))
    by_key: dict[tuple[str, str], list[Kept]] = {}
    for each in kept:
        by_key.setdefault((each.kind, each.key), []).append(each)
    total, gone = sum(each.n_bytes for each in kept), list[Kept]()
    for group in by_key.values():
        if total <= cap_bytes:
            break
        gone += group
        total -= sum(each.n_bytes for each in group)
    gone += _unnamed(objects)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        list(pool.map(objects.remove, [each.name for each in gone]))
    return gone


def verify(objects: Objects) -> list[str]:
    """Read every object that is named by its SHA-256; the names of those that are something else.

    A result that is damaged is removed, and computed again when it is needed, unless these credentials may only read;
    files of records and weights are left.
    """
    names = [name for folder in (RESULTS, FILES, "weights") for name in objects.list(folder)]
    with TemporaryDirectory() as aside, ThreadPoolExecutor(_AT_A_TIME) as pool:
        sound = pool.map(lambda name: _is_sound(objects, name, Path(aside)), names)
        damaged = [name for name, is_sound in zip(names, sound, strict=True) if not is_sound]
    for name in damaged:
        if name.startswith(f"{RESULTS}/"):
            with suppress(ReadOnlyError):
                objects.remove(name)
    return damaged


def _is_sound(objects: Objects, name: str, aside: Path) -> bool:
    parts = name.split("/")
    sha256 = {RESULTS: lambda: parts[-1].split(".")[-2], FILES: lambda: parts[-1]}.get(parts[0], lambda: parts[1])()
    path = aside / uuid4().hex
    try:
        return not objects.fetch(name, path) or hash_file(path) == sha256  # what is gone meanwhile is not damaged
    finally:
        path.unlink(missing_ok=True)


def _unnamed(objects: Objects) -> list[Kept]:
    """Files that no list names, and that were written a day before the last object was."""
    files = objects.list(FILES)
    lists = [name for name in objects.list("studies") if number_of(name) and "/lease/" not in name]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        contents = [json.loads(data) for data in pool.map(objects.read, lists) if data is not None]
    named = {sha256 for content in contents for sha256 in content.values()}
    newest_s = max((stat.changed_s for stat in files.values()), default=0.0)
    return [
        Kept(name, FILES, name, stat.n_bytes)
        for name, stat in files.items()
        if name.rpartition("/")[2] not in named and _is_old(stat, newest_s)
    ]


def _is_old(stat: Stat, newest_s: float) -> bool:
    return newest_s - stat.changed_s > _SETTLED_S
