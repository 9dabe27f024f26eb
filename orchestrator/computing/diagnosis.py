"""Whether what a run makes of its distances ranks the validation part worse than the plain distances do.

Each parameter that the method calls plain at another value (a reweighting, an image score, a blur) is looked at by
itself: the run's own ranking against that with this one parameter plain, on the same images, with the interval of
the difference. When that is worth a warning says `adloc.record.diagnosed`. No test image is seen.

Notation: N images of the validation part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from adloc.computing.localisation import read_chunks
from adloc.methods.detector import PATCH_MAPS, Rescoring, Result
from adloc.metrics.ranking import auroc
from adloc.metrics.regions import CURVE_POINTS, measure, rank_pixels
from adloc.planning.parts import ValidationPart, require
from adloc.planning.stage_maker import FEWEST_OF_CLASS
from adloc.study_file.evaluating import NATIVE
from adloc.uncertainty.image_bootstrap import image_replicates
from adloc.uncertainty.jackknife import influences, paired_test, without_each
from adloc.uncertainty.pixel_bootstrap import count_chunks, pixel_replicates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from adloc.methods.detector import Detector, StepContext
    from adloc.metrics.chunk import ReadChunks
    from adloc.planning.stages import DiagnosisStage
    from adloc.uncertainty.resampling import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """How well images, or their pixels, are ranked.

    Attributes:
        figures: by result column.
        left_out: the same without each image, and of all in the last place => (N + 1,) each.
        n_images: of the class that fewer of bear it.
    """

    figures: Mapping[str, float]
    left_out: Mapping[str, NDArray[np.float32]]
    n_images: int


@dataclass(frozen=True, eq=False)
class Scoring:
    """One scoring of the part; what is asked of it is worked out once.

    Attributes:
        image_scores: (N,) raw.
        labels: (N,) True = anomalous.
        read: gives the raw maps beside their masks; None where pixels are not compared.
    """

    image_scores: NDArray[np.float32]
    labels: NDArray[np.bool_]
    read: ReadChunks | None = None

    @cached_property
    def images(self) -> Ranked:
        """Of the images: their AUROC."""
        left_out = without_each(self.labels, partial(image_replicates, self.image_scores, self.labels, None))
        fewest = int(min(self.labels.sum(), (~self.labels).sum()))
        return Ranked({"image_auroc": auroc(self.image_scores, self.labels)}, left_out, fewest)

    @cached_property
    def pixels(self) -> Ranked | None:
        """Of the pixels: AUROC and PRO; None where no defect pixel is known."""
        counts = None if self.read is None else count_chunks(self.read)
        if self.read is None or counts is None:
            return None
        exact = measure(rank_pixels(self.read), CURVE_POINTS)
        left_out = without_each(self.labels, partial(pixel_replicates, counts))
        fewest = int(min((counts.regions > 0).sum(), (~self.labels).sum()))
        return Ranked({"pixel_auroc": exact.auroc, "pixel_aupro": exact.aupro}, left_out, fewest)


@dataclass(frozen=True, slots=True)
class Difference:
    """Two rankings by one metric.

    Attributes:
        own: figure of the run's own scoring.
        plain: figure of the plain one.
        interval: 95 %, of plain minus own, by the paired jackknife.
    """

    own: float
    plain: float
    interval: Interval


def diagnose(stage: DiagnosisStage, truth: Result, context: StepContext, detector: Detector) -> Result:
    """The run's own ranking against that with each parameter plain, as facts.

    A fact is called by parameter, metric and side: "reweight.pixel_aupro.own", "... plain", and of the 95 % interval of
    plain minus own "... low" and "... high". A metric that the parameter does not change, or that is not defined, has
    none. Costs about an evaluation of the part for the run and one for each parameter; no backbone pass, no search.

    Args:
        stage: which parameters and metrics.
        truth: of the part.
        context: of the last score step, with that step's own result.
        detector: of the method.
    """
    evaluation = stage.evaluation
    require(evaluation.truth.part, ValidationPart)
    if not isinstance(detector, Rescoring):
        message = f"{evaluation.scores.method.name} names plain parameters and cannot score again"
        raise TypeError(message)
    labels, size = np.asarray(truth.arrays["labels"], dtype=bool), evaluation.truth.size
    with_pixels = any(name.startswith("pixel_") for name in stage.metrics)

    def scoring(result: Result, params: BaseModel) -> Scoring:
        scores = np.asarray(result.arrays["image_scores"], dtype=np.float32)
        if not with_pixels or size == NATIVE or PATCH_MAPS not in result.arrays:
            return Scoring(scores, labels)
        return Scoring(scores, labels, read_chunks(result, truth, detector, params))

    own = scoring(context.results[evaluation.scores.step.name], context.params)
    facts: dict[str, float] = {}
    for name, value in stage.plain.items():
        params = context.params.model_copy(update={name: value})
        plain = scoring(detector.rescore(replace(context, params=params)), params)
        for metric, found in compare(own, plain).items():
            if metric in stage.metrics:
                sides = {"own": found.own, "plain": found.plain, "low": found.interval.low, "high": found.interval.high}
                facts |= {f"{name}.{metric}.{side}": figure for side, figure in sides.items()}
    return Result({}, facts)


def compare(own: Scoring, plain: Scoring) -> dict[str, Difference]:
    """By result column; without what is the same in both, is not defined, or rests on too few images."""
    pairs: list[tuple[Ranked, Ranked]] = []
    if not np.array_equal(own.image_scores, plain.image_scores):
        pairs.append((own.images, plain.images))
    if own.read is not None and plain.read is not None and not _equal_maps(own.read, plain.read):
        mine, other = own.pixels, plain.pixels
        pairs += [(mine, other)] if mine is not None and other is not None else []
    return {
        name: _difference(one, other, name, own.labels)
        for one, other in pairs
        for name in one.figures
        if one.n_images >= FEWEST_OF_CLASS
    }


def _equal_maps(one: ReadChunks, other: ReadChunks) -> bool:
    return all(np.array_equal(mine.maps, theirs.maps) for mine, theirs in zip(one(), other(), strict=True))


def _difference(own: Ranked, plain: Ranked, metric: str, labels: NDArray[np.bool_]) -> Difference:
    moved = influences(plain.left_out[metric], labels) - influences(own.left_out[metric], labels)
    difference = plain.figures[metric] - own.figures[metric]
    tested = paired_test(difference, [moved[labels], moved[~labels]])
    return Difference(own.figures[metric], plain.figures[metric], tested.interval(difference))
