"""The stages of a study, in the order in which it runs them. A reader may start here.

    features or images -> steps of the method (fit, then score) -> threshold
                                                      -> evaluation      <- truth (labels and masks)
                                                      -> segmentation    <- truth, evaluation of the validation part
                                                      -> saturation      <- truth, with masks that say their kind
                                                      -> diagnosis       <- truth, evaluation of the validation part

A stage is a value: what is to be computed, and a key made of that and of the keys of its inputs; at the leaves
stand the content hashes of images and weights. Equal keys are one stage, computed once and kept by the store:
sharing between runs, resuming after a crash, the dry run and distribution rest on nothing else.
`sources` beside this file has the first of them, `stated` what every stage says of itself; `adloc.computing.compute`
has how each is computed. Nothing here imports torch or touches a disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from adloc.keys import content_key
from adloc.metrics.registry import CHOICES
from adloc.planning.parts import TestPart, TrainPart, ValidationPart
from adloc.planning.sources import FeatureStage, ImageStage
from adloc.planning.stated import ANY_PART, Stated
from adloc.study_file.evaluating import NATIVE
from adloc.thresholds import GUARANTEED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from adloc.datasets.transform import ImageConfig
    from adloc.methods.method import Method, Step
    from adloc.planning.parts import Part
    from adloc.planning.sources import Source
    from adloc.study_file.evaluating import EvaluationMode
    from adloc.study_file.operating import OperatingConfig
    from adloc.thresholds import ThresholdConfig

# Raised when the code behind a kind of stage changes its results: artifacts of older versions are not used.
STEP_VERSION, TRUTH_VERSION, THRESHOLD_VERSION, EVALUATION_VERSION = 2, 1, 1, 2
SEGMENTATION_VERSION, SATURATION_VERSION, DIAGNOSIS_VERSION = 1, 1, 1
LABELLED = (ValidationPart, TestPart)  # parts whose labels are read
# What a step may see, by what it does.
STEP_TAKES = {"fit": (TrainPart,), "calibrate": (ValidationPart, TrainPart), "score": ANY_PART}
# Of images that a shift moves: since 2, what it brings in from outside of them is void.
MOVED_TRUTH_VERSION = 2


@dataclass(frozen=True, eq=False)
class StepStage(Stated):
    """One step of a method: a fit step on a train part, one that calibrates on a validation part, or a score step.

    Attributes:
        method: the registry entry.
        step: which of its steps.
        params: all parameters of the run; the key holds those that the step declares.
        source: features or images of the train part (fit), of the validation part (calibrate), or of the scored part.
        before: the steps whose results this one may read.
        seed: of the method's random choices.
        plain: `params` as plain values, of whoever has them: thousands of stages have one setting. None: not yet.
    """

    method: Method
    step: Step
    params: BaseModel
    source: Source
    before: tuple[StepStage, ...]
    seed: int
    plain: Mapping[str, Any] | None = None
    notes_images = True
    uses_gpu = True

    @property
    def kind(self) -> str:
        """ "patchcore.coreset"."""
        return f"{self.method.name}.{self.step.name}"

    @property
    def title(self) -> str:
        """ "patchcore.coreset (fit)"."""
        return f"{self.kind} ({self.step.part})"

    @property
    def inputs(self) -> tuple[Source | StepStage, ...]:
        """Images or their features, and the steps before."""
        return (self.source, *self.before)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The part whose images or features it reads."""
        return (self.source.part,)

    @property
    def takes(self) -> tuple[type[Part], ...]:
        """By what it does."""
        return STEP_TAKES[self.step.part]

    @property
    def features(self) -> FeatureStage | None:
        """The features that it reads; None where it reads the images themselves."""
        return self.source if isinstance(self.source, FeatureStage) else None

    @cached_property
    def key(self) -> str:
        """Key of the result, whatever its extent."""
        return self._key(self.step.params)

    @cached_property
    def family(self) -> str | None:
        """All but the parameter that the step builds on; None for one that builds on nothing."""
        if self.step.builds_on is None:
            return None
        return self._key(name for name in self.step.params if name != self.step.builds_on)

    def _key(self, names: Iterable[str]) -> str:
        """Key with these parameters."""
        values = self.values
        return content_key(
            [
                self.kind,
                STEP_VERSION,
                self.step.version,
                # A parameter that came later is not written at its default: keys are older than it.
                {name: values[name] for name in names if name in values},
                self.source.key,
                [stage.key for stage in self.before],
                self.seed if self.step.part != "score" else None,
                *([self.method.code] if self.method.code else []),
            ]
        )

    @property
    def values(self) -> Mapping[str, Any]:
        """All parameters as plain values."""
        return self.params.model_dump(mode="json") if self.plain is None else self.plain

    @property
    def grows_with(self) -> str | None:
        """As the step declares."""
        return self.step.grows_with

    @cached_property
    def extent(self) -> float | None:
        """The run's own."""
        return None if self.grows_with is None else float(getattr(self.params, self.grows_with))


@dataclass(frozen=True, eq=False)
class ThresholdStage(Stated):
    """The threshold chosen on validation parts: one category's, or all together.

    Attributes:
        scores: last score step on each part.
        parts: the validation parts, in the order of `scores`.
        config: the objective.
        operating: rates and costs of the line, for `cost` alone.
    """

    scores: tuple[StepStage, ...]
    parts: tuple[ValidationPart, ...]
    config: ThresholdConfig
    operating: OperatingConfig | None = None
    kind = "threshold"
    takes = (ValidationPart,)
    notes_images = True

    @property
    def inputs(self) -> tuple[StepStage, ...]:
        """The scores of every part."""
        return self.scores

    @cached_property
    def key(self) -> str:
        """Key of the threshold."""
        pairs = [[s.key, p.truth_key] for s, p in zip(self.scores, self.parts, strict=True)]
        objective: dict[str, object] = {"objective": self.config.objective, "fpr": self.config.fpr}
        # The others do not read them, and their keys are older than they are.
        if self.config.objective == GUARANTEED:
            objective["confidence"] = self.config.confidence
        if self.config.objective == "cost" and self.operating:
            objective["operating"] = self.operating.model_dump(mode="json", exclude={"parts_per_shift"})
        return content_key(["threshold", THRESHOLD_VERSION, objective, sorted(pairs)])


@dataclass(frozen=True, eq=False)
class TruthStage(Stated):
    """Labels and masks of a part at the evaluation size.

    Attributes:
        part: the images.
        image: the preprocessing, whose crop the masks follow.
        size: (height, width) of the evaluation; "native" for each image's own.
    """

    part: Part
    image: ImageConfig
    size: tuple[int, int] | Literal["native"]
    kind = "truth"
    inputs = ()
    takes = LABELLED
    notes_images = True

    @property
    def parts(self) -> tuple[Part, ...]:
        """The images."""
        return (self.part,)

    @cached_property
    def key(self) -> str:
        """Key of labels and masks."""
        image = self.image.model_dump(mode="json")
        moved = self.part.shift is not None and self.part.shift.moves
        version, size = MOVED_TRUTH_VERSION if moved else TRUTH_VERSION, self.size
        return content_key(["truth", version, self.part.truth_key, image, size if size == NATIVE else list(size)])


@dataclass(frozen=True, eq=False)
class _Judging(Stated):
    """What compares scores with the truth.

    Attributes:
        scores: the last score step on a part.
        truth: of the same part.
    """

    scores: StepStage
    truth: TruthStage

    @property
    def inputs(self) -> tuple[StepStage | TruthStage | EvaluationStage, ...]:
        """Both."""
        return (self.scores, self.truth)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The part that is judged."""
        return (self.truth.part,)


@dataclass(frozen=True, eq=False)
class EvaluationStage(_Judging):
    """Metrics and curves that need no threshold, of a validation or a test part.

    Attributes:
        mode: how pixel metrics are computed.
        metrics: what is asked for, by result column. They are not in the key: a result that holds more serves as well,
            and one that lacks some is computed again.
    """

    mode: EvaluationMode = "exact"
    metrics: tuple[str, ...] = CHOICES
    kind = "evaluation"
    takes = LABELLED

    @cached_property
    def key(self) -> str:
        """Key of the metrics."""
        return content_key(
            ["evaluation", EVALUATION_VERSION, self.scores.key, _maps(self.scores), self.truth.key, self.mode]
        )

    def is_measured(self, facts: Mapping[str, str | float]) -> bool:
        """Whether a kept result, of which these are the facts, holds all that is asked for."""
        asked = set(self.metrics) - {"pixel_spro"}  # which has a stage of its own
        return asked <= set(str(facts.get("measured", "")).split())


@dataclass(frozen=True, eq=False)
class SegmentationStage(_Judging):
    """What the pixel threshold of the validation part finds on the test part.

    Attributes:
        calibrated: the evaluation of the validation part, which holds the threshold.
    """

    calibrated: EvaluationStage
    kind = "segmentation"
    takes = (TestPart,)

    @property
    def inputs(self) -> tuple[StepStage | TruthStage | EvaluationStage, ...]:
        """With the threshold's."""
        return (*super().inputs, self.calibrated)

    @cached_property
    def key(self) -> str:
        """Key of the metrics."""
        inputs = [self.scores.key, _maps(self.scores), self.truth.key, self.calibrated.key]
        return content_key(["segmentation", SEGMENTATION_VERSION, *inputs])


@dataclass(frozen=True, eq=False)
class SaturationStage(_Judging):
    """sPRO of a test part whose masks say which kind of defect they mark."""

    kind = "saturation"
    takes = (TestPart,)

    @cached_property
    def key(self) -> str:
        """Key of the metric."""
        kinds = [kind.model_dump(mode="json") for kind in self.truth.part.defect_kinds]
        inputs = [self.scores.key, _maps(self.scores), self.truth.key, kinds]
        return content_key(["saturation", SATURATION_VERSION, *inputs])


@dataclass(frozen=True, eq=False)
class DiagnosisStage(Stated):
    """How the validation part is ranked at the run's own scoring and where each parameter of it is plain.

    Attributes:
        evaluation: of the validation part.
        plain: parameters of the run that `Method.plain` names and that are not plain, with their plain values.
        metrics: that are compared, by result column.
        margin: a difference within it does not matter. Not in the key: what is measured does not depend on it.
    """

    evaluation: EvaluationStage
    plain: Mapping[str, object]
    metrics: tuple[str, ...]
    margin: float
    kind = "diagnosis"
    takes = (ValidationPart,)

    @property
    def inputs(self) -> tuple[StepStage | TruthStage | EvaluationStage, ...]:
        """Scores and truth: the evaluation says which, and its result is not read."""
        return self.evaluation.inputs

    @property
    def parts(self) -> tuple[Part, ...]:
        """The part that is ranked."""
        return self.evaluation.parts

    @cached_property
    def key(self) -> str:
        """Key of the comparison."""
        return content_key(["diagnosis", DIAGNOSIS_VERSION, self.evaluation.key, dict(self.plain), self.metrics])


Stage = (
    FeatureStage
    | ImageStage
    | StepStage
    | ThresholdStage
    | TruthStage
    | EvaluationStage
    | SegmentationStage
    | SaturationStage
    | DiagnosisStage
)


def _maps(scores: StepStage) -> dict[str, object]:
    """The parameters that anomaly maps are made with."""
    values = scores.values
    return {name: values[name] for name in scores.method.map_params}
