"""sPRO of a test part: each mask of an image as a region of its own, with as much of it as is enough to find."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from adloc.computing.truth import truth_of
from adloc.datasets.file_image import FileImage
from adloc.datasets.sample import Picture
from adloc.datasets.transform import prepare_mask
from adloc.methods.detector import PATCH_MAPS, Result
from adloc.metrics.saturated import SaturatedRegion, auspro, saturation
from adloc.planning.parts import TestPart, in_domain, require
from adloc.study_file.evaluating import NATIVE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.methods.detector import Detector
    from adloc.planning.stages import SaturationStage, TruthStage


def find_saturated(stage: SaturationStage, scores: Result, truth: Result, detector: Detector) -> Result:
    """`pixel_spro` of a test part, as a fact; left out where no region has a pixel. All maps are at hand at once."""
    require(stage.truth.part, TestPart)
    if PATCH_MAPS not in scores.arrays:
        return Result({})
    if stage.truth.size == NATIVE:
        raise ValueError("images of different sizes are not evaluated all at once")
    maps = detector.anomaly_maps(scores.arrays[PATCH_MAPS], stage.truth.size, stage.scores.params)
    void = truth_of(truth.arrays, 0, len(maps)).void
    area = auspro(maps, read_regions(stage.truth, stage.truth.size, void), void=void)
    return Result({}, {"pixel_spro": area} if math.isfinite(area) else {})


def read_regions(stage: TruthStage, size: tuple[int, int], void: NDArray[np.bool_] | None) -> list[SaturatedRegion]:
    """The regions of a part at the evaluation size.

    A dataset states its saturation thresholds at the image's own size. What is enough there, as a share of the mask,
    is the same share of what is left of the region: after a shift, at the evaluation size, without void pixels. A
    region of which nothing is left is no region.

    Args:
        stage: says which part, and its preprocessing.
        size: (height, width) of the evaluation.
        void: bool (N, height, width), True on pixels that count neither way; None for none.
    """
    part, regions = stage.part, []
    for index, sample in enumerate(part.samples):
        for defect in sample.source.read_defects() if isinstance(sample.source, FileImage) else ():
            kind, area = defect.kind, int(defect.mask.sum())
            enough = saturation(area, kind.saturation_threshold, relative=kind.relative_saturation) / area
            blank = Picture(np.zeros((*defect.mask.shape, 3), dtype=np.uint8), defect.mask)
            moved = in_domain(blank, sample, part.shift, stage.image).mask
            if moved is None:  # of a picture with a mask it has one
                continue
            mask = prepare_mask(moved, stage.image, size)
            if void is not None:
                mask &= ~void[index]
            if mask.any():
                regions.append(SaturatedRegion(index, mask, enough * int(mask.sum())))
    return regions
