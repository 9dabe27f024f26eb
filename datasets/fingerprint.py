"""The identity of every image's content, and the memory of those already seen."""

from __future__ import annotations

import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from adloc.datasets.checked import from_checked, to_checked
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.sample import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adloc.datasets.sample import ImageSource, Sample

    Fingerprints = Mapping[str, Fingerprint]

_FORMAT = 2


class FingerprintCache:
    """Fingerprints by the stamps of their sources, kept in one JSON file with a checksum.

    A source whose stamp is another one than before is hashed again. A cache file that cannot be read is as good as
    none: it is written anew.

    Two processes may use one cache: each adds its own entries to those that it finds when it saves; at worst
    something is hashed once more.
    """

    def __init__(self, path: Path) -> None:
        """Read the cache at `path`, if there is one."""
        self.path = path
        self._known = dict(_read(path).values())
        self._new: dict[str, tuple[str, Fingerprint]] = {}

    def get(self, source: ImageSource) -> Fingerprint | None:
        """Return the fingerprint of a source that has not changed since it was put, else None."""
        stamp = source.stamp()
        return None if stamp is None else self._known.get(stamp)

    def put(self, source: ImageSource, fingerprint: Fingerprint, stamp: str | None) -> None:
        """Remember a fingerprint, unless the source has changed meanwhile.

        Args:
            source: what was hashed.
            fingerprint: of that source.
            stamp: of the source before it was hashed.
        """
        if stamp is not None and stamp == source.stamp():
            self._known[stamp] = fingerprint
            self._new[source.location] = (stamp, fingerprint)

    def save(self) -> None:
        """Write what is new, aside and then by renaming, so that a reader never sees half a file.

        Where that cannot be written the images are hashed again another time: a workspace may be there to be read only.
        """
        if self._new:
            with suppress(OSError):
                self._save()

    def _save(self) -> None:
        found = _read(self.path) | self._new
        self._new = {}
        entries = {location: [stamp, *astuple(known)] for location, (stamp, known) in found.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(to_checked({"format": _FORMAT, "entries": entries}))
            Path(aside).replace(self.path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise


def fingerprints(
    samples: Sequence[Sample],
    cache: FingerprintCache | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Fingerprint]:
    """Return the fingerprint of every sample by its identity, in the order of the samples.

    Images that the cache does not know are decoded and hashed in threads; the cache is then saved, also when
    some files are damaged or the work is interrupted.

    Args:
        samples: of any number of categories.
        cache: what is known from earlier; None hashes everything.
        on_progress: called with (images done, images in all) after each image that had to be hashed.

    Raises:
        DatasetError: naming every image or mask that is gone, does not decode or does not fit.
    """
    known = {sample.identity: cache.get(sample.source) for sample in samples} if cache else {}
    missing = [sample for sample in samples if known.get(sample.identity) is None]
    fresh: dict[str, Fingerprint] = {}
    errors: list[Problem] = []
    n_known = len(samples) - len(missing)
    threads = ThreadPoolExecutor()
    try:
        hashed = zip(missing, threads.map(_hash, [sample.source for sample in missing]), strict=True)
        for n_done, (sample, (stamp, result)) in enumerate(hashed, start=n_known + 1):
            if isinstance(result, DatasetError):
                errors += result.problems
            else:
                fresh[sample.identity] = result
                if cache is not None:
                    cache.put(sample.source, result, stamp)
            if on_progress is not None:
                on_progress(n_done, len(samples))
    finally:
        # When interrupted: do not wait for thousands of images, and keep what was hashed.
        threads.shutdown(cancel_futures=True)
        if cache is not None:
            cache.save()
    if errors:
        raise DatasetError(*errors)
    return {sample.identity: known.get(sample.identity) or fresh[sample.identity] for sample in samples}


def _hash(source: ImageSource) -> tuple[str | None, Fingerprint | DatasetError]:
    stamp = source.stamp()
    try:
        return stamp, source.fingerprint()
    except DatasetError as error:
        return stamp, error


def _read(path: Path) -> dict[str, tuple[str, Fingerprint]]:
    """{location: (stamp, fingerprint)}; earlier versions kept a generator's stamp in the place of its location."""
    try:
        content = json.loads(from_checked(path.read_bytes()))
        if content["format"] != _FORMAT:
            return {}
        return {key: (entry[0] or key, Fingerprint(*entry[1:])) for key, entry in content["entries"].items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return {}
