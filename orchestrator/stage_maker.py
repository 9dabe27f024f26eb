"""Makes the stages of one variant on given parts: for the runs of a plan, and for the trials of a search.

It is given parts and knows no dataset, so whoever holds one can reach no other image than those it is given.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from adloc.metrics.registry import CHOICES
from adloc.parts import TrainPart, require
from adloc.stages import (
    EvaluationStage,
    FeatureStage,
    Network,
    SaturationStage,
    SegmentationStage,
    StepStage,
    TruthStage,
)
from adloc.thresholds import GUARANTEED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.datasets.transform import ImageConfig
    from adloc.parts import Part
    from adloc.study_file.spec import StudySpec
    from adloc.study_file.variants import Variant


class StageMaker:
    """Makes each stage once, so that keys are computed once."""

    def __init__(self, spec: StudySpec, weights: Mapping[tuple[str, str, int], str]) -> None:
        """Keep what all stages share of the study; `weights`: sha256 by (backbone, weights, seed)."""
        self.thresholds = spec.thresholds
        self.operating = spec.operating if spec.thresholds.objective == "cost" else None
        self._seed = spec.seed
        self._evaluation = spec.evaluation
        self._dtype = spec.features.dtype
        self._weights = weights
        self._features = cache(FeatureStage)
        self._made: dict[str, StepStage] = {}

    def fit(self, variant: Variant, train: TrainPart, repeat: int) -> tuple[StepStage, ...]:
        """The fit steps on a train part."""
        require(train, TrainPart)
        features = self._read(variant, train, repeat)
        made: tuple[StepStage, ...] = ()
        for step in (s for s in variant.method.steps if s.part == "fit"):
            made += (self._step(variant, step.name, features, made, repeat),)
        return made

    def score(self, variant: Variant, fit: tuple[StepStage, ...], part: Part, repeat: int) -> StepStage:
        """The last score step on a part, the others before it."""
        features = self._read(variant, part, repeat)
        made = fit
        for step in (s for s in variant.method.steps if s.part == "score"):
            made += (self._step(variant, step.name, features, made, repeat),)
        return made[-1]

    def evaluation(self, variant: Variant, fit: tuple[StepStage, ...], part: Part, repeat: int) -> EvaluationStage:
        """The evaluation of a part, scores and truth before it."""
        asked = self._evaluation
        size = asked.size or variant.image.input_size
        truth = TruthStage(part, variant.image, (size, size) if isinstance(size, int) else size)
        metrics = CHOICES if asked.metrics is None else asked.metrics
        return EvaluationStage(self.score(variant, fit, part, repeat), truth, asked.mode, metrics)

    def segmentation(self, test: EvaluationStage, validation: EvaluationStage | None) -> SegmentationStage | None:
        """What the validation part's pixel threshold finds on the test part; None where it is not asked for."""
        if validation is None or "pixel_f1" not in test.metrics:
            return None
        return SegmentationStage(test.scores, test.truth, validation)

    def saturation(self, test: EvaluationStage) -> SaturationStage | None:
        """The sPRO of the test part; None where not asked for, where maps are streamed, or no mask says its kind."""
        if "pixel_spro" not in test.metrics or test.mode != "exact" or not test.truth.part.defect_kinds:
            return None
        return SaturationStage(test.scores, test.truth)

    def settings(self) -> dict[str, object]:
        """What of the study file goes into every stage, as plain values."""
        # Searches made before these keys were there stay valid; which other metrics are measured changes no trial.
        newer = {"confidence"} if self.thresholds.objective != GUARANTEED else set()
        operating = (
            {"operating": self.operating.model_dump(mode="json", exclude={"parts_per_shift"})} if self.operating else {}
        )
        return {
            "seed": self._seed,
            "features.dtype": self._dtype,
            "evaluation": self._evaluation.model_dump(mode="json", exclude={"metrics"}),
            "thresholds": self.thresholds.model_dump(mode="json", exclude=newer),
            **operating,
        }

    def weights_hash(self, values: Mapping[str, object], repeat: int) -> str:
        """SHA-256 of the weights of these hyperparameters; empty in a plan that is made to look at data alone."""
        return self._weights.get((str(values["backbone"]), str(values["weights"]), self._seed + repeat), "")

    def _step(
        self, variant: Variant, name: str, features: FeatureStage, before: tuple[StepStage, ...], repeat: int
    ) -> StepStage:
        step = next(s for s in variant.method.steps if s.name == name)
        stage = StepStage(variant.method, step, variant.params, features, before, self._seed + repeat)
        # Equal keys with another extent are kept apart: the plan merges extents, not objects.
        return self._made.setdefault(f"{stage.key}:{stage.extent}:{variant.params!r}", stage)

    def _read(self, variant: Variant, part: Part, repeat: int) -> FeatureStage:
        values = variant.params.model_dump(mode="json")
        backbone, weights = str(values["backbone"]), str(values["weights"])
        seed = self._seed + repeat if weights == "random" else 0
        network = Network(backbone, weights, self.weights_hash(values, repeat), seed)
        return self._stage(part, network, variant.image, tuple(values["layers"]))

    def _stage(self, part: Part, network: Network, image: ImageConfig, layers: tuple[str, ...]) -> FeatureStage:
        return self._features(part, network, image, layers, self._dtype)
