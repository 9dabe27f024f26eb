"""The smallest cases of intervals and paired tests, worked out on paper: t with one or two degrees has closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from adloc.uncertainty.delong import compare_aurocs
from adloc.uncertainty.jackknife import paired_test
from adloc.uncertainty.permutation import swap_p
from adloc.uncertainty.pixel_bootstrap import NAMES
from adloc.uncertainty.repeated import corrected_t
from adloc.uncertainty.resampling import N_RESAMPLES, bootstrap_p, percentile_interval


def cauchy(x: float) -> float:
    """The distribution function of t with one degree of freedom."""
    return 0.5 + math.atan(x) / math.pi


def test_delong_of_two_images_of_each_class() -> None:
    """Defects 3 and 1, normals 2 and 0: placements 1, .5 and .5, 1, against none: each class varies by .125 / 2."""
    labels = np.array([True, True, False, False])
    found = compare_aurocs(np.array([3.0, 1, 2, 0]), np.array([0.0, 1, 2, 3]), labels)
    assert (found.difference, found.standard_error) == pytest.approx((0.75, math.sqrt(0.125)))
    assert found.p == pytest.approx(math.erfc(0.75 / math.sqrt(0.125) / math.sqrt(2)))
    apart = compare_aurocs(np.array([3.0, 2, 1, 0]), np.array([0.0, 1, 2, 3]), labels)
    assert (apart.difference, apart.standard_error) == (1, 0)
    assert math.isnan(apart.p)  # all against none, without any variance
    for scarce in (np.array([True, False, False, False]), np.array([True, True, True, False])):
        with pytest.raises(ValueError, match="two images"):
            compare_aurocs(np.arange(4.0), np.arange(4.0), scarce)


def test_an_interval_of_two_images_reaches_to_the_ends() -> None:
    """Of one image or an unknown number it is the plain one: 2.5 and 97.5 % of 0 .. 1000."""
    drawn = np.arange(1001.0)
    for n_images in (None, 1):
        assert (percentile_interval(drawn, n_images).low, percentile_interval(drawn, n_images).high) == pytest.approx(
            (25, 975)
        )
    both = percentile_interval(drawn, 2)  # 12.7 x sqrt 2 standard errors
    assert (both.low, both.high) == pytest.approx((0, 1000))
    assert N_RESAMPLES == 1000  # of which the quick start's table and the records' intervals are
    within = percentile_interval(drawn, level=0.5)
    assert (within.low, within.high) == pytest.approx((250, 750))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_quantiles_of_few_replicates_are_numpys(n: int) -> None:
    """Linear between the two nearest."""
    drawn = np.array([4.0, 1.0, 3.0, 7.0])[:n]
    found = percentile_interval(drawn)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_p_of_two_images_is_that_of_one_degree_of_freedom() -> None:
    """25 of 1,000 at or below 0: 1.96 standard errors, divided by sqrt 2; of one image the plain 5 %."""
    drawn = np.array([0.0] * 10 + [-1.0] * 15 + [1.0] * 975)
    assert bootstrap_p(drawn) == bootstrap_p(drawn, 1) == pytest.approx(0.05)
    assert bootstrap_p(drawn, 2) == pytest.approx(2 * cauchy(-1.959963985 / math.sqrt(2)))
    assert bootstrap_p(-drawn) == pytest.approx(0.05)  # the rarer side, whichever it is
    for undefined in (np.array([]), np.array([0.0, math.nan])):
        assert math.isnan(bootstrap_p(undefined))


def test_two_repeats_have_one_degree_of_freedom() -> None:
    """.1 and .3: variance .02, times 1 / 2 + 10 / 40."""
    found = corrected_t([0.1, 0.3], n_test=10, n_train=40)
    error = math.sqrt(0.75 * 0.02)
    assert (found.difference, found.standard_error, found.freedom) == (pytest.approx(0.2), pytest.approx(error), 1)
    assert found.p == pytest.approx(2 * cauchy(-0.2 / error))
    between = found.interval()
    reach = math.tan(math.pi * 0.475) * error
    assert (between.low, between.high) == pytest.approx((0.2 - reach, 0.2 + reach))
    half = found.interval(0.5)  # tan(pi / 4) is 1
    assert (half.low, half.high) == pytest.approx((0.2 - error, 0.2 + error))
    assert corrected_t([0.0, 0.0], 10, 40).p == 1
    assert math.isnan(corrected_t([0.1, 0.1], 10, 40).p)
    assert math.isnan(corrected_t([0.1, 0.1], 10, 40).interval().low)
    with pytest.raises(ValueError, match="two repeats"):
        corrected_t([0.1], 10, 40)


def test_the_jackknife_of_two_strata_of_two() -> None:
    """Variances 2 and 2, halved: 2 with 2 ** 2 / (1 + 1) = 2 degrees, of whose t the tail is closed."""
    strata = [np.array([1.0, -1.0]), np.array([2.0, 0.0])]
    found = paired_test(1.0, strata)
    assert (found.standard_error, found.freedom) == pytest.approx((math.sqrt(2), 2))
    t = 1 / math.sqrt(2)
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert paired_test(-1.0, strata).p == pytest.approx(found.p)
    mean = paired_test(1.0, strata, n_figures=2)  # of two categories: half the error
    assert (mean.standard_error, mean.freedom) == pytest.approx((math.sqrt(2) / 2, 2))
    unequal = paired_test(1.0, [np.array([1.0, -1.0]), np.array([1.0, 0.0, -1.0])])
    assert unequal.freedom == pytest.approx((1 + 1 / 3) ** 2 / (1 / 1 + (1 / 3) ** 2 / 2))
    with pytest.raises(ValueError, match="two images"):
        paired_test(1.0, [np.array([1.0])])


def test_swaps_of_twelve_images_are_all_counted_and_of_thirteen_drawn() -> None:
    """P is a multiple of 1 / 2 ** 12, or of one of 20,000 draws and what was observed."""
    rng = np.random.default_rng(3)
    for n, ways in ((12, 4096), (13, 20_001)):
        labels = np.arange(n) % 2 == 0
        p = swap_p(rng.normal(size=n) + labels, rng.normal(size=n), labels)
        assert p * ways == pytest.approx(round(p * ways), abs=1e-6)
        assert 1 / ways <= p <= 1


def test_ties_count_half_in_every_swap() -> None:
    """P by scikit-learn's areas of all 32 ways to swap; of the first pair a quarter in place of a half gives .875."""
    rng, labels = np.random.default_rng(4), np.array([True, False, True, False, True])
    pairs = [(np.array([2.0, 1, 1, 0, 0]), np.array([0.0, 0, 0, 0, 2]))]
    pairs += [(rng.integers(0, 3, size=5).astype(float), rng.integers(0, 3, size=5).astype(float)) for _ in range(2)]
    for a, b in pairs:
        ranks = [rankdata(a), rankdata(b)]
        gaps = []
        for ways in itertools.product([0, 1], repeat=5):
            pair = [[ranks[w if first else 1 - w][i] for i, w in enumerate(ways)] for first in (True, False)]
            gaps.append(abs(roc_auc_score(labels, pair[0]) - roc_auc_score(labels, pair[1])))
        assert swap_p(a, b, labels) == pytest.approx(np.mean(np.array(gaps) >= gaps[0] - 1e-9))
    assert swap_p(*pairs[0], labels) == 1


def test_pixel_counts_are_kept_under_these_names() -> None:
    """Records of all versions have them: another name would lose the intervals of what was recorded."""
    assert NAMES == ("pixel_normal", "pixel_defect", "pixel_overlap", "pixel_regions")
