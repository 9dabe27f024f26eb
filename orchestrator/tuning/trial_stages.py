"""The stages of a trial: a setting fitted on train parts and evaluated on validation parts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.keys import content_key
from adloc.planning.calibration import Calibration
from adloc.planning.parts import pool
from adloc.planning.stages import ThresholdStage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.planning.stage_maker import StageMaker
    from adloc.planning.stages import EvaluationStage
    from adloc.study_file.variants import Variant
    from adloc.tuning.search import Search


class TrialStages:
    """Makes the stages of one search's trials.

    Attributes:
        search: what is searched.
        calibration: parts by category: those that the search looks at.
    """

    def __init__(self, search: Search, maker: StageMaker, calibration: Mapping[str, Calibration]) -> None:
        """Prepare for one search.

        Args:
            search: what is searched.
            maker: makes stages on given parts.
            calibration: parts of every category; a search for one category looks at its own alone.
        """
        self.search = search
        self.calibration = search.mine(calibration)
        self._maker = maker
        found = self.calibration.values()
        self._pool = (
            Calibration(pool([each.train for each in found]), pool([each.validation for each in found]))
            if search.pooled
            else None
        )

    def evaluation(self, variant: Variant, category: str) -> EvaluationStage:
        """The evaluation of a setting on a category's validation part, with all that it needs before it."""
        parts, repeat = self.calibration[category], self.search.repeat
        fitted = self._pool or parts
        fit = self._maker.fit(variant, fitted.train, fitted.validation, repeat)
        return self._maker.evaluation(variant, fit, parts.validation, repeat)

    def threshold(self, variant: Variant, category: str) -> ThresholdStage:
        """The threshold that the category's runs of this setting have: its own, or one for all of a pooled model."""
        shared = self.search.pooled and self._maker.thresholds.scope == "global"
        pooled = tuple(self.calibration) if shared else (category,)
        scores = tuple(self.evaluation(variant, each).scores for each in pooled)
        parts = tuple(self.calibration[each].validation for each in pooled)
        return ThresholdStage(scores, parts, self._maker.thresholds, self._maker.operating)

    def facts(self) -> dict[str, object]:
        """All that trials depend on besides the search itself, by name; last of all the code behind the figures."""
        variant = self.search.variant(self.search.first)
        keys = [[self.evaluation(variant, c).key, self.threshold(variant, c).key] for c in self.calibration]
        parts = {c: [each.train.digest, each.validation.digest] for c, each in self.calibration.items()}
        weights = {self._maker.weights_hash(v.hyperparameters(), self.search.repeat) for v in self.search.networks()}
        return {
            **self._maker.settings(),
            "weights": sorted(weights),
            "data": content_key(["data", parts]),
            "stages": content_key(["trial", keys]),
        }
