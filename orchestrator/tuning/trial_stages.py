"""The stages of a trial: a setting fitted on train parts and evaluated on validation parts. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.keys import content_key
from adloc.parts import pool
from adloc.stages import ThresholdStage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.calibration import Calibration
    from adloc.stage_maker import StageMaker
    from adloc.stages import EvaluationStage, StepStage
    from adloc.study_file.variants import Variant
    from adloc.thresholds import ThresholdConfig
    from adloc.tuning.search import Search


class TrialStages:
    """Makes the stages of one search's trials.

    Attributes:
        search: what is searched.
        calibration: parts by category: those that the search looks at.
    """

    def __init__(
        self, search: Search, maker: StageMaker, calibration: Mapping[str, Calibration], thresholds: ThresholdConfig
    ) -> None:
        """Prepare for one search.

        Args:
            search: what is searched.
            maker: makes stages on given parts.
            calibration: parts of every category; a search for one category looks at its own alone.
            thresholds: how the threshold of metrics such as val_image_f1 is chosen.
        """
        self.search = search
        self.calibration = search.mine(calibration)
        self._maker = maker
        self._thresholds = thresholds
        self._pool = pool([each.train for each in self.calibration.values()]) if search.pooled else None

    def evaluation(self, variant: Variant, category: str) -> EvaluationStage:
        """The evaluation of a setting on a category's validation part, with all that it needs before it."""
        parts, repeat = self.calibration[category], self.search.repeat
        fit = self._maker.fit(variant, self._pool or parts.train, repeat)
        return self._maker.evaluation(variant, fit, parts.validation, repeat)

    def threshold(self, scores: StepStage, category: str) -> ThresholdStage:
        """The category's threshold from these scores of its validation part."""
        return ThresholdStage((scores,), (self.calibration[category].validation,), self._thresholds)

    def digest(self) -> str:
        """Of the first trial and all weights: it changes with the data, the seed and the code behind the figures."""
        variant = self.search.variant(self.search.first)
        stages = [self.evaluation(variant, category) for category in self.calibration]
        keys = [[s.key, self.threshold(s.scores, c).key] for s, c in zip(stages, self.calibration, strict=True)]
        weights = {self._maker.weights_hash(v, self.search.repeat) for v in self.search.networks()}
        return content_key(["trial", keys, sorted(weights)])
