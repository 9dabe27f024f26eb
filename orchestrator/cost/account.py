"""What a study was expected to take, and what it took: kept beside its records, of the last run that computed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from adloc.record.files import read_checked, write_checked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adloc.cost.estimate import Estimate

NAME = "cost.json"
FACTOR = 1.5  # within which an expected time is near enough


@dataclass(frozen=True, slots=True)
class Account:
    """Expected beside actual.

    Attributes:
        hardware: on which it was computed.
        planned_s: wall time that was expected, without what was unknown.
        taken_s: wall time, from the first import to the last model.
        unknown: kinds of which no time was known before.
        planned_disk_bytes: by which the store was expected to grow.
        disk_bytes: by which it grew.
        planned_memory_bytes: of the largest process; None where nothing was known.
        memory_bytes: of it.
        seconds: (planned, taken) by kind of stage and phase of the driver; planned is None where it was unknown.
    """

    hardware: str
    planned_s: float
    taken_s: float
    unknown: tuple[str, ...]
    planned_disk_bytes: float
    disk_bytes: float
    planned_memory_bytes: float | None
    memory_bytes: float
    seconds: dict[str, tuple[float | None, float]]

    @classmethod
    def of(
        cls, expected: Estimate, taken: Mapping[str, float], seconds: float, disk_bytes: float, memory_bytes: float
    ) -> Account:
        """Put both side by side.

        Args:
            expected: before it started.
            taken: seconds by kind of stage and phase.
            seconds: wall time of all.
            disk_bytes: of new results in the store.
            memory_bytes: of the largest process.
        """
        planned = {line.kind: line.seconds for line in expected.lines if line.n_todo}
        kinds = dict.fromkeys([*planned, *taken])
        return cls(
            expected.hardware.name,
            expected.seconds,
            seconds,
            expected.unknown,
            expected.disk_bytes,
            disk_bytes,
            expected.memory_bytes,
            memory_bytes,
            {kind: (planned.get(kind), taken.get(kind, 0.0)) for kind in kinds},
        )

    @property
    def furthest(self) -> str | None:
        """The kind whose time was furthest from what was expected, with both; None where all were near."""
        off = {
            kind: (planned, taken)
            for kind, (planned, taken) in self.seconds.items()
            if planned is not None and not planned / FACTOR <= taken <= planned * FACTOR
        }
        if not off or self.planned_s / FACTOR <= self.taken_s <= self.planned_s * FACTOR:
            return None
        kind = max(off, key=lambda name: abs(off[name][0] - off[name][1]))
        return f"{kind}, {off[kind][1]:.0f} s of {off[kind][0]:.0f} s planned"

    @classmethod
    def read(cls, folder: Path) -> Account | None:
        """Of the study with this folder; None where nothing was computed yet."""
        try:
            found = json.loads(read_checked(folder / NAME))
            seconds = {kind: (planned, taken) for kind, (planned, taken) in found.pop("seconds").items()}
            return cls(**found | {"unknown": tuple(found["unknown"])}, seconds=seconds)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, folder: Path) -> None:
        """Keep it in the study's folder."""
        write_checked(folder / NAME, asdict(self))
