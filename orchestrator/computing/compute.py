"""The workbench, on which each kind of stage is computed from what it needs, or found in the store."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

import numpy as np

from adloc.computing.diagnosis import diagnose
from adloc.computing.environment import describe, peak_bytes, processor
from adloc.computing.features import FeatureExtraction, PassingFeatures, StoredFeatures
from adloc.computing.foreign import held_to_declaration, readable
from adloc.computing.images import PartImages
from adloc.computing.localisation import localise, segment
from adloc.computing.reading import IMAGES_READ, hashes_of, noted
from adloc.computing.saturation import find_saturated
from adloc.computing.tiling import check_tiles
from adloc.computing.truth import COUNTED, read_truth
from adloc.methods import import_library, load_detector
from adloc.methods.detector import ImageContext, Result, StepContext
from adloc.metrics.ranking import precision_recall_curve, roc_curve
from adloc.metrics.registry import OF_IMAGES
from adloc.planning.parts import TestPart, ValidationPart, require
from adloc.planning.sight import require_sight
from adloc.planning.sources import FeatureStage, ImageStage, Source, features_among
from adloc.planning.stages import (
    DiagnosisStage,
    EvaluationStage,
    SaturationStage,
    SegmentationStage,
    StepStage,
    ThresholdStage,
    TruthStage,
)
from adloc.thresholds import calibrate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import torch

    from adloc.computing.features import PartFeatures
    from adloc.computing.store import Store
    from adloc.methods.detector import Detector
    from adloc.methods.method import Method
    from adloc.planning.extents import Extents
    from adloc.planning.stages import Stage

    _Computed = (
        StepStage | ThresholdStage | TruthStage | EvaluationStage | SegmentationStage | SaturationStage | DiagnosisStage
    )


class Listener(Protocol):
    """Hears of the work as it goes on: for progress, and for tests that count what was computed."""

    def stage_started(self, stage: Stage) -> None:
        """A stage is not in the store and is being computed."""

    def stage_progress(self, stage: Stage, done: int, total: int) -> None:
        """`done` of `total` images of a features stage, or of whatever a step counts."""

    def stage_done(self, stage: Stage, seconds: float, n_images: int) -> None:
        """A stage was computed; `n_images` passed the backbone (0 for other kinds)."""

    def worker_done(self, worker: str, stage: Stage, seconds: float, n_images: int) -> None:
        """Another process, "host:pid", computed a stage, or some images of one."""


class Helper(Protocol):
    """Computes stages elsewhere, into the store of the workbench that asks.

    Attributes:
        device_name: "cpu", or the names of the GPUs that it computes on.
        peak_bytes: the largest memory of a process that computed for it.
    """

    device_name: str
    peak_bytes: int

    @property
    def kept_bytes(self) -> Mapping[str, int]:
        """That the store took for each stage that is done, by key: it may be on another disk than this process's."""
        ...

    def compute(self, stage: Stage, bench: Workbench) -> None:
        """Return once the store has the stage.

        Raises:
            StageFailedError: it, or something that it needs, failed.
            StageMismatchError: it was given a part that it must never see.
        """


class Workbench:
    """Computes stages into a store: only what is asked for and not there already."""

    def __init__(
        self,
        store: Store,
        reach: Extents,
        device: torch.device,
        listener: Listener,
        batch_size: int | None = None,
        helper: Helper | None = None,
    ) -> None:
        """Compute on `device`, `batch_size` images at a time through the backbone; or let `helper` compute."""
        self.reach = reach
        self.device = device
        self._store = store
        self._listener = listener
        self._helper = helper
        self._extraction = FeatureExtraction(store, device, batch_size, reads=helper is None)
        self._detectors: dict[str, Detector] = {}
        self._spent: dict[str, float] = {}

    def load(self, stages: Sequence[Stage]) -> None:
        """Load every network that these stages read, and the libraries of methods of which steps are to be computed.

        So what is wrong with weights and layers is found before any work.

        Raises:
            MethodError: weights that do not fit, a layer that is not there, or one whose cells do not fit into tiles.
        """
        wanted = {stage.source: stage for stage in features_among(stages)}
        for source, stage in sorted(wanted.items(), key=lambda each: str(each[1].network)):
            check_tiles(self._extraction.network(stage, self.reach.layers[source]), stage.image)
        if self._helper is None:
            steps = [stage for stage in stages if isinstance(stage, StepStage) and stage.method.library]
            for method in {stage.method.name: stage.method for stage in steps}.values():
                if not all(self.is_done(stage) for stage in steps if stage.method == method):
                    import_library(method)

    def is_done(self, stage: Stage) -> bool:
        """Whether the store has the stage, as far as the plan needs it."""
        if isinstance(stage, FeatureStage):
            return stage.key in self.reach.passing or self._extraction.is_done(stage, self.reach.layers[stage.source])
        return not stage.result_keys or self.kept(stage) is not None

    @property
    def device_name(self) -> str:
        """ "cpu", or the name of the GPU; of whatever computes."""
        return describe(self.device) if self._helper is None else self._helper.device_name

    @property
    def processor(self) -> Mapping[str, str]:
        """Threads and instructions of what computes; empty where other processes do."""
        return processor() if self._helper is None else {}

    @property
    def peak_bytes(self) -> int:
        """The largest memory so far of this process, or of one that computed for it."""
        return peak_bytes() if self._helper is None else self._helper.peak_bytes

    def result(self, stage: Stage) -> Result:
        """The result of a stage, computed if need be, after its inputs. What is kept needs no inputs.

        Raises:
            StageFailedError: it was computed in another process, and failed there.
            StageMismatchError: it would see images that it must not, kept or not.
        """
        require_sight(stage)
        if isinstance(stage, FeatureStage):
            self._features(stage)
        if isinstance(stage, Source):  # kept by image, or not at all
            return Result({})
        kept = self.kept(stage)
        if kept is None and self._helper is not None:
            self._helper.compute(stage, self)
            kept = self.kept(stage)
        return self._compute(stage) if kept is None else kept

    def missing_images(self, stage: FeatureStage) -> list[int]:
        """Numbers of the images that the store lacks, or of which it lacks a layer."""
        return self._extraction.missing(stage, self.reach.layers[stage.source])

    def extract(self, stage: FeatureStage, images: Collection[int]) -> int:
        """Compute the features of these images, where the store lacks them; how many passed the backbone."""
        return self._extraction.run(stage, self.reach.layers[stage.source], lambda _done, _total: None, images)

    def image_bytes(self, stage: FeatureStage) -> int:
        """Bytes that the store keeps of one image."""
        return self._extraction.image_bytes(stage, self.reach.layers[stage.source])

    def features(self, stage: FeatureStage) -> PartFeatures:
        """The features of a part, as steps read them."""
        if stage.key in self.reach.passing:
            return PassingFeatures(self._store, self._extraction, stage, self.reach.layers[stage.source])
        return StoredFeatures(self._store, stage.image_keys, stage.image.input_size, hashes_of(stage.part))

    def images(self, stage: ImageStage) -> PartImages:
        """The images of a part, as steps read them."""
        return PartImages(stage)

    def detector(self, method: Method) -> Detector:
        """The implementation of a method."""
        if method.name not in self._detectors:
            self._detectors[method.name] = load_detector(method)
        return self._detectors[method.name]

    def _feature_seconds(self, stage: FeatureStage, features: PartFeatures) -> float:
        """What the features of a part took. Kept with each step's result: features may leave the store before it."""
        if stage.key not in self._spent:
            self._spent[stage.key] = features.seconds()
        return self._spent[stage.key]

    def kept(self, stage: Stage) -> Result | None:
        """What the store has of a stage, as far as the plan needs it; nothing is computed."""
        needed = self.reach.extents.get(stage.key)

        def is_enough(kept: Result) -> bool:
            return (needed is None or float(kept.facts["extent"]) >= needed) and is_whole(stage, kept)

        return self._store.get(stage.kind, stage.key, is_enough)

    def _features(self, stage: FeatureStage) -> None:
        if self.is_done(stage):
            return
        if self._helper is not None:
            self._helper.compute(stage, self)
            return
        self._listener.stage_started(stage)
        start = time.perf_counter()
        n_images = self._extraction.run(
            stage, self.reach.layers[stage.source], partial(self._listener.stage_progress, stage)
        )
        self._listener.stage_done(stage, time.perf_counter() - start, n_images)

    def _compute(self, stage: _Computed) -> Result:
        work = self._work(stage)
        kept = self.kept(stage)
        if kept is not None:  # by another process, while this one saw to what the stage needs
            return kept
        self._listener.stage_started(stage)
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        # A result that goes on from another one took the time of both: costs are those of a run on its own.
        result = replace(result, seconds=result.seconds + seconds)
        self._store.put(stage.kind, stage.key, result)
        self._store.clear_scratch(stage.kind, stage.key)
        self._listener.stage_done(stage, seconds, 0)
        return self._store.get(stage.kind, stage.key) or result  # memory-mapped: what was computed can be let go

    def _work(self, stage: _Computed) -> Callable[[], Result]:  # noqa: PLR0911  one a kind
        """Everything that a stage needs, done; and the stage itself, to be called and timed."""
        match stage:
            case StepStage():
                # Read before the base is: trials beside this one may raise both, and the base must reach as far.
                extent = self.reach.extents.get(stage.key)
                self.result(stage.source)
                before = {earlier.step.name: self.result(earlier) for earlier in stage.before}
                base = self.reach.bases.get(stage.key)
                self.detector(stage.method)
                import_library(stage.method)  # which is no step's cost
                return partial(self._step, stage, before, extent, None if base is None else self.result(base))
            case ThresholdStage():
                return partial(choose_threshold, stage, [self.result(s) for s in stage.scores])
            case TruthStage():
                return partial(read_truth, stage)
            case EvaluationStage():
                scores, truth = self.result(stage.scores), self.result(stage.truth)
                return partial(evaluate, stage, scores, truth, self.detector(stage.scores.method))
            case SegmentationStage():
                scores, truth = self.result(stage.scores), self.result(stage.truth)
                calibrated = self.result(stage.calibrated)
                return partial(find_defects, stage, scores, truth, calibrated, self.detector(stage.scores.method))
            case SaturationStage():
                scores, truth = self.result(stage.scores), self.result(stage.truth)
                return partial(find_saturated, stage, scores, truth, self.detector(stage.scores.method))
            case DiagnosisStage():
                truth, context = self.result(stage.evaluation.truth), self._rescoring(stage.evaluation.scores)
                return partial(diagnose, stage, truth, context, self.detector(stage.evaluation.scores.method))

    def _rescoring(self, scored: StepStage) -> StepContext:
        """What the last score step has seen and found."""
        if scored.features is None:
            raise TypeError(scored.kind)
        results = {each.step.name: self.result(each) for each in (*scored.before, scored)}
        return StepContext(scored.params, self.features(scored.features), results, scored.seed, self.device)

    def _step(
        self, stage: StepStage, before: Mapping[str, Result], extent: float | None, base: Result | None
    ) -> Result:
        """One step of a method, for the largest extent that any run of the plan needs, going on from `base`."""
        params = stage.params
        facts: dict[str, str | float] = {"features_s": 0.0}  # a step that reads images is timed with its reading
        if stage.step.grows_with is not None and extent is not None:
            kind = type(getattr(params, stage.step.grows_with))
            params = params.model_copy(update={stage.step.grows_with: kind(extent)})
            facts["extent"] = extent
        step: Callable[[StepContext | ImageContext], Result] = getattr(self.detector(stage.method), stage.step.name)

        def progress(done: int, total: int) -> None:  # no partial, whose arguments a step could look at
            self._listener.stage_progress(stage, done, total)

        scratch, params = self._store.scratch_path(stage.kind, stage.key), readable(params, stage)
        if isinstance(stage.source, FeatureStage):
            features = self.features(stage.source)
            with held_to_declaration(stage):
                result = step(StepContext(params, features, before, stage.seed, self.device, base, progress, scratch))
            read = features.images_read()
            facts["features_s"] = self._feature_seconds(stage.source, features)
            spent = (base.seconds if base else 0.0) - features.passing_s
        else:
            network = stage.source.network
            images, weights = self.images(stage.source), None if network is None else self._store.weights(network).path
            with held_to_declaration(stage):
                result = step(ImageContext(params, images, before, stage.seed, self.device, weights, progress, scratch))
            spent = -images.simulating_s
            read = images.images_read()
        facts[IMAGES_READ] = noted(read, () if base is None else (base,))
        return replace(result, facts={**result.facts, **facts}, seconds=spent)


def choose_threshold(stage: ThresholdStage, scores: list[Result]) -> Result:
    """The threshold on the image scores of the validation parts, as `threshold`."""
    for part in stage.parts:
        require(part, ValidationPart)
    values = np.concatenate([result.arrays["image_scores"] for result in scores])
    labels = np.array([sample.label for part in stage.parts for sample in part.samples], dtype=bool)
    chosen = calibrate(values, labels, stage.config, stage.operating)
    return Result(
        {}, {"threshold": chosen, IMAGES_READ: noted(each for part in stage.parts for each in hashes_of(part))}
    )


def evaluate(stage: EvaluationStage, scores: Result, truth: Result, detector: Detector) -> Result:
    """Metrics that need no threshold, as facts; curves and image scores as arrays.

    A metric that is not defined (one class only, no mask) is left out; one that is not exact has the bound of its
    error beside it, as `..._error`. `pixel_threshold` is the one with the largest `pixel_f1` on these images; of a
    test part neither is a figure of the study, and they are left out. `measured` names what was asked for. For the
    other arrays see `adloc.computing.localisation`.
    """
    tested = isinstance(stage.truth.part, TestPart)
    if not tested:
        require(stage.truth.part, ValidationPart)
    values = np.asarray(scores.arrays["image_scores"], dtype=np.float32)
    labels = np.asarray(truth.arrays["labels"], dtype=bool)
    found = localise(stage, scores, truth, detector)
    metrics = {
        **{m.name: resolve_name(str(m.function))(values, labels) for m in OF_IMAGES if not m.needs_threshold},
        **found.figures(),
        **found.errors,
    }
    curves = {"roc": roc_curve(values, labels), "precision_recall": precision_recall_curve(values, labels)}
    if found.metrics is not None:
        curves |= {"pixel_roc": found.metrics.roc, "pro": found.metrics.pro}
    arrays = {f"{name}.{axis}": getattr(curve, axis) for name, curve in curves.items() for axis in ("x", "y")}
    chosen_here = ("pixel_f1", "pixel_f1_error", "pixel_threshold") if tested else ()
    facts: dict[str, str | float] = {
        name: float(value) for name, value in metrics.items() if np.isfinite(value) and name not in chosen_here
    }
    facts["measured"] = " ".join(stage.metrics)
    return Result({"image_scores": values, **arrays, **found.arrays}, facts)


def find_defects(
    stage: SegmentationStage, scores: Result, truth: Result, calibrated: Result, detector: Detector
) -> Result:
    """`pixel_f1` of a test part at the validation part's pixel threshold, and what it is made of, as facts.

    Empty where the validation part gave no threshold, or the test part has no defect pixel.
    """
    require(stage.truth.part, TestPart)
    require(stage.calibrated.truth.part, ValidationPart)
    if "pixel_threshold" not in calibrated.facts:
        return Result({})
    threshold = float(calibrated.facts["pixel_threshold"])
    found = segment(stage, scores, truth, detector, threshold)
    measured = {"pixel_f1": found.f1, "pixel_precision": found.precision, "pixel_recall": found.recall}
    facts = {name: value for name, value in measured.items() if np.isfinite(value)}
    return Result({}, {"pixel_threshold": threshold, **facts})


def is_whole(stage: Stage, kept: Result) -> bool:
    """Whether a kept result holds all that the stage is asked for: those of earlier versions may lack what is new."""
    match stage:
        case TruthStage():
            return all(name in kept.arrays for name in COUNTED)
        case EvaluationStage():
            return stage.is_measured(kept.facts)
        case _:
            return True
