"""How much there is to do for a stage, whatever the machine: one law a kind, in the order of `adloc.planning.stages`.

Notation: n images of the stage's part, p patches an image, d channels, m entries of a memory bank, f features kept.
A law need not hold for its constant, which is measured; it must tell a large stage from a small one of the same kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from adloc.cost.laws import COUNTED, taken_by
from adloc.cost.networks import shape_of
from adloc.keys import content_key
from adloc.planning.keeping import is_kept
from adloc.planning.sources import FeatureStage, ImageStage, features_among
from adloc.planning.stages import (
    DiagnosisStage,
    EvaluationStage,
    SaturationStage,
    SegmentationStage,
    StepStage,
    ThresholdStage,
    TruthStage,
)

if TYPE_CHECKING:
    from adloc.planning.parts import Part
    from adloc.planning.plan import Plan
    from adloc.planning.stages import Stage

_FLOAT = 4  # bytes
_READING = 1.0  # 1e9 operations that decoding and resizing a million pixels takes, in terms of a network's
_SHIFTING = 5.5  # the same of simulating a shift on as many
_SAMPLED = 16  # images whose sizes stand for their part's
_AT_A_TIME = {"exact": 64e6, "streaming": 4e6}  # bytes of maps that are made together, and held twice
_DEFECTS = 4.0  # bytes a pixel that exact figures hold of defects: some 90 each, of a twentieth of the pixels


@dataclass(frozen=True, slots=True)
class Work:
    """What computing a stage takes.

    Attributes:
        kind: of the stage.
        label: what else its cost depends on, beside the amount and the machine.
        amount: of work, by the kind's law; two stages of one kind cost as their amounts do.
        kept_bytes: of its result in the store; None where no law is known.
        held_bytes: of the arrays that it holds at a time; None where no law is known.
        is_own: whether no rate of another label holds for it: amounts of this label compare with nothing else.
    """

    kind: str
    label: str
    amount: float
    kept_bytes: float | None = None
    held_bytes: float | None = None
    is_own: bool = False

    def share(self, share: float) -> Work:
        """So much of it: of the images of a part, those that the store lacks."""
        if share == 1:
            return self
        kept = None if self.kept_bytes is None else self.kept_bytes * share
        return replace(self, amount=self.amount * share, kept_bytes=kept)


def work_of(stage: Stage, plan: Plan) -> Work:  # noqa: PLR0911  one a kind
    """What computing a stage takes, once its inputs are there: of features, for all images of the part."""
    match stage:
        case FeatureStage():
            return _features(stage, plan)
        case ImageStage():
            return Work(stage.kind, "", 0.0, 0.0, 0.0)
        case StepStage():
            return _step(stage, plan)
        case ThresholdStage():
            n = sum(len(part) for part in stage.parts)
            return Work(stage.kind, stage.config.objective, n, 0.0, 0.0)
        case TruthStage():
            n, pixels = len(stage.part), pixels_of(stage)
            amount = n * (pixels + _read_pixels(stage.part))
            return Work(stage.kind, _simulated(stage.part), amount, n * pixels, n * pixels)
        case EvaluationStage():
            return _measuring(stage.kind, _asked(stage.mode, stage.metrics), stage.truth, stage.mode)
        case SegmentationStage() | SaturationStage():
            return _measuring(stage.kind, "", stage.truth)
        case DiagnosisStage():
            return _measuring(stage.kind, stage.evaluation.scores.method.name, stage.evaluation.truth)


def passed_by(stage: Stage, plan: Plan) -> FeatureStage | None:
    """The features that pass the backbone whenever a step reads them, since the study does not keep them; else None."""
    return next((each for each in features_among(stage.inputs) if not is_kept(each, plan.spec.features.keep)), None)


def pixels_of(truth: TruthStage) -> float:
    """Pixels of an image at the evaluation size."""
    return _read_pixels(truth.part) if truth.size == "native" else float(truth.size[0] * truth.size[1])


def _measuring(kind: str, label: str, truth: TruthStage, mode: str = "exact") -> Work:
    """Of maps that are made some at a time, but at least one, beside the masks of all."""
    pixels = pixels_of(truth)
    amount = len(truth.part) * pixels
    together = min(amount * _FLOAT, max(_AT_A_TIME[mode], pixels * _FLOAT))
    return Work(kind, label, amount, 0.0, 2 * together + amount * (1.0 + _DEFECTS * (mode == "exact")))


@cache
def _asked(mode: str, metrics: tuple[str, ...]) -> str:
    return content_key([mode, metrics])[:8]


def _features(stage: FeatureStage, plan: Plan) -> Work:
    layers = plan.layers.get(stage.source, stage.layers)
    shape, n = shape_of(stage.network.backbone, layers, stage.image), len(stage.part)
    deepest = f"{stage.network.backbone} {max(layers)} {stage.image.input_size} {stage.engine.name} {stage.dtype}"
    label = f"{deepest} {_simulated(stage.part)} {type(stage.part.samples[0].source).__name__ if n else ''}"
    reading = _READING * _read_pixels(stage.part) / 1e6 + _SHIFTING * _shifted_pixels(stage) / 1e6
    if shape is None:
        return Work(stage.kind, label, float(n), is_own=True)  # of a network of which nothing is known
    kept = shape.values * (_FLOAT if stage.dtype == "float32" else _FLOAT // 2)
    kept *= is_kept(stage, plan.spec.features.keep)
    return Work(stage.kind, label, n * (shape.gmacs + reading), float(n * kept), 16.0 * shape.values * _FLOAT)


def _step(stage: StepStage, plan: Plan) -> Work:
    values = stage.values
    settings = content_key([{name: values.get(name) for name in stage.step.params if name not in COUNTED}])[:8]
    passing = " passing" if passed_by(stage, plan) is not None else ""
    label = f"{values.get('backbone', '')} {stage.source.image.input_size} {settings}{passing}"
    taken = taken_by(stage, plan)
    return Work(stage.kind, label, taken.amount / 1e9, taken.kept_bytes, taken.held_bytes)


def _read_pixels(part: Part) -> float:
    """Pixels of an image as it is read, on the average of a few."""
    few = part.fingerprints[:_SAMPLED]
    return sum(each.height * each.width for each in few) / len(few) if few else 0.0


def _shifted_pixels(stage: FeatureStage) -> float:
    """Pixels of an image that a shift is simulated on: as it is read, or at the model's size."""
    if stage.part.shift is None:
        return 0.0
    return math.prod(stage.image.input_size) if stage.part.shift.at == "model" else _read_pixels(stage.part)


def _simulated(part: Part) -> str:
    return "shifted" if part.shift else "as read"
