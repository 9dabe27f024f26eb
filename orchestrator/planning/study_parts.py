"""Every part that the runs of a study see, and what a real domain lacks for some of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from adloc.errors import UserError
from adloc.planning.absent import Absent, calibration_complaint
from adloc.planning.parts import Parts, TestPart, TrainPart, make_parts, make_target_parts
from adloc.planning.training_images import ALL, TrainingImages, set_aside, train_part
from adloc.study_file.conditions import Condition, conditions
from adloc.study_file.regimes import CLEAN, REGIMES, SHIFT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.datasets.sample import Sample
    from adloc.datasets.shift import ShiftConfig
    from adloc.planning.inventory import Inventory
    from adloc.study_file.regimes import Regime, Side
    from adloc.study_file.spec import Scope, StudySpec


class StudyParts:
    """Makes each part once, so that runs which share images share stages.

    Attributes:
        categories: of the source, in the order of the study.
        of: the parts of a category on a side, in a repeat, under a condition; without one, those of the base.
        conditions: of a regime in a repeat, the base first.
        lack: what a run in a real domain has no images for; None where it can be made.
    """

    def __init__(self, spec: StudySpec, inventory: Inventory) -> None:
        """Sort the source's samples by category; nothing is divided before it is asked for."""
        self._spec = spec
        self._inventory = inventory
        self._by_category: dict[str, list[Sample]] = {}
        for sample in inventory.samples:
            self._by_category.setdefault(sample.category, []).append(sample)
        self.categories = tuple(self._by_category)
        self.of = cache(self._of)
        self.conditions = cache(self._conditions)
        self.lack = cache(self._lack)
        self._whole = cache(self._make_parts)
        self._judged = cache(self._set_aside)
        self._train = cache(self._fitted_on)

    def _of(self, category: str, side: Side, repeat: int, condition: Condition | None = None) -> Parts:
        """Kept by what they depend on, so that runs which share images share stages."""
        condition = condition or self.conditions(self._spec.regimes[0], repeat)[0]
        shift = _of_side(side, condition)
        wanted = TrainingImages.of(condition, self._spec.train)
        return replace(
            self._judged(category, side, repeat, shift), train=self._train(category, side, repeat, shift, wanted)
        )

    def tested(self, category: str, side: Side, repeat: int, condition: Condition) -> TestPart:
        """The test part of a category, which nothing is set aside from."""
        return self._whole(category, side, repeat, _of_side(side, condition)).test

    def whole(self, category: str, target: str, repeat: int) -> Parts:
        """The parts of a category in a real domain, before any run takes fewer images or sets some aside."""
        return self._whole(category, SHIFT, repeat, Condition(domain=target))

    def _lack(
        self, category: str, regime: Regime, scope: Scope, threshold_scope: str, repeat: int, condition: Condition
    ) -> Absent | None:
        """What a run in a real domain has no images for; None where it can be made."""
        if condition.domain not in self._inventory.targets:
            return None
        target, sides = str(condition.domain), REGIMES[regime]
        reason = "" if len(self.whole(category, target, repeat).test) else "it has no test images"
        if not reason and sides.fit == SHIFT:
            reason = self._lacks_normals(self.categories if scope == "unified" else (category,), target, repeat)
        if not reason and sides.threshold == SHIFT:
            pooled = self.categories if threshold_scope == "global" else (category,)
            reason = self._lacks_validation(pooled, repeat, condition)
        return Absent(category, regime, target, reason) if reason else None

    def _lacks_normals(self, categories: Sequence[str], target: str, repeat: int) -> str:
        counts = self._spec.train.image_counts
        most = max((n for n in counts if n != ALL), default=1)
        for category in categories:
            n = len(self.whole(category, target, repeat).train)
            of = f" of {category}" if len(categories) > 1 else ""
            if n < most:
                return f"it has {n or 'no'} normal images{of} to fit on" + (f", not {most}" if n else "")
        return ""

    def _lacks_validation(self, categories: Sequence[str], repeat: int, condition: Condition) -> str:
        """Nothing where the source has no validation part either: then the study calibrates no threshold."""
        if not any(len(self._whole(c, CLEAN, repeat, Condition()).validation) for c in categories):
            return ""
        try:
            parts = [self.of(c, SHIFT, repeat, condition).validation for c in categories]
        except UserError as error:  # the defects that would be fitted on
            return error.complaints[0].found
        complaint = calibration_complaint(parts, self._spec.thresholds, self._spec.split.kind)
        return "" if complaint is None else f"{complaint.found}; {complaint.rule}"

    def _conditions(self, regime: Regime, repeat: int, least: int = 1) -> tuple[Condition, ...]:
        fewest = min(len(self._whole(c, CLEAN, repeat, Condition()).train) for c in self.categories)
        return conditions(self._spec, regime, fewest, least)

    def _split_seed(self, repeat: int) -> int:
        return self._spec.split.seed + repeat

    def _make_parts(self, category: str, side: Side, repeat: int, condition: Condition) -> Parts:
        split = self._spec.split.model_copy(update={"seed": self._split_seed(repeat)})
        target = self._inventory.targets.get(condition.domain or "")
        if side == SHIFT and target is not None:
            samples = [s for s in target.samples if s.category == category]
            source = self._whole(category, CLEAN, repeat, Condition())
            return make_target_parts(str(condition.domain), samples, target.fingerprints, split, source)
        shift = self._shift(repeat, condition) if side == SHIFT else None
        return make_parts(self._by_category[category], self._inventory.fingerprints, split, shift)

    def _shift(self, repeat: int, condition: Condition) -> ShiftConfig:
        transforms = self._spec.shift.transforms
        if transforms is None:
            message = f"{condition.domain} is no target of the study, and it has no simulated shift"
            raise ValueError(message)
        shift = transforms.plain(condition.severity, condition.factors)
        return shift.model_copy(update={"seed": shift.seed + repeat})

    def _set_aside(self, category: str, side: Side, repeat: int, shift: Condition) -> Parts:
        whole = self._whole(category, side, repeat, shift)
        if shift.domain in self._inventory.targets and not max(self._spec.train.contaminations):
            return whole  # a target may have fewer images than a fit takes: other regimes fit on none of them
        return set_aside(whole, self._spec.train, self._spec.thresholds, self._split_seed(repeat))

    def _fitted_on(self, category: str, side: Side, repeat: int, shift: Condition, wanted: TrainingImages) -> TrainPart:
        return train_part(
            self._whole(category, side, repeat, shift), self._spec.train, wanted, self._split_seed(repeat)
        )


def _of_side(side: Side, condition: Condition) -> Condition:
    """What of a condition changes the images of a side."""
    return condition.of_the_shift() if side == SHIFT else Condition()
