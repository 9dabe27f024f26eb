"""What a study was planned from, kept beside its records: its plan can be made again without images and weights.

`inventory.json` of the study's folder holds every sample with its fingerprint, hashes of weights, and what of the plan
hangs on pixels: which defects a shift moves out of the frame.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from adloc.datasets.defect_kinds import DefectKind
from adloc.datasets.file_image import FileImage
from adloc.datasets.kept_image import KeptImage
from adloc.datasets.sample import Fingerprint, Sample
from adloc.planning.inventory import Inventory
from adloc.planning.parts import leaves_frame, shift_key
from adloc.planning.plan import each_stage
from adloc.planning.targets import Target
from adloc.record.files import read_checked, write_checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from adloc.datasets.shift import ShiftConfig
    from adloc.planning.plan import Plan

NAME = "inventory.json"
_FORMAT = 1
_FIELDS = ("category", "name", "origin", "defect", "mask_known", "domain", "group", "part")


@dataclass(frozen=True, slots=True)
class KeptInventory:
    """What is kept.

    Attributes:
        inventory: whose images cannot be read.
        places: where each (backbone, weights) came from, in words.
    """

    inventory: Inventory
    places: Mapping[tuple[str, str], str]


def write_inventory(folder: Path, inventory: Inventory, plan: Plan, places: Mapping[tuple[str, str], str]) -> None:
    """Keep what a plan was made from in the study's folder."""
    shifts = {part.shift for stage in each_stage(plan.runs) for part in stage.parts}
    dropping = [shift for shift in shifts if shift is not None and shift.drop_vanished]
    targets = inventory.targets.items()
    content = {
        "format": _FORMAT,
        "samples": _rows(inventory.samples, inventory.fingerprints, dropping),
        "targets": {name: _rows(target.samples, target.fingerprints, ()) for name, target in targets},
        "weights": [[*name, sha256] for name, sha256 in inventory.weights.items()],
        "places": [[*name, place] for name, place in places.items()],
    }
    write_checked(folder / NAME, content)


def read_inventory(folder: Path) -> KeptInventory | None:
    """What is kept in a study's folder; None where nothing is, or it is damaged."""
    try:
        content = json.loads(read_checked(folder / NAME))
        if content["format"] != _FORMAT:
            return None
        samples, fingerprints = _read(content["samples"])
        targets = {name: Target(*_read(rows)) for name, rows in content["targets"].items()}
        weights = {(backbone, name, seed): sha256 for backbone, name, seed, sha256 in content["weights"]}
        places = {(backbone, name): place for backbone, name, place in content["places"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return KeptInventory(Inventory(samples, fingerprints, weights, targets), places)


def _rows(
    samples: Sequence[Sample], fingerprints: Mapping[str, Fingerprint], shifts: Iterable[ShiftConfig]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for sample in samples:
        row: dict[str, object] = {name: getattr(sample, name) for name in _FIELDS}
        row |= {"location": sample.source.location, "fingerprint": astuple(fingerprints[sample.identity])}
        if isinstance(sample.source, FileImage | KeptImage) and sample.source.kinds:
            row["kinds"] = [kind.model_dump(mode="json") for kind in sample.source.kinds]
        if left := sorted(shift_key(shift) for shift in shifts if leaves_frame(sample, shift)):
            row["left_frame"] = left
        rows.append(row)
    return rows


def _read(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Sample], dict[str, Fingerprint]]:
    samples: list[Sample] = []
    fingerprints: dict[str, Fingerprint] = {}
    for row in rows:
        kinds = tuple(DefectKind.model_validate(kind) for kind in row.get("kinds", ()))
        source = KeptImage(row["location"], kinds, frozenset(row.get("left_frame", ())))
        sample = Sample(source=source, **{name: row[name] for name in _FIELDS})
        samples.append(sample)
        fingerprints[sample.identity] = Fingerprint(*row["fingerprint"])
    return samples, fingerprints
