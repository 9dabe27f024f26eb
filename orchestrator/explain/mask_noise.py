"""How much of the pixel metrics could be the annotator's hand: the same maps against larger and smaller masks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from skimage.morphology import disk

from adloc.computing.localisation import localise
from adloc.explain.explanation import MovedMasks
from adloc.methods.detector import Result
from adloc.study_file.evaluating import NATIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from adloc.computing.compute import Workbench
    from adloc.planning.plan import Run


def move_masks(masks: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Masks dilated by a disk of that radius, or eroded where `pixels` is negative.

    Nothing is eroded from the border of the image: the defect may go on there.

    Args:
        masks: (N, height, width).
        pixels: 0 leaves them as they are.
    """
    if not pixels:
        return masks
    morph = cv2.dilate if pixels > 0 else cv2.erode
    moved = np.zeros_like(masks)
    kernel = disk(abs(pixels))  # type: ignore[no-untyped-call]
    for index in np.flatnonzero(masks.any(axis=(1, 2))):
        moved[index] = morph(masks[index].astype(np.uint8), kernel) > 0
    return moved


def count_lost(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many 8-connected regions of each mask have no pixel left, (N,).

    Args:
        before: (N, height, width).
        after: of the same shape.
    """
    lost = np.zeros(len(before), dtype=np.int64)
    for index in np.flatnonzero(before.any(axis=(1, 2))):
        n_labels, labels = cv2.connectedComponents(before[index].astype(np.uint8), connectivity=8)
        lost[index] = n_labels - 1 - len(np.unique(labels[after[index] & before[index]]))
    return lost


def measure_mask_noise(run: Run, bench: Workbench, truth: Result, pixels: Sequence[int]) -> tuple[MovedMasks, ...]:
    """Pixel metrics of the run's test part: as annotated, then against masks eroded and dilated; none at native sizes.

    Args:
        run: that is recorded.
        bench: finds or computes its scores.
        truth: labels and masks of its test part.
        pixels: of the erosions and dilations, at the evaluation size.
    """
    if run.test.truth.size == NATIVE:
        return ()
    scores, detector = bench.result(run.test.scores), bench.detector(run.variant.method)
    masks = np.asarray(truth.arrays["masks"])
    samples = run.test.truth.part.samples
    found = []
    for by in (0, *(sign * p for p in sorted(set(pixels)) for sign in (-1, 1))):
        moved = move_masks(masks, by)
        metrics = localise(run.test, scores, Result({**truth.arrays, "masks": moved}), detector).metrics
        if metrics is None:
            return ()
        lost = count_lost(masks, moved)
        found.append(
            MovedMasks(
                pixels=by,
                pixel_auroc=_known(metrics.auroc),
                pixel_aupro=_known(metrics.aupro),
                pixel_aupro_005=_known(metrics.aupro_005),
                n_regions=metrics.n_regions,
                n_lost=int(lost.sum()),
                lost=tuple(samples[i].identity for i in np.flatnonzero(lost)),
            )
        )
    return tuple(found)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
