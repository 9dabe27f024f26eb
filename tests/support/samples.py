"""Samples of made-up images, which only have names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.datasets.sample import Sample

if TYPE_CHECKING:
    from adloc.datasets.sample import Fingerprint, Picture


@dataclass(frozen=True)
class Nowhere:
    """A source that only has a name: the split reads no pixels."""

    location: str

    def read(self) -> Picture:
        """Never called."""
        raise NotImplementedError

    def fingerprint(self) -> Fingerprint:
        """Never called."""
        raise NotImplementedError


def made_up(category: str = "gear", n_train: int = 40, n_good: int = 9, **defects: int) -> list[Sample]:
    """Make samples of one category with the given numbers of images."""
    folders = [("train", "good", n_train), ("test", "good", n_good)]
    folders += [("test", defect, n) for defect, n in (defects or {"crack": 10, "stain": 7}).items()]
    return [
        Sample(
            category,
            f"{origin}/{defect}/{i:03}.png",
            origin,
            defect,
            Nowhere(f"/{category}/{origin}/{defect}/{i}"),
        )
        for origin, defect, n in folders
        for i in range(n)
    ]
