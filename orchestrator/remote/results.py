"""Stage results behind a URL, read and written through the store of this machine.

A result is one or more objects, `store/<kind>/<kk>/<key>/<name>`, each a safetensors file that is never changed. The
name ends in the SHA-256 of the bytes; before it stand the arrays where the object holds some of a result's alone. What
is kept under a key is what all of its objects hold together, the furthest of those that reach differently far: so
several machines may write one key at a time, and nothing of theirs is lost.
"""

from __future__ import annotations

import fcntl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote
from uuid import uuid4

from adloc.computing.store import SUFFIX, DamagedError, Probe, Store, cap_bytes, read_result
from adloc.datasets.objects import ReadOnlyError
from adloc.keys import hash_file
from adloc.methods.backbone import WeightsFile
from adloc.methods.errors import MethodError
from adloc.remote.forgotten import Forgotten

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from adloc.datasets.objects import Objects
    from adloc.methods.detector import Result
    from adloc.planning.sources import Network

FOLDER, WEIGHTS, PROBES = "store", "weights", "probes"
MEMORY = "memory"  # beside store/ and studies/ on this machine: what both sides had when they were last the same
WHOLE = "whole"
FRESH_S = 1.0  # a listing that is older is made anew before a result is taken to be absent
TIDY_S, IN_USE_S = 600, 3600  # of this machine's copies, how often they are held to their cap; those used lately stay
_AT_A_TIME = 8  # objects on their way
_DOWNLOADS = 3  # of an object whose bytes are not those that were written


@dataclass(slots=True)
class _Listing:
    """The objects of some keys: names by key, and when that was (seconds of a clock that only runs forward)."""

    names: dict[str, set[str]]
    time_s: float


class SharedStore(Store):
    """The store of this machine, before that which is behind the URL. What is here was there first."""

    def __init__(self, root: Path, objects: Objects) -> None:
        """Keep copies under `root`."""
        super().__init__(root)
        self._objects = objects
        self._listings: dict[str, _Listing] = {}
        self._joined: dict[tuple[str, str], set[str]] = {}  # objects that the copy of a key holds all of
        self._tidied_s = time.monotonic()
        self._forgotten = Forgotten(objects, root.parent / MEMORY / "forgotten.json")

    @property
    def address(self) -> str:
        """The workspace's URL."""
        return self._objects.url

    def get(self, kind: str, key: str, enough: Callable[[Result], bool] = lambda _: True) -> Result | None:
        """See `Store.get`; what this machine lacks is fetched, and joined with what it has."""
        kept = super().get(kind, key, enough)
        if kept is not None or not self._fetch(kind, key, enough):
            return kept
        return super().get(kind, key, enough)

    def fetch(self, kind: str, keys: Collection[str], enough: Callable[[Result], bool]) -> None:
        """See `Store.fetch`."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda key: self.get(kind, key, enough), keys))

    def bring(self, kind: str, keys: Collection[str]) -> None:
        """See `Store.bring`; an object that is damaged there is the result here, and stays there."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda key: self._fetch(kind, key, lambda _: True, as_it_is=True), keys))

    def has(self, kind: str, key: str, arrays: Collection[str]) -> bool:
        """See `Store.has`; nothing but names is read of what this machine lacks."""
        wanted = set(arrays)
        kept = self._kept(kind, key)
        found = set() if kept is None else set(kept.arrays)
        for name in () if found >= wanted else self._names(kind, key):
            found |= _arrays(name)
        return found >= wanted

    def keys(self, kind: str) -> set[str]:
        """See `Store.keys`; those behind the URL too, from one listing."""
        return super().keys(kind) | {name.split("/")[-2] for name in self._objects.list(f"{FOLDER}/{kind}")}

    def put(self, kind: str, key: str, result: Result) -> None:
        """Keep a result behind the URL, then here, in the place of one of a smaller extent."""
        self._send(kind, key, result, WHOLE)
        self._put(kind, key, result)

    def add(self, kind: str, key: str, result: Result) -> None:
        """See `Store.add`; behind the URL the arrays are an object of their own."""
        self._send(kind, key, result, "+".join(quote(name, safe="") for name in sorted(result.arrays)))
        super().add(kind, key, result)

    def remove(self, kind: str, key: str) -> None:
        """Forget a result, here and behind the URL; copies of other machines are let go of when it is ordered there."""
        super().remove(kind, key)
        self._listings.pop(_shard(kind, key), None)
        for name in self._names_now(kind, key):
            self._objects.remove(f"{_folder(kind, key)}/{name}")
        self._listings.pop(_shard(kind, key), None)
        self._joined.pop((kind, key), None)

    def forget(self, results: Collection[tuple[str, str]]) -> None:
        """See `Store.forget`; other machines let go of their copies when they open the store."""
        while not self._forgotten.tell(results):
            self.let_go()
        super().forget(results)

    def let_go(self) -> None:
        """Remove the copies here of what other machines have forgotten since; see `Store.forget`."""
        for kind, key in self._forgotten.news():
            super().remove(kind, key)

    def recall(self, kind: str, keys: Collection[str]) -> None:
        """See `Store.recall`: results that were collected behind the URL, or are to be computed afresh."""
        for key in keys:
            if self.path(kind, key).exists() and not self._names_now(kind, key):
                super().remove(kind, key)
                self._joined.pop((kind, key), None)

    @contextmanager
    def probe(self) -> Iterator[Probe]:
        """See `Store.probe`."""
        mark = Probe(self.address, f"{PROBES}/{uuid4().hex}")
        self._objects.write(mark.name, b"")
        try:
            yield mark
        finally:
            self._objects.remove(mark.name)

    def sees(self, mark: Probe) -> bool:
        """See `Store.sees`."""
        return self._objects.stat(mark.name) is not None

    def weights(self, network: Network) -> WeightsFile:
        """See `Store.weights`; where this machine has no such file, a copy of the driver's, by its SHA-256."""
        try:
            return super().weights(network)
        except MethodError:
            copy = self._copy_of_weights(network.sha256)
            if copy is None:
                raise
            return WeightsFile(copy, copy.name)

    def share_weights(self, files: Mapping[str, Path]) -> None:
        """See `Store.share_weights`; those that are there are not sent again."""
        for sha256, path in files.items():
            if not self._objects.list(f"{WEIGHTS}/{sha256}"):
                self._objects.send(f"{WEIGHTS}/{sha256}/{path.name}", path)

    def _copy_of_weights(self, sha256: str) -> Path | None:
        folder = self.root.parent / WEIGHTS / sha256
        found = [path for path in folder.glob("*") if not path.name.startswith(".")]
        if found:
            return found[0]
        for name in self._objects.list(f"{WEIGHTS}/{sha256}"):
            path = folder / name.rpartition("/")[2]
            if self._download(name, path, sha256):
                return path
        return None

    def _send(self, kind: str, key: str, result: Result, what: str) -> None:
        with self._written(kind, key, result) as path:
            name = f"{what}.{hash_file(path)}{SUFFIX}"
            self._objects.send(f"{_folder(kind, key)}/{name}", path)
        self._joined.setdefault((kind, key), set()).add(name)
        listing = self._listings.get(_shard(kind, key))
        if listing is not None:
            listing.names.setdefault(key, set()).add(name)
        self._tidy()

    def _fetch(self, kind: str, key: str, enough: Callable[[Result], bool], *, as_it_is: bool = False) -> bool:
        """Join what is behind the URL with what is here; whether there was anything new."""
        path = self.path(kind, key)
        if not path.exists():
            self._joined.pop((kind, key), None)
        joined, damaged = self._joined.setdefault((kind, key), set()), set[str]()
        new = sorted(self._names(kind, key) - joined)
        for name in new:
            with _aside(path) as aside:
                if self._download(f"{_folder(kind, key)}/{name}", aside, name.split(".")[-2]):
                    self._join(kind, key, name, aside, enough)
                    joined.add(name)
                else:  # gone meanwhile, or damaged, which an object that can be seen is for good
                    damaged.add(f"{_folder(kind, key)}/{name}")
        for name in damaged:
            if as_it_is:
                with _aside(path) as aside:
                    if self._objects.fetch(name, aside):
                        aside.replace(path)
                continue
            with suppress(ReadOnlyError):  # then it stays, and is as good as none here
                self._objects.remove(name)
            self._listings.pop(_shard(kind, key), None)
        self._tidy()
        return bool(new)

    def _join(self, kind: str, key: str, name: str, aside: Path, enough: Callable[[Result], bool]) -> None:
        """The fetched file, or what it holds together with what is here, in its place."""
        path = self.path(kind, key)
        with (path.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self._kept(kind, key)
            try:
                fetched = read_result(aside, verify=True)
            except DamagedError:
                return
            is_whole = name.startswith(f"{WHOLE}.")
            if kept is None or (
                is_whole and (_extent(fetched) > _extent(kept) or (enough(fetched) and not enough(kept)))
            ):
                aside.replace(path)
                self._verified.add(path)
        if kept is not None and not is_whole:
            super().add(kind, key, fetched)

    def _download(self, name: str, to: Path, sha256: str) -> bool:
        """Fetch an object whose content has this hash; False where there is none such."""
        to.parent.mkdir(parents=True, exist_ok=True)
        aside = to.with_name(f".{to.name}.{uuid4().hex}.tmp")
        try:
            for _ in range(_DOWNLOADS):
                if not self._objects.fetch(name, aside):
                    return False
                if hash_file(aside) == sha256:
                    aside.replace(to)
                    return True
        finally:
            aside.unlink(missing_ok=True)
        return False

    def _names(self, kind: str, key: str) -> set[str]:
        """The objects of a key; what an old listing offers is taken, that it offers nothing new is not."""
        listing = self._listings.get(_shard(kind, key))
        known = set() if listing is None else listing.names.get(key, set())
        return known if known - self._joined.get((kind, key), set()) else self._names_now(kind, key)

    def _names_now(self, kind: str, key: str) -> set[str]:
        """The objects of a key that can be seen; keys that begin alike are listed together, for there may be many."""
        shard, now = _shard(kind, key), time.monotonic()
        listing = self._listings.get(shard)
        if listing is None or now - listing.time_s > FRESH_S:
            listing = _Listing({}, now)
            for each in self._objects.list(shard):
                parts = each.split("/")
                listing.names.setdefault(parts[-2], set()).add(parts[-1])
            self._listings[shard] = listing
        return set(listing.names.get(key, set()))

    def _tidy(self) -> None:
        """Hold this machine's copies to their cap, now and then: nobody else does where stages are computed."""
        if time.monotonic() - self._tidied_s > TIDY_S:
            self._tidied_s = time.monotonic()
            self.collect(cap_bytes(), unused_since_s=IN_USE_S)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A name beside a file that is to come; nothing has it after the block."""
    aside = path.with_name(f".{path.stem}.{uuid4().hex}.tmp")
    try:
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def _shard(kind: str, key: str) -> str:
    return f"{FOLDER}/{kind}/{key[:2]}"


def _folder(kind: str, key: str) -> str:
    return f"{_shard(kind, key)}/{key}"


def _arrays(name: str) -> set[str]:
    """The arrays that an object is known to hold by its name."""
    what = name.rpartition(".")[0].rpartition(".")[0]
    return set() if what == WHOLE else {unquote(each) for each in what.split("+")}


def _extent(result: Result) -> float:
    return float(result.facts.get("extent", 0.0))
