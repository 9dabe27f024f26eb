"""Anomaly maps of a part against its masks: all maps at once, or some images at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from adloc.metrics.regions import pixel_metrics
from adloc.metrics.streaming import Chunk, stream_pixel_metrics
from adloc.parts import TestPart
from adloc.uncertainty.pixel_bootstrap import count_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from adloc.methods.detector import Detector, Result
    from adloc.metrics.regions import PixelMetrics
    from adloc.stages import EvaluationStage

_IMAGES = 16  # a chunk: 3 MB of maps at 224
_MOST_PIXELS = 2_000_000  # that are looked at to choose colours
_STEP = 7  # every so many pixels, at least: a sort of all of them costs as much as the metrics


@dataclass(frozen=True, slots=True)
class Localisation:
    """What the maps of a part show.

    Attributes:
        metrics: pixel metrics with their curves.
        arrays: `map_levels`, the median score of pixels of normal images and the 99.9 % quantile of all, between
            which heatmaps are coloured; of a test part whose maps were all at hand, the counts of
            `adloc.uncertainty.pixel_bootstrap`.
        errors: the largest possible error by the name of each figure that is not exact.
    """

    metrics: PixelMetrics
    arrays: dict[str, NDArray[Any]]
    errors: dict[str, float] = field(default_factory=dict)


def localise(stage: EvaluationStage, scores: Result, truth: Result, detector: Detector) -> Localisation:
    """Measure the maps of a part in the way that the study asks for; of images whose masks are known alone."""
    known = truth.arrays.get("known")
    if known is not None:
        scores, truth = (replace(r, arrays={**r.arrays, **_chosen(r, known)}) for r in (scores, truth))
    return (_exact if stage.mode == "exact" else _streaming)(stage, scores, truth, detector)


def _chosen(result: Result, known: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The arrays that have a row an image, with the rows of the images whose masks are known."""
    names = ("patch_maps", "masks", "labels")
    return {name: result.arrays[name][known] for name in names if name in result.arrays}


def _exact(stage: EvaluationStage, scores: Result, truth: Result, detector: Detector) -> Localisation:
    maps = detector.anomaly_maps(scores.arrays["patch_maps"], stage.truth.size, stage.scores.params)
    masks = np.asarray(truth.arrays["masks"])
    labels = np.asarray(truth.arrays["labels"], dtype=bool)
    normal = maps[~labels] if (~labels).any() else maps
    arrays: dict[str, NDArray[Any]] = {"map_levels": _levels(normal.reshape(-1)[::_STEP], maps.reshape(-1)[::_STEP])}
    # An interval resamples all images of the part: it cannot with the masks of some.
    whole = isinstance(stage.truth.part, TestPart) and len(maps) == len(stage.truth.part)
    counts = count_pixels(maps, masks) if whole else None
    if counts is not None:
        arrays |= counts.arrays()
    return Localisation(pixel_metrics(maps, masks), arrays)


def _streaming(stage: EvaluationStage, scores: Result, truth: Result, detector: Detector) -> Localisation:
    patch_maps, masks = scores.arrays["patch_maps"], truth.arrays["masks"]
    labels = np.asarray(truth.arrays["labels"], dtype=bool)
    step = max(_STEP, -(-masks.size // _MOST_PIXELS))
    step += step % 2 == 0  # odd, so not in step with the rows of most sizes
    seen: dict[int, NDArray[np.float32]] = {}

    def read() -> Iterator[Chunk]:
        for start in range(0, len(labels), _IMAGES):
            images = slice(start, start + _IMAGES)
            maps = detector.anomaly_maps(patch_maps[images], stage.truth.size, stage.scores.params)
            seen[start] = maps.reshape(len(maps), -1)[:, ::step].copy()
            yield Chunk(maps, np.asarray(masks[images]))

    found = stream_pixel_metrics(read)
    sample = np.concatenate([seen[start] for start in sorted(seen)])
    normal = sample[~labels] if (~labels).any() else sample
    errors = {
        "pixel_auroc_error": found.auroc_error,
        "pixel_aupro_error": found.aupro_error,
        "pixel_aupro_005_error": found.aupro_005_error,
    }
    return Localisation(found.metrics, {"map_levels": _levels(normal.reshape(-1), sample.reshape(-1))}, errors)


def _levels(normal: NDArray[np.float32], every: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.array([np.median(normal), np.quantile(every, 0.999)], dtype=np.float32)
