"""What of a first study follows from its images: input size, threshold, regimes, size of the memory bank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.datasets.split import Split, SplitConfig, split
from adloc.errors import Complaint, UserError
from adloc.uncertainty.order_statistics import expected_bound, least_normals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adloc.datasets.sample import Sample
    from adloc.init.look import Sizes

SHORT_SIDE = 224
SMALLEST_PROMISED, LARGEST_PROMISED = 0.01, 0.05
_SQUARE_UNTIL = 4 / 3  # an aspect up to here is brought to a square, as the backbone was trained
_LONGEST = 3  # times the short side
_STEP = 32  # pixels a position of the deepest feature map
_CELL = 8  # pixels a position of layer2, on whose grid PatchCore's patches lie
_BANK = 20_000  # patches; the greedy coreset costs the product of bank and patches
_RATIO = 0.1
_SECONDS_AN_IMAGE = 0.25  # measured at 224 x 224: features, both methods, metrics and heatmaps, on two cores
_START = 30  # seconds
_LONG = 30 * 60


@dataclass(frozen=True, slots=True)
class Settings:
    """What a first study is told beside its dataset.

    Attributes:
        size: height and width of the input; one number is a square.
        objective: of the threshold.
        fpr: its rate; None where the objective reads none.
        n_calibrating: good validation images of the category that has the fewest.
        regimes: all four, or clean where these would take long.
        coreset_ratio: share of the patches that PatchCore keeps.
        seconds: what the regimes take on two cores, in about.
    """

    size: int | tuple[int, int]
    objective: str
    fpr: float | None
    n_calibrating: int
    regimes: tuple[str, ...]
    coreset_ratio: float
    seconds: float


def parts_of(samples: Sequence[Sample], config: SplitConfig) -> dict[str, Split]:
    """Return the parts of every category.

    Raises:
        UserError: a category has too few good images to fit on, to calibrate on or to test on.
        DatasetError: a group pattern that finds no group.
    """
    by_category: dict[str, list[Sample]] = {}
    for sample in samples:
        by_category.setdefault(sample.category, []).append(sample)
    parts = {name: split(own, config) for name, own in by_category.items()}
    wrong = [
        Complaint(
            f"{name}: {sum(sample.label == 0 for sample in by_category[name])} good images, of which {len(each.train)}"
            f" are to fit on, {_n_good(each.validation)} to calibrate on and {len(each.test)} images to test on",
            "a study needs at least 2 good images to fit on, 1 to calibrate on and 1 image to test on",
            "add good images: 4 are enough to run, 50 for a first answer, 300 to promise 1 % false alarms",
        )
        for name, each in parts.items()
        if len(each.train) < 2 or not _n_good(each.validation) or not each.test  # noqa: PLR2004
    ]
    if wrong:
        raise UserError(*wrong)
    return parts


def settings_for(parts: Mapping[str, Split], sizes: Mapping[str, Sizes]) -> Settings:
    """Return the settings of a first study.

    Args:
        parts: of every category.
        sizes: of the images of every category, as far as they can be read.
    """
    shapes = {input_size(each) for each in sizes.values()}
    size = shapes.pop() if len(shapes) == 1 else SHORT_SIDE
    height, width = (size, size) if isinstance(size, int) else size
    n_fitted = max(len(each.train) for each in parts.values())
    n_patches = n_fitted * (height // _CELL) * (width // _CELL)
    n_calibrating = min(_n_good(each.validation) for each in parts.values())
    n_images = sum(len(part) for each in parts.values() for _, part in each.parts())
    area = height * width / SHORT_SIDE**2
    one_pass = n_images * area * _SECONDS_AN_IMAGE
    everything = one_pass * 2 + _START
    fits = everything <= _LONG
    objective, fpr = threshold_for(parts, n_calibrating)
    return Settings(
        size,
        objective,
        fpr,
        n_calibrating,
        ("clean", "no_adaptation", "threshold_only", "full_adaptation") if fits else ("clean",),
        min(_RATIO, float(f"{_BANK / n_patches:.1g}")),
        everything if fits else one_pass + _START,
    )


def input_size(sizes: Sizes) -> int | tuple[int, int]:
    """Return 224, or for images longer than 4:3 their own proportions with a short side of 224, in steps of 32.

    The long side is at most three times the short one.
    """
    if 1 / _SQUARE_UNTIL <= sizes.aspect <= _SQUARE_UNTIL:
        return SHORT_SIDE
    aspect = min(max(sizes.aspect, 1 / sizes.aspect), _LONGEST)
    long_side = round(SHORT_SIDE * aspect / _STEP) * _STEP
    return (SHORT_SIDE, long_side) if sizes.aspect > 1 else (long_side, SHORT_SIDE)


def threshold_for(parts: Mapping[str, Split], n_calibrating: int) -> tuple[str, float | None]:
    """Return the objective of the threshold, and its rate.

    f1 where every category has anomalous validation images. Else, from the good ones alone: 1 % or 5 % guaranteed
    where they are enough to promise that at 95 %; else the smallest rate that they can promise on the average.
    """
    if all(any(sample.label for sample in each.validation) for each in parts.values()):
        return "f1", None
    for fpr in (SMALLEST_PROMISED, LARGEST_PROMISED):
        if n_calibrating >= least_normals(fpr):
            return "guaranteed_fpr", fpr
    return "normal_quantile", min(0.5, math.ceil(expected_bound(n_calibrating, 0) * 100) / 100)


def _n_good(samples: Sequence[Sample]) -> int:
    return sum(sample.label == 0 for sample in samples)
