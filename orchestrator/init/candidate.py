"""One way of reading a folder, to be tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.datasets.registry import read_config

if TYPE_CHECKING:
    from adloc.datasets.readers.listing import Listing


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way of reading a folder.

    Attributes:
        what: in words: "the layout of MVTec AD".
        dataset: the keys of `dataset` in a study file.
        notes: what is taken for granted, or left out.
        group: what `split.group` keeps together.
    """

    what: str
    dataset: dict[str, object]
    notes: tuple[str, ...] = ()
    group: str | None = None

    def listing(self) -> Listing:
        """What its reader finds, from names alone."""
        return read_config(self.dataset).listing()
