"""Stage results on disk, by key: one safetensors file each, memory-mapped when read.

A result is written aside, flushed to the disk and renamed, so a file is whole or absent. Every array has a
checksum, and so have the facts; a damaged file is set aside under `damaged/` and its stage computed again. Files that
have not been read for longest go first when the store grows over its cap.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

import numpy as np
from safetensors.numpy import save_file

from adloc.datasets.checked import from_checked, to_checked
from adloc.methods.backbone import resolve_weights
from adloc.methods.detector import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from adloc.methods.backbone import WeightsFile
    from adloc.planning.sources import Network

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
SUFFIX = ".safetensors"
UNFINISHED = "unfinished"
DEFAULT_CAP_GB = 100.0
LONGEST_WRITE_S = 3600
LONGEST_REST_S = 30 * 24 * 3600  # of the checkpoints of a step that nobody has gone on with


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the store: its kind and key, its bytes, and when it was last read (seconds since 1970)."""

    path: Path
    kind: str
    key: str
    n_bytes: int
    used_s: float


@dataclass(frozen=True, slots=True)
class Kept:
    """What a result says of itself: its facts, and the names of its arrays."""

    facts: Mapping[str, Any]
    arrays: frozenset[str]


@dataclass(frozen=True, slots=True)
class Probe:
    """A mark that a process has left in a store, by which another one knows it.

    Attributes:
        address: of the store; see `Store.address`.
        name: of the mark.
    """

    address: str
    name: str


class DamagedError(Exception):
    """A file of the store that is not what was written."""


class Store:
    """Stage results under one folder."""

    def __init__(self, root: Path) -> None:
        """Use `root`, made when first written to."""
        self.root = root
        self.put_bytes = 0  # of all results that were put here through this object
        self._verified: set[Path] = set()

    @property
    def address(self) -> str:
        """What `adloc.workspace.open_store` opens it by, in any process on any machine that sees it."""
        return str(self.root)

    def path(self, kind: str, key: str) -> Path:
        """Where a result is, or would be."""
        return self.root / kind / key[:2] / f"{key}{SUFFIX}"

    def get(self, kind: str, key: str, enough: Callable[[Result], bool] = lambda _: True) -> Result | None:
        """The result, its arrays memory-mapped and read-only; None if absent, found damaged, or not enough."""
        result = self._kept(kind, key)
        return result if result is not None and enough(result) else None

    def has(self, kind: str, key: str, arrays: Collection[str]) -> bool:
        """Whether a result with these arrays is kept."""
        return self.get(kind, key, lambda result: result.arrays.keys() >= set(arrays)) is not None

    def _kept(self, kind: str, key: str) -> Result | None:
        path = self.path(kind, key)
        try:
            result = read_result(path, verify=path not in self._verified)
        except FileNotFoundError:
            return None
        except DamagedError:
            self._set_aside(path)
            return None
        self._verified.add(path)
        with suppress(FileNotFoundError):  # collected meanwhile: what is mapped can be read on
            os.utime(path)  # when it was last used; many systems keep no access times
        return result

    def add(self, kind: str, key: str, result: Result) -> None:
        """Keep arrays beside those that are kept under the key, by whatever process; a new one replaces its like.

        The seconds are those of the longer of the two.
        """
        path = self.path(kind, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it if this process dies
            kept = self._kept(kind, key)
            if kept is not None:
                both = {**kept.arrays, **result.arrays}
                result = replace(result, arrays=both, seconds=max(kept.seconds, result.seconds))
            self._put(kind, key, result)

    def put(self, kind: str, key: str, result: Result) -> None:
        """Keep a result, replacing one of a smaller extent."""
        self._put(kind, key, result)

    def _put(self, kind: str, key: str, result: Result) -> None:
        path = self.path(kind, key)
        with self._written(kind, key, result) as aside:
            n_bytes = aside.stat().st_size
            aside.replace(path)
        self.put_bytes += n_bytes
        self._verified.add(path)

    @contextmanager
    def _written(self, kind: str, key: str, result: Result) -> Iterator[Path]:
        """A file of the result, on the disk, beside where it belongs; it is gone after the block, unless moved."""
        path = self.path(kind, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.ascontiguousarray(array) for name, array in result.arrays.items()}
        facts = {
            "facts": dict(result.facts),
            "seconds": result.seconds,
            "crc32": {name: _checksum(array) for name, array in arrays.items()},
        }
        # Of this writer alone: threads and machines may keep one key at the same time.
        aside = path.with_name(f".{key}.{uuid4().hex}.tmp")
        try:
            save_file(arrays, aside, metadata={"adloc": to_checked(facts)})
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            yield aside
        finally:
            aside.unlink(missing_ok=True)

    def fetch(self, kind: str, keys: Collection[str], enough: Callable[[Result], bool]) -> None:
        """Bring results here that will be read soon, several at a time; on a disk that all see, they are."""

    def bring(self, kind: str, keys: Collection[str]) -> None:
        """Bring results here as they are kept, the damaged ones too, for whoever verifies them; on a disk, they are."""

    @contextmanager
    def probe(self) -> Iterator[Probe]:
        """Leave a mark for the length of the block, to be looked for by `sees` wherever stages will be computed."""
        self.root.mkdir(parents=True, exist_ok=True)
        mark = Probe(self.address, f".probe-{uuid4().hex}")
        path = self.root / mark.name
        path.touch()
        try:
            yield mark
        finally:
            path.unlink(missing_ok=True)

    def sees(self, mark: Probe) -> bool:
        """Whether the mark is here."""
        if self.root.is_dir():
            os.scandir(self.root).close()  # lets a network disk look again
        return (self.root / mark.name).is_file()

    def weights(self, network: Network) -> WeightsFile:
        """The weights of a network, as a stage reads them.

        Raises:
            MethodError: they are not there.
        """
        return resolve_weights(network.backbone, network.weights, seed=network.seed)

    def share_weights(self, files: Mapping[str, Path]) -> None:
        """Have files of weights, by SHA-256, where all see the store; those that see it see the same disk."""

    def recall(self, kind: str, keys: Collection[str]) -> None:
        """Before these are computed: let go of copies of this machine alone, which whoever asks does not see."""

    def scratch_path(self, kind: str, key: str) -> Path:
        """The folder where a step that is being computed keeps its checkpoints; made by whoever writes to it."""
        return self.root / UNFINISHED / f"{kind}-{key}"

    def clear_scratch(self, kind: str, key: str) -> None:
        """Drop the checkpoints of a step: its result is kept, or is to be computed from nothing."""
        shutil.rmtree(self.scratch_path(kind, key), ignore_errors=True)

    def remove(self, kind: str, key: str) -> None:
        """Forget a result, if it is there."""
        path = self.path(kind, key)
        path.unlink(missing_ok=True)
        self._verified.discard(path)
        self.clear_scratch(kind, key)

    def forget(self, results: Collection[tuple[str, str]]) -> None:
        """Forget results by kind and key: no machine computes from them any more."""
        for kind, key in results:
            self.remove(kind, key)

    def keys(self, kind: str) -> set[str]:
        """Keys of all results of a kind, by their names alone: nothing is opened."""
        return {path.stem for path in self.root.glob(f"{kind}/*/[!.]*{SUFFIX}")}

    def peek(self, kind: str, key: str) -> Kept | None:
        """What a result says of itself, without its arrays; None if absent or damaged, which is left to `get`."""
        path = self.path(kind, key)
        try:
            with path.open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            facts = json.loads(from_checked(header.pop("__metadata__")["adloc"].encode()))["facts"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return Kept(facts, frozenset(header))

    def entries(self) -> Iterator[Entry]:
        """Every result kept."""
        for path in sorted(self.root.glob(f"*/*/*{SUFFIX}")):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process collects
                continue
            yield Entry(path, path.parent.parent.name, path.stem, stat.st_size, stat.st_mtime)

    def verify(self) -> list[Path]:
        """Read every file against its checksums; set damaged ones aside and return where they were."""
        damaged = []
        for entry in list(self.entries()):
            try:
                read_result(entry.path, verify=True)
            except FileNotFoundError:
                continue
            except DamagedError:
                self._set_aside(entry.path)
                damaged.append(entry.path)
        return damaged

    def touch(self, kind: str, key: str) -> None:
        """Note that a result is about to be used, if it is there: `collect` takes others first."""
        with suppress(FileNotFoundError):
            os.utime(self.path(kind, key))

    def collect(
        self, cap_bytes: float, *, unused_since_s: float = 0.0, in_use_since_s: float | None = None
    ) -> list[Entry]:
        """Delete the results unused for longest until at most `cap_bytes` remain; return those deleted.

        Those used within the last `unused_since_s` seconds stay, and those used since `in_use_since_s` (seconds since
        1970), when a study began that is running: it has touched all that it will read. Leftovers of killed writers go,
        and checkpoints that nobody has gone on with for a month.
        """
        for leftover in self.root.glob("*/*/.*.tmp"):
            with suppress(FileNotFoundError):  # written to its end, or collected by another process
                if time.time() - leftover.stat().st_mtime > LONGEST_WRITE_S:
                    leftover.unlink()
        for scratch in self.root.glob(f"{UNFINISHED}/*"):
            with suppress(FileNotFoundError):
                if time.time() - scratch.stat().st_mtime > LONGEST_REST_S:
                    shutil.rmtree(scratch, ignore_errors=True)
        entries = sorted(self.entries(), key=lambda e: e.used_s)
        total, gone = sum(e.n_bytes for e in entries), []
        for entry in entries:
            if total <= cap_bytes or entry.used_s > min(time.time() - unused_since_s, in_use_since_s or math.inf):
                break
            with suppress(FileNotFoundError):
                if entry.path.stat().st_mtime > entry.used_s:  # used since it was listed
                    continue
            entry.path.unlink(missing_ok=True)
            total -= entry.n_bytes
            gone.append(entry)
        return gone

    def _set_aside(self, path: Path) -> None:
        damaged = self.root / "damaged"
        damaged.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process has done it
            path.replace(damaged / f"{path.parent.parent.name}-{path.stem}-{time.time_ns()}{SUFFIX}")


def cap_bytes() -> float:
    """The store's size cap: $ADLOC_STORE_GB, else 100 GB."""
    return float(os.environ.get("ADLOC_STORE_GB", DEFAULT_CAP_GB)) * 1e9


def read_result(path: Path, *, verify: bool) -> Result:
    """Parse the header and map the arrays; the format is 8 bytes of header length, JSON, then the data.

    All through one open file: another process may put a larger result in its place.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= size - 8:
                raise DamagedError(path)
            header = json.loads(file.read(length))
            meta = json.loads(from_checked(header.pop("__metadata__")["adloc"].encode()))
            start = 8 + length
            if max([start, *(start + spec["data_offsets"][1] for spec in header.values())]) != size:
                raise DamagedError(path)
            arrays = {name: _map(file, start, spec) for name, spec in header.items()}
        if verify and {n: _checksum(a) for n, a in arrays.items()} != meta["crc32"]:
            raise DamagedError(path)
        return Result(arrays, meta["facts"], meta["seconds"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(path) from error


def _map(file: BinaryIO, start: int, spec: dict[str, object]) -> np.ndarray:
    dtype, shape = np.dtype(DTYPES[str(spec["dtype"])]), tuple(spec["shape"])  # type: ignore[arg-type, var-annotated]
    if 0 in shape:
        return np.zeros(shape, dtype)
    offset = start + spec["data_offsets"][0]  # type: ignore[index]
    return np.memmap(file, dtype, "r", offset, shape)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(array.reshape(-1).view(np.uint8).data) if array.size else 0
