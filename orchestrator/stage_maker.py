"""Makes the stages of one variant on given parts: for the runs of a plan, and for the trials of a search.

It is given parts and knows no dataset, so whoever holds one can reach no other image than those it is given.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from adloc.methods.engines.engine import TORCH, find_engine
from adloc.methods.errors import MethodError
from adloc.metrics.registry import CHOICES
from adloc.parts import TrainPart, ValidationPart, require
from adloc.stages import (
    DiagnosisStage,
    EvaluationStage,
    FeatureStage,
    ImageStage,
    Network,
    SaturationStage,
    SegmentationStage,
    StepStage,
    TruthStage,
)
from adloc.study_file.variants import network_of
from adloc.thresholds import GUARANTEED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.parts import Part
    from adloc.stages import Source
    from adloc.study_file.spec import StudySpec
    from adloc.study_file.variants import Variant


class StageMaker:
    """Makes each stage once, so that keys are computed once."""

    def __init__(self, spec: StudySpec, weights: Mapping[tuple[str, str, int], str]) -> None:
        """Keep what all stages share of the study; `weights`: sha256 by (backbone, weights, seed).

        Raises:
            MethodError: the engine that the features are to be computed by is not installed.
        """
        self.thresholds = spec.thresholds
        self.operating = spec.operating if spec.thresholds.objective == "cost" else None
        self._seed = spec.seed
        self._evaluation = spec.evaluation
        self._dtype = spec.features.dtype
        self._engine = find_engine(spec.features.engine)
        self._margin = spec.comparison.margin
        self._weights = weights
        self._features = cache(FeatureStage)
        self._images = cache(ImageStage)
        self._made: dict[str, StepStage] = {}

    def fit(self, variant: Variant, train: TrainPart, validation: ValidationPart, repeat: int) -> tuple[StepStage, ...]:
        """The fit steps on a train part, and those that calibrate on the validation part beside it.

        Args:
            variant: the method and its setting.
            train: the images to fit on.
            validation: of the same domain; where it has no image, the train part is calibrated on.
            repeat: number of the repeat.
        """
        require(train, TrainPart)
        require(validation, ValidationPart)
        made: tuple[StepStage, ...] = ()
        for step in (s for s in variant.method.steps if s.part != "score" and s.is_taken(variant.params)):
            part = validation if step.part == "calibrate" and len(validation) else train
            made += (self._step(variant, step.name, self._read(variant, part, repeat), made, repeat),)
        return made

    def score(self, variant: Variant, fit: tuple[StepStage, ...], part: Part, repeat: int) -> StepStage:
        """The last score step on a part, the others before it."""
        source = self._read(variant, part, repeat)
        made = fit
        for step in (s for s in variant.method.steps if s.part == "score" and s.is_taken(variant.params)):
            made += (self._step(variant, step.name, source, made, repeat),)
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

    def diagnosis(self, validation: EvaluationStage | None) -> DiagnosisStage | None:
        """The validation part's ranking against that of plain scores; None where they are plain, or cannot be told."""
        return None if validation is None else DiagnosisStage.of(validation, self._margin)

    def over_epochs(self, variant: Variant, fit: tuple[StepStage, ...], part: Part, repeat: int) -> StepStage | None:
        """A part scored by earlier states of the training; None where the method has none."""
        step = variant.method.over_epochs
        if step is None:
            return None
        return StepStage(variant.method, step, variant.params, self._read(variant, part, repeat), fit, fit[-1].seed)

    def settings(self) -> dict[str, object]:
        """What of the study file goes into every stage, as plain values."""
        # Searches made before these keys were there stay valid; which other metrics are measured changes no trial.
        newer = {"confidence"} if self.thresholds.objective != GUARANTEED else set()
        operating = (
            {"operating": self.operating.model_dump(mode="json", exclude={"parts_per_shift"})} if self.operating else {}
        )
        engine = {} if self._engine == TORCH else {"features.engine": [self._engine.name, self._engine.version]}
        return {
            "seed": self._seed,
            "features.dtype": self._dtype,
            **engine,
            "evaluation": self._evaluation.model_dump(mode="json", exclude={"metrics"}),
            "thresholds": self.thresholds.model_dump(mode="json", exclude=newer),
            **operating,
        }

    def weights_hash(self, values: Mapping[str, object], repeat: int) -> str:
        """SHA-256 of the weights of these hyperparameters; empty without a network, or to look at data alone."""
        named = network_of(values)
        return "" if named is None else self._weights.get((*named, self._seed + repeat), "")

    def _step(
        self, variant: Variant, name: str, source: Source, before: tuple[StepStage, ...], repeat: int
    ) -> StepStage:
        step = next(s for s in variant.method.steps if s.name == name)
        stage = StepStage(variant.method, step, variant.params, source, before, self._seed + repeat)
        # Equal keys with another extent are kept apart: the plan merges extents, not objects.
        return self._made.setdefault(f"{stage.key}:{stage.extent}:{variant.params!r}", stage)

    def _read(self, variant: Variant, part: Part, repeat: int) -> Source:
        values = variant.params.model_dump(mode="json")
        network, named = None, network_of(values)
        if named is not None:
            seed = self._seed + repeat if named[1] == "random" else 0
            network = Network(*named, self.weights_hash(values, repeat), seed)
        if variant.method.reads == "images":
            return self._images(part, network, variant.image)
        if network is None:
            raise MethodError(
                f"method {variant.method.name} reads features, and its backbone is {values.get('backbone')}",
                "features are those of a backbone",
                "name one, for example backbone: resnet18",
            )
        return self._features(part, network, variant.image, tuple(values["layers"]), self._dtype, self._engine)
