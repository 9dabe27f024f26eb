"""Paired tests, families and verdicts, from figures worked out by hand and from simulation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adloc.answer.compared import _pairs, compare_settings, correct
from adloc.answer.selection import chosen_interval
from adloc.metrics.ranking import auroc
from adloc.uncertainty.delong import compare_aurocs
from adloc.uncertainty.image_bootstrap import image_replicates
from adloc.uncertainty.jackknife import influences, leave_one_out, paired_test
from adloc.uncertainty.multiple import holm
from adloc.uncertainty.permutation import swap_p
from adloc.uncertainty.pixel_bootstrap import PixelCounts, pixel_replicates
from adloc.uncertainty.repeated import corrected_t
from adloc.uncertainty.resampling import percentile_interval
from handmade import compared_by_hand, finding, images, material, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.paired import Comparison

LABELS = np.repeat([False, True], [20, 30])
ONE, OTHER, THIRD = (setting(name, index) for index, name in enumerate(("one", "other", "third")))


def found(
    of: Setting, scores: NDArray[np.float64], *, labels: NDArray[np.bool_] = LABELS,
    validation: NDArray[np.float64] | None = None, **values: Any,
) -> Finding:  # fmt: skip
    """A run with these test scores and their AUROC."""
    known = None if validation is None else images(validation, labels)
    return finding(of, images(scores, labels), known, metrics={"image_auroc": auroc(scores, labels)}, **values)


def good_and_poor() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores that part the classes almost, and scores that hardly do."""
    rng = np.random.default_rng(0)
    return rng.normal(size=50) + 2.5 * LABELS, rng.normal(size=50) + 0.3 * LABELS


def comparison(difference: float = 0.2, **values: Any) -> Comparison:
    """Significant, the first better by .2, unless said otherwise."""
    return compared_by_hand(ONE, OTHER, difference, **values)


def test_verdicts_say_who_is_better() -> None:
    """The sign of first minus second names the better one, where the corrected p lies below 5 %."""
    assert comparison().verdict == "first better"
    assert comparison(difference=-0.2).verdict == "second better"
    assert comparison(p_holm=0.05).verdict == "not told apart"
    assert comparison(p_holm=math.nan).verdict == "not tested"


def test_equal_is_an_interval_inside_the_margin() -> None:
    """The 90 % interval within the margin: equal, whatever p; past it on one side: not; of no width: not shown."""
    inside = {"difference": 0.004, "equivalence": (-0.002, 0.0099), "p_holm": 0.4}
    assert comparison(**inside).verdict == "equal within 0.01"
    assert comparison(**inside | {"p_holm": 0.01}).verdict == "equal within 0.01"
    assert comparison(**inside | {"equivalence": (-0.002, 0.0101)}).verdict == "not told apart"
    assert comparison(**inside | {"equivalence": (-0.0101, 0.002)}).verdict == "not told apart"
    assert comparison(**inside | {"equivalence": (0, 0), "p": 1}).verdict == "not told apart"
    assert comparison(**inside | {"margin": 0.005}).verdict == "not told apart"


def test_the_family_is_of_distinct_comparisons() -> None:
    """Three comparisons of which two are the same: Holm over two; one with itself is no test."""
    again = comparison(p=0.02, regime="threshold_only")
    other = comparison(p=0.03, figures=frozenset("ac"))
    same = comparison(p=1.0, figures=frozenset("a"), test="same scores", difference=0.0)
    one, two, three, four = correct([comparison(p=0.02), again, other, same])
    assert (one.p_holm, two.p_holm, three.p_holm) == (0.04, 0.04, 0.04)
    assert math.isnan(four.p_holm)
    assert four.verdict == "equal within 0.01"


def test_a_poor_setting_is_found_worse() -> None:
    """From records: difference is first minus second, by DeLong's p, corrected for the family of three."""
    good, poor = good_and_poor()
    third = good + np.random.default_rng(1).normal(scale=0.3, size=50)
    runs = [found(s, v) for s, v in ((ONE, good), (OTHER, poor), (THIRD, third))]
    comparisons = {(c.first.key, c.second.key): c for c in compare_settings(material(runs))}
    assert len(comparisons) == 3
    worse = comparisons["one", "other"]
    assert worse.difference == pytest.approx(auroc(good, LABELS) - auroc(poor, LABELS))
    assert worse.verdict == "first better"
    assert comparisons["other", "third"].verdict == "second better"
    assert worse.difference in worse.interval
    assert [c.p_holm for c in comparisons.values()] == pytest.approx(holm([c.p for c in comparisons.values()]))


def test_the_same_test_in_two_regimes_counts_once() -> None:
    """A threshold calibrated again changes no AUROC: p stays that of one comparison."""
    good, poor = good_and_poor()
    runs = [
        found(s, v, regime=regime)
        for s, v in ((ONE, good), (OTHER, poor)) for regime in ("no_adaptation", "threshold_only")
    ]  # fmt: skip
    comparisons = [c for c in compare_settings(material(runs)) if c.metric == "image_auroc"]
    assert {c.regime for c in comparisons} == {"no_adaptation", "threshold_only"}
    assert all(c.p_holm == c.p for c in comparisons)


def test_averages_and_categories_are_families_of_their_own() -> None:
    """Of two categories: one average, whose p stays, and one comparison each, whose p are of a family of two."""
    good, poor = good_and_poor()
    runs = [found(s, v, category=c) for s, v in ((ONE, good), (OTHER, poor)) for c in "ab"]
    runs[3] = found(OTHER, poor * 0.5 + good, category="b")  # no comparison that is the same by construction
    macro, *each = compare_settings(material(runs))
    assert [c.category for c in (macro, *each)] == ["macro", "a", "b"]
    assert macro.p_holm == macro.p
    assert macro.difference == pytest.approx((each[0].difference + each[1].difference) / 2)
    assert [c.p_holm for c in each] == pytest.approx(holm([c.p for c in each]))
    assert min(c.p_holm for c in each) == pytest.approx(2 * min(c.p for c in each))


@pytest.mark.parametrize(("n", "test"), [(5, "DeLong"), (4, "permutation")])
def test_few_images_are_permuted(n: int, test: str) -> None:
    """From five images of each class on DeLong's formula is trusted."""
    labels = np.repeat([False, True], [n, 9])
    one, other = (np.random.default_rng(seed).normal(size=n + 9) + labels for seed in (0, 1))
    (only,) = compare_settings(material([found(ONE, one, labels=labels), found(OTHER, other, labels=labels)]))
    assert only.test == test


@pytest.mark.parametrize(("n", "test"), [(5, "jackknife"), (4, "bootstrap")])
def test_metrics_at_a_threshold_are_tested_by_leaving_images_out(n: int, test: str) -> None:
    """From five images of each class on; the difference is of the recorded figures."""
    labels = np.repeat([0, 1], [n, 9])
    made = [
        finding(of, images(np.random.default_rng(seed).normal(size=n + 9) + labels, list(labels)), threshold=0.5,
                metrics={"image_f1": f1})
        for of, seed, f1 in ((ONE, 0, 0.9), (OTHER, 1, 0.7))
    ]  # fmt: skip
    (only,) = compare_settings(material(made))
    assert (only.metric, only.test, only.difference) == ("image_f1", test, pytest.approx(0.2))
    assert 0 < only.p < 1


def test_an_interval_is_widened_for_the_rarer_class() -> None:
    """Of paired resamples of 20 normal and 30 anomalous images, as for 20."""
    runs = [found(of, scores) for of, scores in zip((ONE, OTHER), good_and_poor(), strict=True)]
    (only,) = compare_settings(material(runs))
    drawn = runs[0].replicates["image_auroc"].astype(np.float64) - runs[1].replicates["image_auroc"]
    expected = percentile_interval(drawn, 20)
    assert (only.interval.low, only.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    narrow = percentile_interval(drawn, 20, 0.9)
    assert (only.equivalence.low, only.equivalence.high) == pytest.approx((narrow.low, narrow.high), abs=1e-6)


def test_no_choice_is_judged_on_different_images() -> None:
    """Settings whose validation images are not the same have no common resample."""
    good, poor = good_and_poor()
    later = setting("one_b", 3, method="one")
    runs = [found(ONE, good, validation=poor), found(later, poor, validation=good)]
    other = runs[1].images["validation"]
    runs[1].images["validation"] = replace(other, names=tuple(f"x{name}" for name in other.names))
    assert chosen_interval(material(runs), ("one", "category", "category")) is None


def test_forty_pairs_are_compared_at_most() -> None:
    """Six methods of six settings: 15 pairs of leads and 30 of a lead with its own, of which the last five are cut."""
    part = images([1.0, 2.0], [0, 1])
    runs = [finding(setting(f"{m}{i}", 6 * m + i, method=f"m{m}"), part) for m in range(6) for i in range(6)]
    pairs = list(_pairs(material(runs), "clean"))
    assert len(pairs) == 40
    assert [(a.key, b.key) for a, b in pairs[14:17]] == [("40", "50"), ("00", "01"), ("00", "02")]


def test_two_kinds_of_threshold_are_equal_by_construction() -> None:
    """The same scores under two settings are no test, and cost the others nothing."""
    good, poor = good_and_poor()
    runs = [found(s, v) for s, v in ((ONE, good), (OTHER, good), (THIRD, poor))]
    by_pair = {(c.first.key, c.second.key): c for c in compare_settings(material(runs))}
    assert by_pair["one", "other"].verdict == "equal within 0.01"
    assert by_pair["one", "third"].p_holm == by_pair["one", "third"].p == by_pair["other", "third"].p_holm


def test_two_perfect_settings_are_not_called_equal() -> None:
    """AUROC 1 of both on few images is no proof of equality: their scores differ, and no image tells them apart."""
    runs = [found(s, LABELS * k + np.linspace(0, 0.5, 50) ** k) for s, k in ((ONE, 1.0), (OTHER, 2.0))]
    (only,) = compare_settings(material(runs))
    assert only.difference == 0
    assert only.verdict == "not told apart"


def test_leads_are_compared_with_each_other_and_with_their_methods_other_settings() -> None:
    """Of one and one_b (one method) and other: both leads, and one with one_b; never one_b with other."""
    good, poor = good_and_poor()
    later = setting("one_b", 3, method="one")
    runs = [found(s, v) for s, v in ((ONE, good), (later, good * 0.5 + poor), (OTHER, poor))]
    pairs = [(c.first.key, c.second.key) for c in compare_settings(material(runs))]
    assert pairs == [("one", "other"), ("one", "one_b")]


def test_the_answer_takes_what_the_validation_part_chooses() -> None:
    """Of a method's settings the one best on validation, with its test figure, though another tests better."""
    good, poor = good_and_poor()
    later = setting("one_b", 3, method="one")
    runs = [found(ONE, good, validation=poor), found(later, poor, validation=good)]
    chosen = chosen_interval(material(runs), ("one", "category", "category"))
    assert chosen is not None
    taken, selection = chosen
    assert taken is later
    assert selection.test == pytest.approx(auroc(poor, LABELS), abs=1e-6)
    assert selection.validation == pytest.approx(auroc(good, LABELS), abs=1e-6)
    assert chosen_interval(material(runs), ("other", "category", "category")) is None


def test_repeats_are_compared_by_the_corrected_t() -> None:
    """Differences .1, .2, .3 of repeats with 50 test and 100 training images: by hand t = .2 / (.1 sqrt(1/3 + 1/2))."""
    labels = np.repeat([False, True], [10, 10])
    values: Mapping[Setting, tuple[int, ...]] = {ONE: (90, 90, 90), OTHER: (80, 70, 60)}
    runs = []
    for of, pairs in values.items():
        for repeat, n_pairs in enumerate(pairs):
            # every defect scores above n_pairs / 10 of the ten normal images: AUROC n_pairs / 100
            scores = np.concatenate((np.arange(10.0), np.full(10, n_pairs / 10 - 0.5)))
            runs.append(found(of, scores, labels=labels, repeat=repeat))
    (only,) = compare_settings(material(runs, repeats=3))
    error = 0.1 * math.sqrt(1 / 3 + 50 / 100)
    assert only.test == "repeats"
    assert only.difference == pytest.approx(0.2)
    assert only.interval.high - only.difference == pytest.approx(4.302653 * error, rel=1e-6)  # t table, 2 d.f.
    # with 2 degrees of freedom the t distribution has a closed form
    t = 0.2 / error
    assert only.p == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_repeats_that_agree_have_no_test() -> None:
    """No spread and no difference is p 1; no spread and a difference says nothing; one repeat is refused."""
    assert corrected_t([0.0, 0.0], 1, 1).p == 1
    assert math.isnan(corrected_t([0.5, 0.5], 1, 1).p)
    with pytest.raises(ValueError, match="two repeats"):
        corrected_t([0.5], 1, 1)


def test_the_jackknife_of_auroc_is_delongs() -> None:
    """Standard error to rounding; its t has at most as many degrees of freedom as images, so p is a little larger."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        a = rng.normal(size=50) + LABELS
        b = a + rng.normal(size=50)
        weights = leave_one_out(LABELS)
        moved = [influences(image_replicates(s, LABELS, None, weights)["image_auroc"], LABELS) for s in (a, b)]
        difference = moved[0] - moved[1]
        expected = compare_aurocs(a, b, LABELS)
        test = paired_test(expected.difference, [difference[LABELS], difference[~LABELS]])
        assert test.standard_error == pytest.approx(expected.standard_error, rel=1e-3)
        assert 19 <= test.freedom <= 48
        assert test.p >= expected.p * 0.999


def test_the_jackknife_without_variance() -> None:
    """No influence and no difference is p 1; with a difference nothing can be said; one image is refused."""
    assert paired_test(0.0, [np.zeros(5), np.zeros(5)]).p == 1
    assert math.isnan(paired_test(0.5, [np.zeros(5), np.zeros(5)]).p)
    with pytest.raises(ValueError, match="two images"):
        paired_test(0.5, [np.zeros(1), np.zeros(5)])


def test_swaps_are_counted_exactly() -> None:
    """Two normals, two defects; one detector ranks all right, the other all wrong: 2 of 16 swaps are as far apart."""
    labels = np.array([False, False, True, True])
    right, wrong = np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 1.0, 2.0])
    assert swap_p(right, wrong, labels) == 2 / 16
    assert swap_p(right, right * 7, labels) == 1


def pro_counts(rng: np.random.Generator, quality: NDArray[np.float64]) -> PixelCounts:
    """Counts of 44 + 20 images whose regions score N(quality of the image, 1) and normal pixels N(0, 1)."""
    from scipy.special import ndtr

    n_normal, n_anomalous, edges = 20, quality.size, np.linspace(4, -4, 40)
    level = rng.normal(scale=0.2, size=n_normal + n_anomalous)
    above = ndtr(-(edges[None, :] - level[:, None]))
    normal = np.round(50_000 * np.c_[above, np.ones(len(above))])
    hit = np.zeros((n_normal + n_anomalous, edges.size + 1))
    hit[n_normal:, :-1] = ndtr(-(edges[None, :] - quality[:, None]))
    hit[n_normal:, -1] = 1
    regions = np.repeat([0, 1], [n_normal, n_anomalous])
    return PixelCounts(
        normal.astype(np.uint32), np.round(500 * hit).astype(np.uint32), hit.astype(np.float32),
        regions.astype(np.uint32),
    )  # fmt: skip


def pro_ps(rng: np.random.Generator, n: int, worse: float) -> tuple[list[float], float]:
    """P values of n comparisons on 20 + 44 images whose first differs by `worse` in quality, and its difference."""
    labels = np.repeat([False, True], [20, 44])
    weights, ps, first = leave_one_out(labels), [], 0.0
    for index in range(n):
        shared = rng.normal(0.8, 1.0, size=44)
        both = [shared + rng.normal(scale=0.78, size=44) - shift for shift in (0.0, worse if index == 0 else 0.0)]
        pros = [pixel_replicates(pro_counts(rng, q), weights)["pixel_aupro"] for q in both]
        moved = influences(pros[0].astype(np.float64) - pros[1], labels)
        difference = float(pros[0][-1]) - float(pros[1][-1])
        ps.append(paired_test(difference, [moved[labels], moved[~labels]]).p)
        first = difference if index == 0 else first
    return ps, first


@pytest.mark.slow
def test_family_of_42_rejects_falsely_in_at_most_five_in_a_hundred() -> None:
    """AUROC by DeLong, F1 and PRO by the jackknife, 42 comparisons on 20 + 44 images without any difference."""
    rng = np.random.default_rng(3)
    labels = np.repeat([False, True], [20, 44])
    weights, n_studies = leave_one_out(labels), 200
    rejected = dict.fromkeys(("image_auroc", "image_f1", "pixel_aupro"), 0)
    for _ in range(n_studies):
        ps: dict[str, list[float]] = {"image_auroc": [], "image_f1": []}
        for _ in range(3):
            common = rng.normal(size=64) + 1.2 * labels
            scores = [common + 0.7 * rng.normal(size=64) for _ in range(15)]
            drawn = [image_replicates(s, labels, 0.8, weights)["image_f1"].astype(np.float64) for s in scores]
            for one, values in zip(scores[1:], drawn[1:], strict=True):
                ps["image_auroc"].append(compare_aurocs(scores[0], one, labels).p)
                moved = influences(drawn[0] - values, labels)
                difference = float(drawn[0][-1] - values[-1])
                ps["image_f1"].append(paired_test(difference, [moved[labels], moved[~labels]]).p)
        ps["pixel_aupro"] = pro_ps(rng, 42, 0.0)[0]
        for metric, found_ps in ps.items():
            rejected[metric] += min(holm(found_ps)) < 0.05
    # three standard errors above 5 % of 200 are 9.6 %; a correction that is dropped rejects in most studies
    assert max(rejected.values()) / n_studies <= 0.05, rejected


@pytest.mark.slow
def test_a_difference_of_a_fifth_in_pro_is_found() -> None:
    """Among 42 comparisons on 44 defects one true difference of .2 in PRO is found in at least 80 % of studies."""
    rng = np.random.default_rng(4)
    n_studies, n_found, differences = 100, 0, []
    for _ in range(n_studies):
        ps, difference = pro_ps(rng, 1, 0.98)
        differences.append(difference)
        n_found += holm([*ps, *rng.uniform(size=41)])[0] < 0.05
    assert np.mean(differences) == pytest.approx(0.2, abs=0.02)
    assert n_found / n_studies >= 0.8
