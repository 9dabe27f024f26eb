"""The train and validation parts of a study, without its test part: all that tuning is given.

This is the one place where the test part is let go of. What comes out holds no sample of it, so the code behind,
`adloc.tuning`, has no object through which it could load a test image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.planning.parts import make_parts
from adloc.planning.training_images import TrainingImages, set_aside, train_part
from adloc.study_file.conditions import base_condition

if TYPE_CHECKING:
    from adloc.datasets.sample import Sample
    from adloc.planning.inventory import Inventory
    from adloc.planning.parts import TrainPart, ValidationPart
    from adloc.study_file.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one category gives to tuning: Train-clean and Val-clean, as the base of the study's axes has them."""

    train: TrainPart
    validation: ValidationPart


def calibrations(spec: StudySpec, inventory: Inventory, repeat: int) -> dict[str, Calibration]:
    """By category, in the order of the names: the parts of a repeat, which draws its own split.

    Raises:
        DatasetError: two parts share an image by content.
    """
    by_category: dict[str, list[Sample]] = {}
    for sample in inventory.samples:
        by_category.setdefault(sample.category, []).append(sample)
    split = spec.split.model_copy(update={"seed": spec.split.seed + repeat})
    wanted = TrainingImages.of(base_condition(spec, spec.regimes[0]), spec.train)
    found: dict[str, Calibration] = {}
    for category in sorted(by_category):
        parts = make_parts(by_category[category], inventory.fingerprints, split, None)
        judged = set_aside(parts, spec.train, spec.thresholds, split.seed)
        found[category] = Calibration(train_part(parts, spec.train, wanted, split.seed), judged.validation)
    return found
