"""Missed defects beside the training patches that they resemble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adloc.computing.truth import truth_of
from adloc.explain.explanation import Missed, MissedDefect
from adloc.explain.strips import Place, draw_missed
from adloc.methods.detector import PATCH_MAPS, NearestTraining, Patches, StepContext
from adloc.record.panels import touched

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.computing.compute import Workbench
    from adloc.methods.detector import Nearest, Result
    from adloc.planning.plan import Run


def highest_patch(patch_map: NDArray[np.floating], mask: NDArray[np.bool_]) -> tuple[int, int]:
    """(row, column) of the highest score among the patches whose cell a defect pixel falls into.

    Args:
        patch_map: (H, W).
        mask: (height, width), with at least one defect pixel.
    """
    inside = touched(mask, patch_map.shape[1], patch_map.shape[0]) > 0
    row, column = np.unravel_index(int(np.where(inside, patch_map, -np.inf).argmax()), patch_map.shape)
    return int(row), int(column)


def explain_missed(run: Run, bench: Workbench, truth: Result, threshold: float | None, n: int, folder: Path) -> Missed:
    """The `n` missed defects furthest below the threshold, each with its nearest training patch.

    Args:
        run: that is recorded.
        bench: finds or computes its stages.
        truth: labels and masks of its test part.
        threshold: None when none was calibrated.
        n: at most so many.
        folder: for the pictures.
    """
    if threshold is None:
        return Missed(reason="no threshold was calibrated")
    scored = bench.result(run.test.scores)
    scores = np.asarray(scored.arrays["image_scores"])
    labels = np.asarray(truth.arrays["labels"], dtype=bool)
    missed = np.flatnonzero(labels & (scores < np.float64(threshold)))
    if not missed.size:
        return Missed(reason="no defect was missed")
    if not isinstance(bench.detector(run.variant.method), NearestTraining) or PATCH_MAPS not in scored.arrays:
        return Missed(reason=f"{run.variant.method.name} does not say which training patch a patch is nearest to")
    ordered = [int(i) for i in missed[np.argsort(scores[missed], kind="stable")]]
    masks = {i: truth_of(truth.arrays, i, i + 1).masks[0] for i in ordered}
    shown = [i for i in ordered if masks[i].any()][:n]
    if not shown:
        return Missed(reason="no missed defect has a mask at the evaluation size")
    patch_maps = scored.arrays[PATCH_MAPS]
    places = np.array([highest_patch(patch_maps[i], masks[i]) for i in shown], dtype=np.int64)
    nearest = _nearest(run, bench, Patches(np.array(shown, dtype=np.int64), places[:, 0], places[:, 1]))
    spread = float(np.std(scores)) or 1.0
    test, train, grid = run.test.truth.part, run.train_part, patch_maps.shape[1:]
    defects = []
    for number, index in enumerate(shown):
        image, row, column = (
            int(a[number]) for a in (nearest.patches.images, nearest.patches.rows, nearest.patches.columns)
        )
        score, distance = float(scores[index]), float(nearest.distances[number])
        like = train.samples[image].identity
        name = f"missed-{number + 1:02d}.png"
        title = (
            f"{test.samples[index].identity}   score {score:.4g} below threshold {threshold:.4g}   "
            f"nearest: {like}, at {distance:.4g}"
        )
        config = run.variant.image
        at = Place(test.read(index, config).image, *places[number])
        beside = Place(train.read(image, config).image, row, column)
        (folder / name).write_bytes(draw_missed(title, at, masks[index], beside, grid, config))
        defects.append(
            MissedDefect(
                name=test.samples[index].identity,
                score=score,
                margin=(score - threshold) / spread,
                nearest=like,
                distance=distance,
                picture=name,
            )
        )
    return Missed(defects=tuple(defects), meaning=nearest.meaning)


def _nearest(run: Run, bench: Workbench, patches: Patches) -> Nearest:
    stage, detector = run.test.scores, bench.detector(run.variant.method)
    scored, fitted = stage.features, run.fit[0].features
    if not isinstance(detector, NearestTraining) or scored is None or fitted is None:
        raise TypeError(stage.method.name)
    for features in (scored, fitted):
        bench.result(features)
    results = {before.step.name: bench.result(before) for before in stage.before}
    context = StepContext(stage.params, bench.features(scored), results, stage.seed, bench.device)
    return detector.nearest_training(context, bench.features(fitted), patches)
