"""How the cost of a method's step grows: a law for each step that grows faster than its images.

Notation: n images of the step's part, p patches an image, d channels, m entries of a memory bank, f features kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.cost.networks import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from adloc.planning.plan import Plan
    from adloc.planning.stages import StepStage

COUNTED = {"coreset_ratio", "n_features", "epochs"}  # parameters that the laws count: cost grows with them as they say
_FLOAT = 4  # bytes
_CLUSTERED = 10 * 64 * 4  # distances an entry that k-means of an index takes: rounds, entries a cell, cells squared
_SAMPLED = 1024  # patches by which an index is judged
_PADIM_BATCH = 8  # images that are scored at a time
# How often a step reads its features, where that is not once.
READS = {"patchcore.coreset": 2, "softpatch.coreset": 2, "patchcore.scores": 0, "softpatch.scores": 0, "knn.scores": 0}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a step takes.

    Attributes:
        amount: multiply-adds, or for a step without a law pixels of its input.
        kept_bytes: of its result; None where no law is known.
        held_bytes: of the arrays that it holds at a time; None where no law is known.
    """

    amount: float
    kept_bytes: float | None = None
    held_bytes: float | None = None


def taken_by(stage: StepStage, plan: Plan) -> Taken:
    """What a step takes: by its law, else as much as its part has pixels, a training once an epoch."""
    law, shape = _LAWS.get(stage.kind), _shape(stage)
    if law is not None and shape is not None:
        return law(stage, shape, plan)
    height, width = stage.source.image.input_size
    n, epochs = len(stage.source.part), float(getattr(stage.params, "epochs", 1))
    kept = n * _patches(stage, shape) * _FLOAT if shape and stage.step.part == "score" else None
    return Taken(n * height * width * (epochs if stage.step.part == "fit" else 1.0), kept)


def _shape(stage: StepStage) -> Shape | None:
    """What its images become; None where it reads the images themselves, or the network is not in the table."""
    features = stage.features
    return None if features is None else shape_of(features.network.backbone, features.layers, features.image)


def _patches(stage: StepStage, shape: Shape) -> float:
    """p, of which a memory bank may leave some out."""
    return shape.patches / float(getattr(stage.params, "patch_stride", 1)) ** 2


def _mapped(stage: StepStage, shape: Shape) -> float:
    """Bytes of the features that a step reads, which stay in memory for as long as nothing else needs it."""
    is_small = stage.features is not None and stage.features.dtype == "float16"
    return len(stage.source.part) * shape.values * (_FLOAT // 2 if is_small else _FLOAT)


def _coreset(stage: StepStage, shape: Shape, plan: Plan) -> Taken:
    """Each of m picks looks at the patches that the triangle inequality leaves."""
    patches = len(stage.source.part) * _patches(stage, shape)
    picks = math.ceil(plan.extents.get(stage.key, stage.extent or 1.0) * patches)
    projected = getattr(stage.params, "projection_dim", None) or shape.channels
    averaged = patches * shape.channels * float(getattr(stage.params, "patch_size", 1)) ** 2
    bank = picks * shape.channels * (_FLOAT // 2 if getattr(stage.params, "bank_dtype", "") == "float16" else _FLOAT)
    amount = distances(patches, picks) * projected + averaged
    return Taken(amount, bank, patches * projected * _FLOAT + bank + _mapped(stage, shape))


def distances(patches: float, picks: float) -> float:
    """How many a coreset takes, of which the triangle inequality leaves a smaller share as patches and picks grow.

    How small depends on the images. The powers are from the times of docs/costs.md, of 20,000 to 156,800 patches at
    1 to 10 %, between those of bottle and of brick; at 60,000 patches and 5 % these are all the pairs that there are.
    """
    return 74.0 * math.pow(patches, 0.9) * math.pow(picks, 0.6)


def _index(stage: StepStage, shape: Shape, plan: Plan) -> Taken:
    """K-means of 64 entries a cell, 2 sqrt(m) cells, ten rounds; m entries placed, and compared with a sample."""
    del plan
    patches = len(stage.before[0].source.part) * _patches(stage, shape)
    entries = float(getattr(stage.params, "coreset_ratio", 1.0)) * patches
    cells = 2 * math.sqrt(entries)
    values = entries * shape.channels
    kept = entries * _FLOAT + cells * shape.channels * _FLOAT
    return Taken(values * (_CLUSTERED + cells + _SAMPLED), kept, 2 * values * _FLOAT)


def _search(stage: StepStage, shape: Shape, plan: Plan) -> Taken:
    """Every patch is compared with every entry that the next smaller bank of the study does not have."""
    patches = len(stage.source.part) * _patches(stage, shape)
    trained = len(stage.before[0].source.part) * _patches(stage, shape)
    base, ratio = plan.bases.get(stage.key), float(getattr(stage.params, "coreset_ratio", 1.0))
    before = 0.0 if base is None else float(getattr(base.params, "coreset_ratio", 0.0))
    neighbours = plan.extents.get(stage.key, stage.extent or 1.0)
    bank = ratio * trained * shape.channels * _FLOAT
    amount = patches * (ratio - before) * trained * shape.channels
    found = patches * neighbours * 2 * _FLOAT
    return Taken(amount, found, bank + found + _mapped(stage, shape))


def _reweighting(stage: StepStage, shape: Shape, plan: Plan) -> Taken:
    """Every patch is weighed by its k neighbours."""
    del plan
    patches = len(stage.source.part) * _patches(stage, shape)
    neighbours = float(getattr(stage.params, "neighbours", 1))
    return Taken(patches * neighbours, patches * _FLOAT, patches * neighbours * 2 * _FLOAT)


def _gaussian(stage: StepStage, shape: Shape, plan: Plan) -> Taken:
    """A covariance (f, f) at each of p positions, of n vectors, and its inverse."""
    del plan
    n, f = len(stage.source.part), float(getattr(stage.params, "n_features", shape.channels))
    model = shape.patches * (f * f + f) * _FLOAT
    held = model + shape.patches * n * f * _FLOAT + _mapped(stage, shape)
    return Taken(shape.patches * (n * f * f + f**3), model, held)


def _distances(stage: StepStage, shape: Shape, plan: Plan) -> Taken:
    """A product with (f, f) for each patch."""
    del plan
    n, f = len(stage.source.part), float(getattr(stage.params, "n_features", shape.channels))
    held = shape.patches * (f * f + 4 * _PADIM_BATCH * f) * _FLOAT + _mapped(stage, shape)
    return Taken(n * shape.patches * f * f, n * shape.patches * _FLOAT, held)


_LAWS: dict[str, Callable[[StepStage, Shape, Plan], Taken]] = {
    "patchcore.coreset": _coreset,
    "patchcore.index": _index,
    "patchcore.search": _search,
    "patchcore.scores": _reweighting,
    "softpatch.coreset": _coreset,
    "softpatch.index": _index,
    "softpatch.search": _search,
    "softpatch.scores": _reweighting,
    "padim.gaussian": _gaussian,
    "padim.scores": _distances,
}
