"""The stages of a study, in the order in which it runs them. A reader may start here.

    features or images -> steps of the method (fit, then score) -> threshold
                                                      -> evaluation      <- truth (labels and masks)
                                                      -> segmentation    <- truth, evaluation of the validation part
                                                      -> saturation      <- truth, with masks that say their kind
                                                      -> diagnosis       <- truth, evaluation of the validation part

A stage is a value: what is to be computed, and a key made of that and of the keys of its inputs; at the leaves
stand the content hashes of images and weights. Equal keys are one stage, computed once and kept by the store:
sharing between runs, resuming after a crash, the dry run and distribution rest on nothing else.
`adloc.computing.compute` says how each is computed. Nothing here imports torch or touches a disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from adloc.keys import content_key
from adloc.methods.engines.engine import TORCH
from adloc.metrics.registry import CHOICES
from adloc.study_file.evaluating import NATIVE
from adloc.thresholds import GUARANTEED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from adloc.datasets.transform import ImageConfig
    from adloc.methods.engines.engine import Engine
    from adloc.methods.method import Method, Step
    from adloc.planning.parts import Part, ValidationPart
    from adloc.study_file.evaluating import EvaluationMode
    from adloc.study_file.operating import OperatingConfig
    from adloc.study_file.spec import FeatureDtype
    from adloc.thresholds import ThresholdConfig

# Raised when the code behind a kind of stage changes its results: artifacts of older versions are not used.
FEATURES_VERSION, STEP_VERSION, TRUTH_VERSION, THRESHOLD_VERSION, EVALUATION_VERSION = 2, 2, 1, 1, 2
SEGMENTATION_VERSION, SATURATION_VERSION, DIAGNOSIS_VERSION, IMAGES_VERSION = 1, 1, 1, 1
RANKINGS = ("image_auroc", "pixel_auroc", "pixel_aupro")  # that a diagnosis compares
FEWEST_OF_CLASS = 5  # images: from fewer no interval of a difference is trusted
# Of images that a shift moves: since 2, what it brings in from outside of them is void.
MOVED_TRUTH_VERSION = 2


@dataclass(frozen=True)
class Network:
    """A backbone with its weights.

    Attributes:
        backbone: "resnet50", "package.module:function".
        weights: as in the study file: "default", a path, "random".
        sha256: of the weights; only this, not the path, is part of the key.
        seed: of random weights.
    """

    backbone: str
    weights: str
    sha256: str
    seed: int


@dataclass(frozen=True, eq=False)
class FeatureStage:
    """Backbone features of every image of a part, kept image by image.

    Attributes:
        part: the images.
        network: the backbone.
        image: size and crop of its input.
        layers: that this run reads. They are not in the key: an image passes the backbone once for all layers
            that any run of the study reads.
        dtype: in which they are kept.
        engine: what runs the network. Part of the key where it is not torch: keys are older than the other engines.
    """

    part: Part
    network: Network
    image: ImageConfig
    layers: tuple[str, ...]
    dtype: FeatureDtype = "float32"
    engine: Engine = TORCH
    kind = "features"

    @cached_property
    def source(self) -> str:
        """Identity of network, size, dtype and engine: stages that agree here share one backbone pass an image."""
        image = self.image.model_dump(mode="json")
        network = [self.network.backbone, self.network.sha256]
        engine = [] if self.engine == TORCH else [self.engine.name, self.engine.version]
        return content_key(["features", FEATURES_VERSION, *network, image, self.dtype, *engine])

    @cached_property
    def image_keys(self) -> tuple[str, ...]:
        """Key of each image's features."""
        return tuple(content_key([self.source, key]) for key in self.part.image_keys)

    @cached_property
    def key(self) -> str:
        """Key of the whole part's features."""
        return content_key(["features of a part", list(self.image_keys)])


@dataclass(frozen=True, eq=False)
class ImageStage:
    """The images of a part at the input size, for a method that reads them itself: nothing is computed or kept.

    Attributes:
        part: the images.
        network: whose weights the method takes up; None for a method without.
        image: size and crop.
    """

    part: Part
    network: Network | None
    image: ImageConfig
    kind = "images"

    @cached_property
    def key(self) -> str:
        """Key of the images, and of the weights that go with them."""
        image = self.image.model_dump(mode="json")
        network = [] if self.network is None else [self.network.backbone, self.network.sha256]
        return content_key(["images", IMAGES_VERSION, network, image, list(self.part.image_keys)])


@dataclass(frozen=True, eq=False)
class StepStage:
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

    @property
    def kind(self) -> str:
        """ "patchcore.coreset"."""
        return f"{self.method.name}.{self.step.name}"

    @cached_property
    def key(self) -> str:
        """Key of the result, whatever its extent."""
        return self._key(self.step.params)

    @cached_property
    def family(self) -> str | None:
        """What stages have in common of which one can build on another; None for a step that builds on nothing."""
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

    @cached_property
    def extent(self) -> float | None:
        """The value of the parameter with which the result grows; None for a step that does not."""
        return None if self.step.grows_with is None else float(getattr(self.params, self.step.grows_with))


@dataclass(frozen=True, eq=False)
class ThresholdStage:
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
class TruthStage:
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

    @cached_property
    def key(self) -> str:
        """Key of labels and masks."""
        image = self.image.model_dump(mode="json")
        moved = self.part.shift is not None and self.part.shift.moves
        version, size = MOVED_TRUTH_VERSION if moved else TRUTH_VERSION, self.size
        return content_key(["truth", version, self.part.truth_key, image, size if size == NATIVE else list(size)])


@dataclass(frozen=True, eq=False)
class EvaluationStage:
    """Metrics and curves that need no threshold, of a validation or a test part.

    Attributes:
        scores: the last score step on the part.
        truth: of the same part.
        mode: how pixel metrics are computed.
        metrics: what is asked for, by result column. They are not in the key: a result that holds more serves as well,
            and one that lacks some is computed again.
    """

    scores: StepStage
    truth: TruthStage
    mode: EvaluationMode = "exact"
    metrics: tuple[str, ...] = CHOICES
    kind = "evaluation"

    @cached_property
    def key(self) -> str:
        """Key of the metrics."""
        return content_key(
            ["evaluation", EVALUATION_VERSION, self.scores.key, _maps(self.scores), self.truth.key, self.mode]
        )


@dataclass(frozen=True, eq=False)
class SegmentationStage:
    """What the pixel threshold of the validation part finds on the test part.

    Attributes:
        scores: the last score step on the test part.
        truth: of the same part.
        calibrated: the evaluation of the validation part, which holds the threshold.
    """

    scores: StepStage
    truth: TruthStage
    calibrated: EvaluationStage
    kind = "segmentation"

    @cached_property
    def key(self) -> str:
        """Key of the metrics."""
        inputs = [self.scores.key, _maps(self.scores), self.truth.key, self.calibrated.key]
        return content_key(["segmentation", SEGMENTATION_VERSION, *inputs])


@dataclass(frozen=True, eq=False)
class SaturationStage:
    """sPRO of a test part whose masks say which kind of defect they mark.

    Attributes:
        scores: the last score step on the test part.
        truth: of the same part.
    """

    scores: StepStage
    truth: TruthStage
    kind = "saturation"

    @cached_property
    def key(self) -> str:
        """Key of the metric."""
        kinds = [kind.model_dump(mode="json") for kind in self.truth.part.defect_kinds]
        inputs = [self.scores.key, _maps(self.scores), self.truth.key, kinds]
        return content_key(["saturation", SATURATION_VERSION, *inputs])


@dataclass(frozen=True, eq=False)
class DiagnosisStage:
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

    @classmethod
    def of(cls, validation: EvaluationStage, margin: float) -> DiagnosisStage | None:
        """None where scores are plain, no ranking is asked for, or too few images could tell."""
        values = validation.scores.values
        plain = {name: each for name, each in validation.scores.method.plain.items() if values[name] != each}
        there = RANKINGS if validation.mode == "exact" else RANKINGS[:1]  # of pixels all maps are needed at once
        metrics = tuple(name for name in there if name in validation.metrics)
        part = validation.truth.part
        fewest = min(part.n_anomalous, len(part) - part.n_anomalous)
        return cls(validation, plain, metrics, margin) if plain and metrics and fewest >= FEWEST_OF_CLASS else None

    @cached_property
    def key(self) -> str:
        """Key of the comparison."""
        return content_key(["diagnosis", DIAGNOSIS_VERSION, self.evaluation.key, dict(self.plain), self.metrics])


Source = FeatureStage | ImageStage
Stage = (
    Source
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
