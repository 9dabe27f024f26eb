"""How many validation images a threshold takes: recorded scores are drawn again, nothing is computed anew. Pure.

A draw takes n images of one class of each category's validation part, without replacement, and all of the other
class; the threshold that they give is judged on the whole validation part and on the test part. Draws are nested:
the images of a smaller n are among those of a larger one. Near the whole part the draws resemble each other, so
their spread says little there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from adloc.errors import UserError
from adloc.metrics.classification import confusion
from adloc.thresholds import NEEDS_DEFECTS, calibrate
from adloc.uncertainty.resampling import seed_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material
    from adloc.study_file.spec import StudySpec

N_DRAWS = 100
OUTER = (0.05, 0.95)  # of the draws: the band of a chart

Of = Literal["normals", "defects"]


@dataclass(frozen=True, slots=True)
class Draws:
    """Thresholds from n images of a class, averaged over categories.

    Attributes:
        n: or "all".
        n_images: mean number of images a category.
        false_alarms: (D,) share of the normal test images flagged, in each draw.
        misses: (D,) share of the anomalous test images that pass.
        f1: (D,) on the whole validation part; nan without anomalous images there.
    """

    n: int | Literal["all"]
    n_images: float
    false_alarms: NDArray[np.float64]
    misses: NDArray[np.float64]
    f1: NDArray[np.float64]


def validation_curve(material: Material, setting: Setting, of: Of) -> list[Draws]:
    """Draws of each number of images that every category has and that the objective can do with, ascending.

    Empty where the study asks for no such curve, or nothing was calibrated for each category by itself.
    """
    spec = material.plan.spec
    row = list(material.row(setting, material.first_regime(setting)).values())
    if spec.learning_curve is None or setting.threshold_scope != "category" or not row:
        return []
    if of == "defects" and spec.thresholds.objective not in NEEDS_DEFECTS:
        return []  # no threshold depends on them
    if any(f.record.threshold is None for f in row):
        return []
    counts = getattr(spec.learning_curve, f"validation_{of}")
    pools = [np.flatnonzero(f.images["validation"].labels == (of == "defects")) for f in row]
    fewest = min(len(pool) for pool in pools)
    wanted = sorted({n for n in counts if n != "all" and n < fewest})
    found = [_draws(row, pools, n, spec) for n in [*wanted, *(["all"] if "all" in counts and fewest else [])]]
    return [draws for draws in found if draws is not None]


def enough(points: Sequence[Draws], margin: float) -> Draws | None:
    """The fewest images from which no larger number gains more than the margin in mean F1 of the validation part."""
    means = [float(point.f1.mean()) for point in points]
    for number, point in enumerate(points):
        if all(later - means[number] <= margin for later in means[number:]):  # never of nan: F1 is not defined
            return point
    return None


def _draws(
    row: Sequence[Finding], pools: Sequence[NDArray[np.intp]], n: int | Literal["all"], spec: StudySpec
) -> Draws | None:
    """None where n images are too few for the objective."""
    n_draws = 1 if n == "all" else N_DRAWS
    figures = np.empty((3, n_draws, len(row)))
    for column, (finding, pool) in enumerate(zip(row, pools, strict=True)):
        validation, test = finding.images["validation"], finding.test
        others = np.setdiff1d(np.arange(len(validation.labels)), pool)
        rng = np.random.default_rng(seed_of(spec.seed, validation.names))
        for draw in range(n_draws):
            taken = pool if n == "all" else rng.permutation(pool)[:n]
            kept = np.concatenate([taken, others])
            try:
                threshold = calibrate(validation.scores[kept], validation.labels[kept], spec.thresholds, spec.operating)
            except UserError:
                return None
            of_test = confusion(test.scores, test.labels, threshold)
            of_validation = confusion(validation.scores, validation.labels, threshold)
            figures[:, draw, column] = of_test.false_positive_rate, of_test.false_negative_rate, of_validation.f1
    n_images = float(np.mean([len(pool) if n == "all" else n for pool in pools]))
    return Draws(n, n_images, *figures.mean(axis=2))
