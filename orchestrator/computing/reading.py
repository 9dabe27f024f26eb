"""Which images a stage has read, as its result says: by the hashes of those that were handed to it, not by its part."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adloc.methods.detector import Result
    from adloc.planning.parts import Part

IMAGES_READ = "images_read"  # fact of a result; results of earlier versions lack it
N_DIGITS = 16  # of an image's SHA-256: 64 bits tell the images of a study apart


def noted(sha256: Iterable[str], bases: Iterable[Result] = ()) -> str:
    """First digits of the hashes of images, ascending, with a space between.

    Args:
        sha256: of those that were handed out, or whose labels were read.
        bases: results that this one goes on from: what they have read went into it.
    """
    found = {each[:N_DIGITS] for each in sha256}
    for base in bases:
        found |= read_by(base) or set()
    return " ".join(sorted(found))


def hashes_of(part: Part) -> tuple[str, ...]:
    """SHA-256 of each image of a part."""
    return tuple(known.sha256 for known in part.fingerprints)


def read_by(result: Result) -> set[str] | None:
    """The digits that a result has noted; None where it was kept by an earlier version."""
    value = result.facts.get(IMAGES_READ)
    return None if value is None else set(str(value).split())
