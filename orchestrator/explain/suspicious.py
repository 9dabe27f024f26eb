"""Which training images are far from all the others: a rank, not a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adloc.explain.explanation import Training, TrainingImage
from adloc.explain.strips import draw_suspicious
from adloc.methods.detector import PATCH_MAPS
from adloc.methods.errors import MethodError
from adloc.metrics.ranking import auroc
from adloc.planning.stages import StepStage
from adloc.record.heatmaps import ColourScale

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.computing.compute import Workbench
    from adloc.methods.detector import Result
    from adloc.planning.plan import Run

OUTSTANDING = (
    3.5  # robust z from which Iglewicz and Hoaglin (How to detect and handle outliers, 1993) speak of outliers
)
_TO_DEVIATION = 1.4826  # median absolute deviation to standard deviation, of a normal distribution


@dataclass(frozen=True, slots=True)
class Ranked:
    """A training image in its place.

    Attributes:
        index: into the scores.
        score: leave-one-out.
        robust_z: None where half of the scores are equal.
        share_above: of the normal validation images that score higher; None without one.
    """

    index: int
    score: float
    robust_z: float | None
    share_above: float | None


def rank_images(scores: NDArray[np.floating], normals: NDArray[np.floating]) -> list[Ranked]:
    """The training images, the furthest from the others first; of equals the first.

    Args:
        scores: (N,) leave-one-out scores.
        normals: (M,) scores of the normal validation images by the model of all N.
    """
    middle = float(np.median(scores))
    spread = _TO_DEVIATION * float(np.median(np.abs(scores - middle)))
    return [
        Ranked(
            int(index),
            float(scores[index]),
            (float(scores[index]) - middle) / spread if spread else None,
            float((normals > scores[index]).mean()) if normals.size else None,
        )
        for index in np.argsort(-scores, kind="stable")
    ]


def leave_one_out_stage(run: Run) -> StepStage | None:
    """The stage that scores a run's training images, each without its own share; None where the method has none.

    No run needs it, so it is in no plan; runs that share a fit and its parameters share it.
    """
    step = run.variant.method.leave_one_out
    if step is None:
        return None
    return StepStage(run.variant.method, step, run.variant.params, run.fit[0].source, run.fit, run.fit[-1].seed)


def explain_training(
    run: Run, bench: Workbench, normals: NDArray[np.floating], threshold: float | None, n: int, folder: Path
) -> Training:
    """Rank the training images of the run's category and draw the first `n`.

    Args:
        run: that is recorded.
        bench: finds or computes the leave-one-out scores.
        normals: scores of its normal validation images.
        threshold: of the run, at which the colours turn warm.
        n: how many are kept.
        folder: for the pictures.
    """
    stage = leave_one_out_stage(run)
    if stage is None:
        return Training(reason=f"{run.variant.method.name} cannot score a training image without its own share")
    try:
        found = bench.result(stage)
    except MethodError as error:
        return Training(reason=f"{error.found}; {error.rule}")
    samples = run.train_part.samples
    own = np.array([i for i, s in enumerate(samples) if s.category == run.category], dtype=np.int64)
    scores = np.asarray(found.arrays["image_scores"])[own]
    defects = np.array([bool(samples[i].label) for i in own])
    ranked = rank_images(scores, normals)
    n_outstanding = sum((r.robust_z or 0.0) >= OUTSTANDING for r in ranked)
    shown = ranked[:n]
    pictures = _draw(run, bench, found, own, threshold, shown, folder)
    images = tuple(
        TrainingImage(
            name=samples[own[r.index]].identity,
            score=r.score,
            robust_z=r.robust_z,
            share_above=r.share_above,
            defect=bool(defects[r.index]),
            picture=picture,
        )
        for r, picture in zip(shown, pictures, strict=True)
    )
    known = float(auroc(scores, defects)) if defects.any() and not defects.all() else None
    return Training(
        n_images=len(own),
        n_outstanding=n_outstanding,
        n_defects=int(defects.sum()),
        defects_auroc=known,
        images=images,
    )


def _draw(
    run: Run,
    bench: Workbench,
    found: Result,
    own: NDArray[np.int64],
    threshold: float | None,
    shown: list[Ranked],
    folder: Path,
) -> list[str]:
    """Files of the strips; empty names of a method that gives no maps."""
    if PATCH_MAPS not in found.arrays:
        return [""] * len(shown)
    patch_maps = np.asarray(found.arrays[PATCH_MAPS])
    low, high = float(np.median(patch_maps)), float(np.quantile(patch_maps, 0.999))
    scale = ColourScale.around(low=low, high=high, threshold=threshold)
    detector, image = bench.detector(run.variant.method), run.variant.image
    indices = [int(own[r.index]) for r in shown]
    maps = detector.anomaly_maps(patch_maps[indices], image.input_size, run.variant.params)
    names = []
    for number, (ranked, index, each) in enumerate(zip(shown, indices, maps, strict=True)):
        z = "" if ranked.robust_z is None else f"   robust z {ranked.robust_z:.1f}"
        title = f"{number + 1}. {run.train_part.samples[index].identity}   leave-one-out score {ranked.score:.4g}{z}"
        name = f"suspicious-{number + 1:02d}.png"
        picture = run.train_part.read(index, image).image
        (folder / name).write_bytes(draw_suspicious(title, picture, each, scale, image))
        names.append(name)
    return names
