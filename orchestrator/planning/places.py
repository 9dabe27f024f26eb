"""Where the runs of a study stand: a category under a regime and a condition, with the parts that they see there.

What is found here does not depend on the variant: thousands of runs share a place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from adloc.errors import UserError
from adloc.keys import canonical
from adloc.planning.absent import calibration_complaint
from adloc.planning.parts import pool
from adloc.study_file.conditions import base_condition
from adloc.study_file.regimes import REGIMES

if TYPE_CHECKING:
    from adloc.planning.parts import TestPart, TrainPart, ValidationPart
    from adloc.planning.study_parts import StudyParts
    from adloc.study_file.conditions import Condition
    from adloc.study_file.regimes import Regime
    from adloc.study_file.spec import Scope, StudySpec


@dataclass(frozen=True, eq=False)
class Place:
    """Where runs stand, whatever their variant.

    Attributes:
        category: whose test part is evaluated.
        repeat: of the study.
        regime: of the protocol.
        scope: see `Run`.
        threshold_scope: see `Run`.
        condition: on the axes of the study.
        train: fitted on; pooled for the unified scope.
        validation: of the same domain.
        calibrated: whose figures choose; empty where there is no validation part.
        thresholded: what the threshold is of, its own part among them; empty where `calibrated` is.
        tested: judged.
        identity: what tells runs of a variant apart, as JSON.
        base: whether it is of what the main tables compare.
        pictured: whether heatmaps are logged.
    """

    category: str
    repeat: int
    regime: Regime
    scope: Scope
    threshold_scope: str
    condition: Condition
    train: TrainPart
    validation: ValidationPart
    calibrated: ValidationPart
    thresholded: tuple[ValidationPart, ...]
    tested: TestPart
    identity: str
    base: bool
    pictured: bool


class Places:
    """Makes each place once.

    Attributes:
        of: a category, regime, scope, kind of threshold, repeat and condition; raises UserError where the validation
            parts there cannot give the threshold that is asked for.
    """

    def __init__(self, spec: StudySpec, parts: StudyParts) -> None:
        """Of a study and its parts; nothing is made before it is asked for."""
        self._spec = spec
        self._parts = parts
        self._pool = cache(pool)
        self.of = cache(self._of)

    def _of(
        self, category: str, regime: Regime, scope: Scope, threshold_scope: str, repeat: int, condition: Condition
    ) -> Place:
        domains, categories = REGIMES[regime], self._parts.categories
        fitted = [
            self._parts.of(c, domains.fit, repeat, condition)
            for c in (sorted(categories) if scope == "unified" else (category,))
        ]
        train, validation = fitted[0].train, fitted[0].validation
        if scope == "unified":
            train = self._pool(tuple(parts.train for parts in fitted))
            validation = self._pool(tuple(parts.validation for parts in fitted))
        calibrated = self._parts.of(category, domains.threshold, repeat, condition).validation
        thresholded: tuple[ValidationPart, ...] = ()
        if len(calibrated):
            pooled = categories if threshold_scope == "global" else (category,)
            thresholded = tuple(self._parts.of(c, domains.threshold, repeat, condition).validation for c in pooled)
            if (
                complaint := calibration_complaint(thresholded, self._spec.thresholds, self._spec.split.kind)
            ) is not None:
                raise UserError(complaint)
        # Runs without axes keep the identity, and so the records, that they had before there were any.
        axes = [condition.values()] if condition.values() else []
        return Place(
            category,
            repeat,
            regime,
            scope,
            threshold_scope,
            condition,
            train,
            validation,
            calibrated,
            thresholded,
            self._parts.tested(category, domains.evaluation, repeat, condition),
            canonical([regime, scope, threshold_scope, repeat, *axes]),
            condition == self._parts.conditions(regime, repeat)[0],
            condition == base_condition(self._spec, regime, condition.domain),
        )
