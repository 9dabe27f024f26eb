"""What difference a study can see: closed forms, what must hold, and simulation."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from adloc.answer.power import StudyPower, study_power
from adloc.metrics.ranking import auroc
from adloc.uncertainty.delong import compare_aurocs
from adloc.uncertainty.power import Counts, auroc_variance, difference_error, images_needed, smallest_difference
from handmade import finding, images, material, setting


def test_the_variance_without_discrimination_is_mann_and_whitneys() -> None:
    """At an AUROC of .5 it is that of the rank sum under no difference: (m + n + 1) / 12 m n."""
    assert auroc_variance(0.5, Counts(20, 44)) == pytest.approx((20 + 44 + 1) / (12 * 20 * 44))


def test_the_smallest_difference_is_2_8_standard_errors() -> None:
    """At 5 % and 80 %: z .975 + z .8 = 1.960 + .842 of them; more categories and more correlation see less."""
    counts = [Counts(20, 44)] * 3
    found = smallest_difference(counts)
    assert found / difference_error(found, counts) == pytest.approx(1.959964 + 0.841621, rel=1e-5)
    assert smallest_difference(counts[:1]) > found > smallest_difference(counts, correlation=0.8)
    assert smallest_difference([Counts(1, 1)], auroc=0.6) == 1


def test_uncorrelated_variances_add() -> None:
    """Without correlation the error is the root of both variances, over two categories half that of their sum."""
    one = auroc_variance(0.95, Counts(30, 40)) + auroc_variance(0.85, Counts(30, 40))
    assert difference_error(0.1, [Counts(30, 40)], 0.9, 0) == pytest.approx(math.sqrt(one))
    assert difference_error(0.1, [Counts(30, 40)] * 2, 0.9, 0) == pytest.approx(math.sqrt(2 * one) / 2)


def test_images_needed_are_just_enough() -> None:
    """They see the difference; a tenth fewer do not; what takes too many is not promised."""
    counts = [Counts(20, 44), Counts(40, 30)]
    found = images_needed(0.03, counts)
    assert found is not None
    assert smallest_difference(found) <= 0.03
    assert smallest_difference([Counts(int(c.normal * 0.9), int(c.anomalous * 0.9)) for c in found]) > 0.03
    assert images_needed(1e-5, counts) is None


def plan(n_normal: int, n_anomalous: int) -> Any:
    """Of three categories with these test parts."""
    samples = [SimpleNamespace(label=label) for label in [0] * n_normal + [1] * n_anomalous]
    parts = SimpleNamespace(test=SimpleNamespace(samples=samples))
    return SimpleNamespace(parts=dict.fromkeys("abc", parts))


def test_a_plan_says_what_it_can_see() -> None:
    """From its counts, with what was assumed; a part without defects can see nothing."""
    found = study_power(plan(40, 60))
    assert found is not None
    assert found.difference == smallest_difference([Counts(40, 60)] * 3)
    assert f"differs by {found.difference:.3f} and more" in found.sentence()
    assert "assumed" in found.sentence()
    assert (found.auroc, found.correlation, found.wanted) == (0.9, 0.5, 0.05)  # as the sentence says
    assert study_power(plan(40, 0)) is None
    assert study_power(plan(0, 40)) is None
    assert study_power(plan(1, 1)) is not None


def test_a_plan_says_it_in_these_words() -> None:
    """Of categories of different sizes the largest is told; what cannot be seen or counted is said so."""
    made = StudyPower(0.0824, 0.9, 0.5, measured=False, wanted=0.05, images=(Counts(50, 70), Counts(60, 40)))
    assert made.sentence() == (
        "Power: this study tells settings apart whose macro image AUROC differs by 0.082 and more, in 80% of cases "
        "(one comparison at 5 %; AUROC 0.90 and correlation 0.50 assumed); a difference of 0.05 takes up to 60 normal "
        "and 70 anomalous test images a category."
    )
    blind = StudyPower(1.0, 0.9, 0.5, measured=True, wanted=0.05, images=None)
    assert blind.sentence() == (
        "Power: no difference of macro image AUROC can be told apart with so few test images; a difference of 0.05 "
        "takes more images than can be counted on."
    )
    measured = StudyPower(0.999, 0.9, 0.5, measured=True, wanted=0.05, images=None)
    assert "differs by 0.999 and more" in measured.sentence()
    assert "correlation 0.50 measured here)" in measured.sentence()


def test_the_studys_own_aurocs_replace_the_assumed_ones() -> None:
    """Two detectors that go together nearly always and part their classes: .95 of correlation and .99 at most."""
    labels = [0] * 20 + [1] * 20
    scores = [float(i) for i in range(40)]
    scores[19], scores[20] = 20.5, 19.5
    turned = [39 - s for s in scores]
    near = [s + 0.01 * (i % 2) for i, s in enumerate(scores)]
    near[18], near[21] = 21.2, 18.2

    def found(*of: list[float], n: int = 2) -> StudyPower:
        runs = [finding(setting(f"s{i}", i), images(s, labels), category=c) for i, s in enumerate(of[:n]) for c in "a"]
        made = study_power(plan(20, 20), material(runs))
        assert made is not None
        return made

    together = found(scores, near)
    assert together.measured
    assert together.auroc == 0.99  # 399 and 395 of 400 pairs are right: .9925 on average
    assert 0.3 < together.correlation <= 0.95
    opposed = found(scores, turned)
    assert (opposed.auroc, opposed.correlation) == (pytest.approx(0.5, abs=0.01), 0.0)  # they move against each other
    wrong = found(turned, [39 - s for s in near])
    assert wrong.auroc == 0.5  # no test is planned below chance
    assert not found(scores, scores).measured  # the same twice says nothing of a pair
    assert not found(scores, near, n=1).measured


@pytest.mark.slow
def test_power_is_four_in_five_by_simulation() -> None:
    """Two detectors as far apart as said, on 3 x (20 + 44) images: told apart in 72 to 88 % of 400 studies."""
    rng = np.random.default_rng(5)
    labels = np.repeat([False, True], [20, 44])

    def draw(top: float, low: float) -> tuple[np.ndarray, np.ndarray]:
        shared = math.sqrt(0.6) * rng.normal(size=64)
        one, other = (
            shared + math.sqrt(0.4) * rng.normal(size=64) + math.sqrt(2) * float(ndtri(a)) * labels for a in (top, low)
        )
        return one, other

    pairs = [draw(0.9, 0.84) for _ in range(400)]
    correlation = float(np.corrcoef([[auroc(s, labels) for s in pair] for pair in pairs], rowvar=False)[0, 1])
    counts = [Counts(20, 44)] * 3
    difference = smallest_difference(counts, 0.87, correlation)
    n_found = 0
    for _ in range(400):
        tests = [compare_aurocs(*draw(0.87 + difference / 2, 0.87 - difference / 2), labels) for _ in counts]
        error = math.sqrt(sum(t.standard_error**2 for t in tests)) / 3
        n_found += abs(sum(t.difference for t in tests)) / 3 > 1.959964 * error
    assert 0.72 <= n_found / 400 <= 0.88
