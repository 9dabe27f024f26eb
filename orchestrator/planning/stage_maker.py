"""Makes the stages of one variant on given parts: for the runs of a plan, and for the trials of a search.

It is given parts and knows no dataset, so whoever holds one can reach no other image than those it is given.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from adloc.keys import content_key
from adloc.methods.engines.engine import TORCH, find_engine
from adloc.methods.errors import MethodError
from adloc.metrics.registry import CHOICES
from adloc.planning.parts import TrainPart, ValidationPart, require
from adloc.planning.sources import FeatureStage, ImageStage, Network
from adloc.planning.stages import (
    DiagnosisStage,
    EvaluationStage,
    SaturationStage,
    SegmentationStage,
    StepStage,
    ThresholdStage,
    TruthStage,
)
from adloc.study_file.variants import network_of
from adloc.thresholds import GUARANTEED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.methods.method import Step
    from adloc.planning.parts import Part
    from adloc.planning.sources import Source
    from adloc.study_file.spec import StudySpec
    from adloc.study_file.variants import Variant

RANKINGS = ("image_auroc", "pixel_auroc", "pixel_aupro")  # that a diagnosis compares
FEWEST_OF_CLASS = 5  # images: from fewer no interval of a difference is trusted


class StageMaker:
    """Makes each stage once, so that keys are computed once; variants share what does not depend on where they differ.

    Attributes:
        fit: the fit steps of a variant on a train part, in a repeat, and those that calibrate: on the validation part
            of the same domain, or where that has no image on the train part.
        score: the last score step of a fitted variant on a part, the others before it.
        evaluation: of a fitted variant on a part, scores and truth before it.
        threshold: of scores and validation parts.
        diagnosis: the validation part's ranking against that of plain scores; None where they are plain, or cannot be
            told.
    """

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
        self._alike: dict[str, Variant] = {}
        self._reader = cache(self._alike_in_source)
        self._taker = cache(self._alike_in_step)
        self._read = cache(self._source)
        self._judged = cache(self._truth)
        self._shared = cache(self._step)
        self.fit = cache(self._fit)
        self.score = cache(self._score)
        self.evaluation = cache(self._evaluated)
        self.threshold = cache(self._threshold)
        self.diagnosis = cache(self._diagnosed)

    def _fit(
        self, variant: Variant, train: TrainPart, validation: ValidationPart, repeat: int
    ) -> tuple[StepStage, ...]:
        require(train, TrainPart)
        require(validation, ValidationPart)
        made: tuple[StepStage, ...] = ()
        for step in (s for s in variant.method.steps if s.part != "score" and s.is_taken(variant.params)):
            part = validation if step.part == "calibrate" and len(validation) else train
            source = self._read(self._reader(variant), part, repeat)
            made += (self._shared(self._taker(variant, step), step, source, made, repeat),)
        return made

    def _score(self, variant: Variant, fit: tuple[StepStage, ...], part: Part, repeat: int) -> StepStage:
        source = self._read(self._reader(variant), part, repeat)
        made = fit
        *before, last = (s for s in variant.method.steps if s.part == "score" and s.is_taken(variant.params))
        for step in before:
            made += (self._shared(self._taker(variant, step), step, source, made, repeat),)
        return self._step(variant, last, source, made, repeat)  # its maps are expanded with the run's own parameters

    def _threshold(self, scores: tuple[StepStage, ...], parts: tuple[ValidationPart, ...]) -> ThresholdStage:
        return ThresholdStage(scores, parts, self.thresholds, self.operating)

    def _evaluated(self, variant: Variant, fit: tuple[StepStage, ...], part: Part, repeat: int) -> EvaluationStage:
        asked = self._evaluation
        metrics = CHOICES if asked.metrics is None else asked.metrics
        truth = self._judged(self._reader(variant), part)
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

    def _diagnosed(self, validation: EvaluationStage | None) -> DiagnosisStage | None:
        if validation is None:
            return None
        scores, part = validation.scores, validation.truth.part
        plain = {name: each for name, each in scores.method.plain.items() if scores.values[name] != each}
        there = RANKINGS if validation.mode == "exact" else RANKINGS[:1]  # of pixels all maps are needed at once
        metrics = tuple(name for name in there if name in validation.metrics)
        few = min(part.n_anomalous, len(part) - part.n_anomalous) < FEWEST_OF_CLASS
        return None if few or not plain or not metrics else DiagnosisStage(validation, plain, metrics, self._margin)

    def over_epochs(self, variant: Variant, fit: tuple[StepStage, ...], part: Part, repeat: int) -> StepStage | None:
        """A part scored by earlier states of the training; None where the method has none."""
        step = variant.method.over_epochs
        if step is None:
            return None
        source = self._read(self._reader(variant), part, repeat)
        return StepStage(variant.method, step, variant.params, source, fit, fit[-1].seed, variant.values)

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
        self, variant: Variant, step: Step, source: Source, before: tuple[StepStage, ...], repeat: int
    ) -> StepStage:
        return StepStage(variant.method, step, variant.params, source, before, self._seed + repeat, variant.values)

    def _alike_in_step(self, variant: Variant, step: Step) -> Variant:
        """The first variant with the same values of all that a step and those before it declare.

        A step may read the parameters of its inputs as well: a search by an index those of the index.
        """
        steps = variant.method.steps[: variant.method.steps.index(step) + 1]
        names = sorted({name for each in steps for name in (*each.params, each.grows_with) if name is not None})
        values = {name: variant.values[name] for name in names if name in variant.values}
        return self._alike.setdefault(content_key([variant.method.name, step.name, values]), variant)

    def _alike_in_source(self, variant: Variant) -> Variant:
        """The first variant that reads the same of every part, at the same size."""
        names = ("backbone", "weights", "layers")
        values = {name: variant.values[name] for name in names if name in variant.values}
        image = variant.image.model_dump(mode="json")
        return self._alike.setdefault(content_key([variant.method.reads, values, image]), variant)

    def _truth(self, variant: Variant, part: Part) -> TruthStage:
        size = self._evaluation.size or variant.image.input_size
        return TruthStage(part, variant.image, (size, size) if isinstance(size, int) else size)

    def _source(self, variant: Variant, part: Part, repeat: int) -> Source:
        values = variant.values
        network, named = None, network_of(values)
        if named is not None:
            seed = self._seed + repeat if named[1] == "random" else 0
            network = Network(*named, self.weights_hash(values, repeat), seed)
        if variant.method.reads == "images":
            return ImageStage(part, network, variant.image)
        if network is None:
            raise MethodError(
                f"method {variant.method.name} reads features, and its backbone is {values.get('backbone')}",
                "features are those of a backbone",
                "name one, for example backbone: resnet18",
            )
        return FeatureStage(part, network, variant.image, tuple(values["layers"]), self._dtype, self._engine)
