"""Differences over repeats whose training and test images overlap: the corrected resampled t test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr, stdtrit

from adloc.uncertainty.resampling import LEVEL, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class RepeatedTest:
    """The mean difference over repeats.

    Attributes:
        difference: mean, first minus second.
        standard_error: corrected for the overlap of the repeats; 0 where all repeats agree.
        freedom: one less than there are repeats.
        p: two-sided; 1 where no repeat shows a difference, nan where all show the same one.
    """

    difference: float
    standard_error: float
    freedom: int
    p: float

    def interval(self, level: float = LEVEL) -> Interval:
        """Of the mean difference; nan where it has no spread."""
        if self.standard_error == 0:
            return Interval(math.nan, math.nan)
        reach = -float(stdtrit(self.freedom, (1 - level) / 2)) * self.standard_error
        return Interval(self.difference - reach, self.difference + reach)


def corrected_t(differences: Sequence[float], n_test: float, n_train: float) -> RepeatedTest:
    """Test the mean of differences of repeats, whose variance 1 / repeats alone would make far too small.

    Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003, section 4:
    (1 / repeats + n_test / n_train) times the variance of the differences.

    Args:
        differences: of each repeat, first minus second.
        n_test: test images of a repeat.
        n_train: training images of a repeat.

    Raises:
        ValueError: fewer than two repeats.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2:  # noqa: PLR2004  a variance needs two
        raise ValueError("the corrected resampled t test needs two repeats")
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    if variance <= 1e-18:  # noqa: PLR2004  rounding
        return RepeatedTest(mean, 0.0, values.size - 1, 1.0 if abs(mean) < 1e-12 else math.nan)  # noqa: PLR2004
    error = math.sqrt((1 / values.size + n_test / n_train) * variance)
    return RepeatedTest(mean, error, values.size - 1, min(1.0, 2 * float(stdtr(values.size - 1, -abs(mean) / error))))
