"""How far the stages that runs share must reach for the whole plan: stages alone do not know it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adloc.planning.keeping import passing
from adloc.planning.plan import walk
from adloc.planning.sources import FeatureStage, features_among

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.planning.plan import Plan
    from adloc.planning.stages import Stage, StepStage


@dataclass(frozen=True, slots=True)
class Extents:
    """How far shared stages reach for the whole plan, not for one run alone, and which go on from which."""

    extents: Mapping[str, float]
    layers: Mapping[str, tuple[str, ...]]
    bases: Mapping[str, StepStage] = field(default_factory=dict)
    passing: frozenset[str] = frozenset()  # keys of features stages that are not kept

    @classmethod
    def of(cls, plan: Plan) -> Extents:
        """What the plan's runs need together."""
        return cls(plan.extents, plan.layers, plan.bases, passing(plan.stages.values(), plan.spec.features.keep))

    def of_stage(self, stage: Stage) -> tuple[str, ...] | float | None:
        """How far it must reach: the layers of features, the extent of a step that grows; None for any other."""
        return self.layers[stage.source] if isinstance(stage, FeatureStage) else self.extents.get(stage.key)

    def around(self, stage: Stage) -> Extents:
        """What computing this stage from its inputs needs to know: small enough to travel."""
        base = self.bases.get(stage.key)
        stages = [*walk(stage), *(() if base is None else walk(base))]
        return Extents(
            {each.key: self.extents[each.key] for each in stages if each.key in self.extents},
            {each.source: self.layers[each.source] for each in features_among(stages)},
            {} if base is None else {stage.key: base},
            self.passing.intersection(each.key for each in stages),
        )
