"""Anomaly maps of a part against its masks: exactly, or by counting; either way some images at a time.

Maps are made of the patch maps again at each pass, unless all of them fit into one chunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from adloc.computing.truth import truth_of
from adloc.methods.detector import PATCH_MAPS
from adloc.metrics.chunk import Chunk, EveryNth
from adloc.metrics.classification import Confusion, confusion
from adloc.metrics.pimo import aupimo_of
from adloc.metrics.regions import CURVE_POINTS, measure, rank_pixels
from adloc.metrics.streaming import stream_pixel_metrics
from adloc.planning.parts import TestPart
from adloc.study_file.evaluating import NATIVE
from adloc.uncertainty.pixel_bootstrap import count_chunks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from adloc.methods.detector import Detector, Result
    from adloc.metrics.chunk import ReadChunks
    from adloc.metrics.regions import PixelMetrics
    from adloc.planning.stages import EvaluationStage, SegmentationStage

AUPIMO = "pixel_aupimo"
RANKED = ("pixel_auroc", "pixel_auprc", "pixel_aupro", "pixel_aupro_005", "pixel_f1")  # all from one sort
_EXACT_BYTES = 64 << 20  # maps of a chunk, but at least one image: 334 of 224 x 224, four of 2048 x 2048
_STREAMED_BYTES, _STREAMED_IMAGES = 4 << 20, 16  # the same, where pixels are counted: 3 MB of maps at 224
_MOST_PIXELS = 2_000_000  # that are looked at to choose colours
_STEP = 7  # every so many pixels, at least: a sort of all of them costs as much as the metrics


@dataclass(frozen=True, slots=True)
class Localisation:
    """What the maps of a part show.

    Attributes:
        metrics: of all pixels together, with their curves; None where none was asked for.
        aupimo: nan where it is not defined, or was not asked for.
        arrays: empty without maps; else `map_levels`, the median score of pixels of normal images and the 99.9 %
            quantile of all, between which heatmaps are coloured; of a test part whose maps were all at hand, the counts
            of `adloc.uncertainty.pixel_bootstrap`.
        errors: the largest possible error by the name of each figure that is not exact.
    """

    metrics: PixelMetrics | None
    aupimo: float
    arrays: dict[str, NDArray[Any]]
    errors: dict[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """By result column; `pixel_f1` is the largest, at `pixel_threshold`."""
        found, ranked = {AUPIMO: self.aupimo}, self.metrics
        if ranked is None:
            return found
        return found | {
            "pixel_auroc": ranked.auroc,
            "pixel_auprc": ranked.auprc,
            "pixel_aupro": ranked.aupro,
            "pixel_aupro_005": ranked.aupro_005,
            "pixel_f1": ranked.best_f1.f1,
            "pixel_threshold": ranked.best_f1.threshold,
        }


def localise(stage: EvaluationStage, scores: Result, truth: Result, detector: Detector) -> Localisation:
    """Measure the maps of a part in the way that the study asks for; images without a known mask are void.

    Without maps nothing is measured.
    """
    if PATCH_MAPS not in scores.arrays:
        return Localisation(None, math.nan, {})
    return (_exact if stage.mode == "exact" else _streaming)(stage, scores, truth, detector)


def segment(stage: SegmentationStage, scores: Result, truth: Result, detector: Detector, threshold: float) -> Confusion:
    """Count the pixels that are flagged from the threshold upwards; void ones are left out."""
    total = Confusion(0, 0, 0, 0)
    n_images = min(_STREAMED_IMAGES, _images_of(truth, _STREAMED_BYTES))
    for chunk in _chunks(stage.scores.params, scores, truth, detector, n_images):
        valid = slice(None) if chunk.void is None else ~chunk.void
        total += confusion(chunk.maps[valid], chunk.masks[valid], threshold)
    return total


def _exact(stage: EvaluationStage, scores: Result, truth: Result, detector: Detector) -> Localisation:
    if stage.truth.size == NATIVE:
        raise ValueError("images of different sizes are not evaluated all at once")
    read = read_chunks(scores, truth, detector, stage.scores.params)
    labels = np.asarray(truth.arrays["labels"], dtype=bool)
    arrays: dict[str, NDArray[Any]] = {"map_levels": _map_levels(read, all_anomalous=bool(labels.all()))}
    metrics = None
    if _ranked(stage.metrics):
        metrics = measure(rank_pixels(read), CURVE_POINTS)
        if isinstance(stage.truth.part, TestPart) and (counts := count_chunks(read)) is not None:
            arrays |= counts.arrays()
    area = aupimo_of(read, int((~labels).sum())) if AUPIMO in stage.metrics else math.nan
    return Localisation(metrics, area, arrays)


def read_chunks(scores: Result, truth: Result, detector: Detector, params: BaseModel) -> ReadChunks:
    """What reads a part's maps beside its masks, as often as it is called; a single chunk is made once.

    Args:
        scores: the last step's result, with patch maps.
        truth: of the same images.
        detector: of the method.
        params: that maps are made with.
    """
    n_images = _images_of(truth, _EXACT_BYTES)
    if n_images < len(truth.arrays["labels"]):
        return partial(_chunks, params, scores, truth, detector, n_images)
    held = list(_chunks(params, scores, truth, detector, n_images))
    return lambda: held


def _map_levels(read: ReadChunks, *, all_anomalous: bool) -> NDArray[np.float32]:
    """See `Localisation`, of every so many pixels."""
    normals, pixels = EveryNth(_STEP), EveryNth(_STEP)
    normal, every = [], []
    for chunk in read():
        every.append(pixels.of(chunk.maps.reshape(-1)).copy())
        normal += [normals.of(chunk.maps[i].reshape(-1)).copy() for i in np.flatnonzero(~chunk.anomalous)]
    return _levels(np.concatenate(every if all_anomalous else normal), np.concatenate(every))


def _streaming(stage: EvaluationStage, scores: Result, truth: Result, detector: Detector) -> Localisation:
    labels = np.asarray(truth.arrays["labels"], dtype=bool)
    step = max(_STEP, -(-_n_pixels(truth) // _MOST_PIXELS))
    step += step % 2 == 0  # odd, so not in step with the rows of most sizes
    n_images = min(_STREAMED_IMAGES, _images_of(truth, _STREAMED_BYTES))
    seen: dict[int, NDArray[np.float32]] = {}

    def read() -> Iterator[Chunk]:
        start = 0
        for chunk in _chunks(stage.scores.params, scores, truth, detector, n_images):
            for index, scored in enumerate(chunk.maps, start):
                seen[index] = scored.reshape(-1)[::step].copy()
            start += len(chunk.maps)
            yield chunk

    wanted = _ranked(stage.metrics) or AUPIMO in stage.metrics
    found = stream_pixel_metrics(read, int((~labels).sum())) if wanted else None
    if found is None:
        for _ in read():  # for the colours alone
            pass
    sample = [seen[index] for index in range(len(labels))]
    normal = [each for each, label in zip(sample, labels, strict=True) if not label] or sample
    arrays: dict[str, NDArray[Any]] = {"map_levels": _levels(np.concatenate(normal), np.concatenate(sample))}
    if found is None:
        return Localisation(None, math.nan, arrays)
    errors = {
        "pixel_auroc_error": found.auroc_error,
        "pixel_auprc_error": found.auprc_error,
        "pixel_aupro_error": found.aupro_error,
        "pixel_aupro_005_error": found.aupro_005_error,
        "pixel_f1_error": found.f1_error,
    }
    return Localisation(found.metrics, found.aupimo, arrays, errors)


def _chunks(params: BaseModel, scores: Result, truth: Result, detector: Detector, n_images: int) -> Iterator[Chunk]:
    """Maps beside their masks, so many images at a time."""
    patch_maps, labels = scores.arrays[PATCH_MAPS], np.asarray(truth.arrays["labels"], dtype=bool)
    for start in range(0, len(labels), n_images):
        images = slice(start, start + n_images)
        true = truth_of(truth.arrays, start, start + n_images)
        height, width = true.masks.shape[1:]
        maps = detector.anomaly_maps(patch_maps[images], (height, width), params)
        yield Chunk(maps, true.masks, labels[images], true.void)


def _images_of(truth: Result, n_bytes: int) -> int:
    """How many maps these bytes hold, at least one; one where every image has a size of its own."""
    if "sizes" in truth.arrays:
        return 1
    height, width = truth.arrays["masks"].shape[1:]
    return max(1, n_bytes // max(1, 4 * int(height) * int(width)))


def _n_pixels(truth: Result) -> int:
    sizes = truth.arrays.get("sizes")
    return truth.arrays["masks"].size if sizes is None else int(np.prod(sizes, axis=1).sum())


def _ranked(metrics: Collection[str]) -> bool:
    """Whether any of these needs the pixels in the order of their scores."""
    return not set(RANKED).isdisjoint(metrics)


def _levels(normal: NDArray[np.float32], every: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.array([np.median(normal), np.quantile(every, 0.999)], dtype=np.float32)
