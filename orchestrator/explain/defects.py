"""How large a defect is, and how much it differs from what is around it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import cv2
import numpy as np

from adloc.computing.environment import environment
from adloc.computing.truth import truth_of
from adloc.datasets.transform import resize_and_crop
from adloc.explain.explanation import Defect
from adloc.explain.mask_noise import move_masks
from adloc.record.panels import resized

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.methods.detector import Result
    from adloc.planning.plan import Run

_RING = 32  # the ring is a 32nd of the image's shorter side wide
_NARROWEST = 2  # pixels


def contrast(grey: NDArray[np.floating], mask: NDArray[np.bool_]) -> float | None:
    """How much brighter or darker a defect is than its surroundings, in standard deviations of these.

    |mean inside the mask - mean in the ring| / standard deviation in the ring. The ring are the pixels outside the
    mask within a 32nd of the image's shorter side of it, at least 2 pixels. A flat ring's deviation counts as one
    grey level, the least that 8 bits can show. A defect of another texture or colour and the same mean has contrast 0.

    Args:
        grey: (height, width), from 0 to 255.
        mask: (height, width), True on defect pixels.

    Returns:
        None without a mask, or without anything around it.
    """
    reach = max(_NARROWEST, min(mask.shape) // _RING)
    ring = move_masks(mask[None], reach)[0] & ~mask
    if not mask.any() or not ring.any():
        return None
    return float(abs(grey[mask].mean() - grey[ring].mean()) / max(float(grey[ring].std()), 1.0))


def measure_defects(
    run: Run, truth: Result, scores: NDArray[np.floating], threshold: float | None
) -> tuple[Defect, ...]:
    """Every anomalous image of the test part, measured at the evaluation size.

    Args:
        run: that is recorded.
        truth: labels and masks of its test part.
        scores: (N,) of its test part.
        threshold: None when none was calibrated.
    """
    part, config = run.test.truth.part, run.variant.image

    def measure(index: int) -> Defect:
        sample, picture = part.samples[index], part.read(index, config)
        mask = truth_of(truth.arrays, index, index + 1).masks[0]
        height, width = mask.shape
        seen = np.asarray(resized(resize_and_crop(picture.image, config), width, height), dtype=np.uint8)
        grey = cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY).astype(np.float64)
        return Defect(
            name=sample.identity,
            defect=sample.defect,
            missed=None if threshold is None else bool(scores[index] < np.float64(threshold)),
            size=float(mask.mean()) if mask.any() else None,
            contrast=contrast(grey, mask),
            vanished=picture.mask is not None and bool(picture.mask.any() and not mask.any()),
        )

    # Decoding lets go of the interpreter.
    with ThreadPoolExecutor(int(environment()["cores"])) as pool:
        return tuple(pool.map(measure, np.flatnonzero(truth.arrays["labels"]).tolist()))
