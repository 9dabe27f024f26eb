"""Plates with nine marks, drawn on the spot; on an anomalous one a mark is missing."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from adloc.datasets.config import KindConfig
from adloc.datasets.readers.listing import Listing
from adloc.datasets.sample import Fingerprint, Picture, Sample


class PlatesConfig(KindConfig):
    """Plates with nine marks, drawn on the spot; on an anomalous one a mark is missing."""

    kind: Literal["plates"] = "plates"
    n_train: int = Field(
        default=20,
        ge=2,
        description="normal images to fit and to calibrate on",
        json_schema_extra={"rule": "it must be a whole number, 2 or more", "remedy": "use 20"},
    )

    def listing(self) -> Listing:
        folders = (("train", "good", self.n_train), ("test", "good", 8), ("test", "missing", 12))
        found = Listing()
        for origin, defect, n in folders:
            plates = [Plate(f"{origin}/{defect}/{i:03}") for i in range(n)]
            found.samples += [Sample("plate", plate.name, origin, defect, plate) for plate in plates]
        return found


@dataclass(frozen=True)
class Plate:
    name: str
    version: int = 1  # raised when `read` draws anything else: the stamp is then another one

    @property
    def location(self) -> str:
        return f"plates: {self.name}"

    def stamp(self) -> str:
        return repr(self)

    def read(self) -> Picture:
        rng = np.random.default_rng(list(self.name.encode()))
        image, mask = rng.normal(120, 8, (64, 64, 3)), np.zeros((64, 64), dtype=bool)
        missing = rng.integers(9) if "missing" in self.name else None
        rows, columns = np.mgrid[:64, :64]
        for mark in range(9):
            inside = np.hypot(rows - 12 - 20 * (mark // 3), columns - 12 - 20 * (mark % 3)) < 6
            image[inside] -= 0 if mark == missing else 30
            mask |= inside & (mark == missing)
        return Picture(image.clip(0, 255).astype(np.uint8), mask)

    def fingerprint(self) -> Fingerprint:
        return self.read().fingerprint()
