"""The setting that the validation part chooses: what the choice is worth, by hand and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from adloc.metrics.ranking import auroc
from adloc.uncertainty.selection import Scored, resample_choice


def part(rng: np.random.Generator, means: np.ndarray, n_normal: int, n_anomalous: int) -> Scored:
    """Scores of settings whose defects lie these means above the normal images, correlated by .6."""
    labels = np.repeat([False, True], [n_normal, n_anomalous])
    own = rng.normal(size=(means.size, labels.size))
    return Scored(
        math.sqrt(0.6) * rng.normal(size=labels.size) + math.sqrt(0.4) * own + means[:, None] * labels, labels
    )


def test_the_validation_part_chooses() -> None:
    """The best validation figure is taken though another is far better on the test part; figures are the metric's."""
    rng = np.random.default_rng(0)
    validation, test = part(rng, np.array([3.0, 0.5]), 20, 20), part(rng, np.array([0.5, 4.0]), 20, 30)
    found = resample_choice([validation], [test], seed=1)
    assert found is not None
    assert found.chosen == 0
    assert found.validation == pytest.approx(auroc(validation.scores[0], validation.labels), abs=1e-6)
    assert found.test == pytest.approx(auroc(test.scores[0], test.labels), abs=1e-6)
    assert found.test in found.interval
    assert found.shares[0] > 0.95
    assert sum(found.shares) == pytest.approx(1)


def test_of_equals_the_first_is_chosen() -> None:
    """Settings with the same scores: the first every time, and the choice promises nothing that is not there."""
    rng = np.random.default_rng(1)
    one = part(rng, np.array([1.0]), 20, 20)
    twice = Scored(np.repeat(one.scores, 3, axis=0), one.labels)
    found = resample_choice([twice], [twice], seed=1)
    assert found is not None
    assert found.shares == (1.0, 0.0, 0.0)
    assert abs(found.optimism) < 0.01


def test_a_choice_among_many_equals_is_optimistic() -> None:
    """Of 18 equally good settings the best validation figure promises too much; of one it does not."""
    rng = np.random.default_rng(2)
    validation, test = part(rng, np.full(18, 1.2), 12, 18), part(rng, np.full(18, 1.2), 20, 44)
    found = resample_choice([validation], [test], seed=1)
    assert found is not None
    assert found.optimism > 0.02


def test_one_class_chooses_nothing() -> None:
    """Without anomalous validation images there is no validation figure."""
    rng = np.random.default_rng(3)
    assert resample_choice([part(rng, np.ones(2), 9, 0)], [part(rng, np.ones(2), 9, 9)], seed=1) is None


def covered(rng: np.random.Generator, spread: float, n_trials: int) -> int:
    """How often the interval holds the true AUROC to be expected of what 600 other validation parts choose."""
    means = 1.2 + spread * rng.normal(size=18)
    true = ndtr(means / math.sqrt(2))

    def choose() -> int:
        figures = []
        for _ in range(3):
            drawn = part(rng, means, 12, 18)
            wins = drawn.scores[:, drawn.labels, None] > drawn.scores[:, None, ~drawn.labels]
            figures.append(wins.mean(axis=(1, 2)))
        return int(np.argmax(np.mean(figures, axis=0)))

    expected = float(np.mean([true[choose()] for _ in range(600)]))
    n_covered = 0
    for trial in range(n_trials):
        validation, test = ([part(rng, means, *counts) for _ in range(3)] for counts in ((12, 18), (20, 44)))
        found = resample_choice(validation, test, trial, n_resamples=200)
        assert found is not None
        n_covered += expected in found.interval
    return n_covered


@pytest.mark.slow
def test_intervals_cover_what_the_procedure_reaches() -> None:
    """18 settings from alike to far apart, 3 categories: 93 to 97 of 100 intervals hold what the choice is worth."""
    rng = np.random.default_rng(11)
    spreads = (0.0, 0.1, 0.3, 0.6)
    n_covered = sum(covered(rng, spread, 150) for spread in spreads)
    assert 0.93 <= n_covered / (150 * len(spreads)) <= 0.97


def test_the_interval_of_one_setting_is_that_of_its_test_images_by_t() -> None:
    """Of 8 defects 4 lie above all 10 normals: .5 with an error of sqrt(.25 / 8), and t of 7 degrees 2.3646."""
    labels = np.repeat([False, True], [10, 8])
    test = Scored(np.array([[1.0] * 10 + [2.0] * 4 + [0.0] * 4]), labels)
    validation = Scored(np.array([[0.0] * 10 + [1.0] * 8]), labels)
    found = resample_choice([validation], [test], seed=1, n_resamples=20_000)
    assert found is not None
    assert (found.validation, found.test, found.optimism, found.shares) == (1.0, 0.5, 0.0, (1.0,))
    reach = 2.3646 * math.sqrt(0.25 / 8)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.5 - reach, 0.5 + reach), abs=0.006)
    clipped = resample_choice([validation], [Scored(test.scores[:, 8:], labels[8:])], seed=1)
    assert clipped is not None  # of 2 normals one degree of freedom is left: all of 0 to 1
    assert (clipped.interval.low, clipped.interval.high) == (0.0, 1.0)
