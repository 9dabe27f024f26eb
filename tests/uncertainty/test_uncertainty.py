"""Intervals, paired tests and corrections, against references, brute force and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from adloc.metrics.classification import confusion
from adloc.metrics.ranking import auroc, average_precision
from adloc.metrics.regions import pixel_metrics
from adloc.record.heatmaps import choose_common, choose_images
from adloc.uncertainty.delong import compare_aurocs
from adloc.uncertainty.image_bootstrap import image_replicates
from adloc.uncertainty.multiple import critical_difference, holm, rank_methods, wilcoxon_p
from adloc.uncertainty.pixel_bootstrap import count_pixels, pixel_replicates
from adloc.uncertainty.resampling import bootstrap_p, draw_weights, percentile_interval, seed_of


def scored(rng: np.random.Generator, n_normal: int = 25, n_anomalous: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and labels, mixed."""
    labels = rng.permutation(np.repeat([False, True], [n_normal, n_anomalous]))
    return np.round(rng.normal(size=labels.size) + labels, 1), labels


def test_resamples_keep_the_number_of_images_of_each_class() -> None:
    """The bootstrap is stratified, and the same seed draws the same."""
    _, labels = scored(np.random.default_rng(0))
    weights = draw_weights(labels, seed=3, n_resamples=50)
    assert (weights[:, labels].sum(axis=1) == labels.sum()).all()
    assert (weights[:, ~labels].sum(axis=1) == (~labels).sum()).all()
    assert np.array_equal(weights, draw_weights(labels, seed=3, n_resamples=50))
    assert not np.array_equal(weights, draw_weights(labels, seed=4, n_resamples=50))


def test_seeds_are_of_the_images() -> None:
    """The same images give the same draw, so comparisons are paired; others give another."""
    assert seed_of(42, ["a", "b"]) == seed_of(42, ["a", "b"])
    assert len({seed_of(42, ["a", "b"]), seed_of(42, ["ab"]), seed_of(43, ["a", "b"])}) == 3


def test_replicates_are_the_metrics_of_the_repeated_images() -> None:
    """Each vectorised replicate equals the plain metric of the images written out as often as they were drawn."""
    rng = np.random.default_rng(1)
    scores, labels = scored(rng)
    weights = draw_weights(labels, seed=0, n_resamples=20)
    found = image_replicates(scores, labels, 0.7, weights)
    for row, drawn in enumerate(weights.astype(int)):
        s, y = np.repeat(scores, drawn), np.repeat(labels, drawn)
        at = confusion(s, y, 0.7)
        expected = {
            "image_auroc": auroc(s, y),
            "image_auprc": average_precision(s, y),
            "image_f1": at.f1,
            "image_accuracy": at.accuracy,
            "image_precision": at.precision,
            "image_recall": at.recall,
            "image_fpr": at.false_positive_rate,
            "image_fnr": at.false_negative_rate,
        }
        assert {name: float(values[row]) for name, values in found.items()} == pytest.approx(expected, abs=1e-6)


def test_one_class_has_no_interval() -> None:
    """Where AUROC is not defined, neither is its interval."""
    labels = np.zeros(5, dtype=bool)
    found = image_replicates(np.arange(5.0), labels, None, draw_weights(labels, 0, 10))
    assert math.isnan(percentile_interval(found["image_auroc"]).low)


def blobs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maps of 40 x 56 with defects that half show, and masks; every third image is normal."""
    import cv2

    masks = np.zeros((n, 40, 56), dtype=bool)
    maps = np.empty((n, 40, 56), dtype=np.float32)
    for index in range(n):
        for _ in range(index % 3):
            row, column = rng.integers(4, 30), rng.integers(4, 44)
            masks[index, row : row + rng.integers(2, 9), column : column + rng.integers(2, 11)] = True
        noise = cv2.GaussianBlur(rng.normal(size=(40, 56)).astype(np.float32), (0, 0), 2) * 4
        maps[index] = noise + cv2.GaussianBlur(masks[index].astype(np.float32), (0, 0), 2) * rng.uniform(0.5, 3)
    return maps, masks


def test_pixel_counts_give_the_pixel_metrics_of_any_resample() -> None:
    """From counts at some edges, the areas differ by less than 0.002 from the exact ones of the repeated images."""
    maps, masks = blobs(np.random.default_rng(2), 24)
    counts = count_pixels(maps, masks)
    assert counts is not None
    weights = draw_weights(masks.any(axis=(1, 2)), seed=0, n_resamples=6)
    weights[0] = 1
    found = pixel_replicates(counts, weights)
    for row, drawn in enumerate(weights.astype(int)):
        exact = pixel_metrics(np.repeat(maps, drawn, axis=0), np.repeat(masks, drawn, axis=0))
        assert found["pixel_auroc"][row] == pytest.approx(exact.auroc, abs=2e-3)
        assert found["pixel_aupro"][row] == pytest.approx(exact.aupro, abs=2e-3)
        assert found["pixel_aupro_005"][row] == pytest.approx(exact.aupro_005, abs=2e-3)


def test_void_pixels_are_in_no_pixel_count() -> None:
    """Counts leave out what the exact metrics leave out: the same figures, and none where all defects are void."""
    maps, masks = blobs(np.random.default_rng(6), 12)
    void = np.zeros_like(masks)
    void[:, :, :20] = True
    maps[void] += 5  # as a mirrored defect would score
    counts = count_pixels(maps, masks, void)
    assert counts is not None
    found = pixel_replicates(counts, np.ones((1, 12), np.float32))
    exact = pixel_metrics(maps, masks, void=void)
    assert found["pixel_auroc"][0] == pytest.approx(exact.auroc, abs=2e-3)
    assert found["pixel_aupro"][0] == pytest.approx(exact.aupro, abs=2e-3)
    assert int(counts.regions.sum()) == exact.n_regions
    assert count_pixels(maps, masks, np.ones_like(masks)) is None


def test_maps_without_defects_have_no_pixel_counts() -> None:
    """Where the metrics are not defined nothing is counted."""
    assert count_pixels(np.zeros((2, 4, 4), np.float32), np.zeros((2, 4, 4), dtype=bool)) is None


@pytest.mark.slow
@pytest.mark.parametrize(("n_normal", "n_anomalous"), [(20, 44), (110, 35)])
def test_intervals_cover_the_true_auroc(n_normal: int, n_anomalous: int) -> None:
    """By simulation from two normal distributions, whose AUROC is known: 95 % intervals hold it 93 to 98 times."""
    rng = np.random.default_rng(5)
    labels = np.repeat([False, True], [n_normal, n_anomalous])
    true = 0.5 * math.erfc(-1.2 / math.sqrt(2) / math.sqrt(2))  # P(anomalous > normal), means 1.2 apart
    n_covered, n_trials = 0, 600
    for trial in range(n_trials):
        scores = rng.normal(size=labels.size) + 1.2 * labels
        weights = draw_weights(labels, seed=trial, n_resamples=1000)
        found = image_replicates(scores, labels, None, weights)["image_auroc"]
        n_covered += true in percentile_interval(found, min(n_normal, n_anomalous))
    assert 0.93 <= n_covered / n_trials <= 0.98


@pytest.mark.slow
def test_paired_intervals_cover_no_difference() -> None:
    """Two detectors that are equally good: the interval of their F1 difference holds 0, p is below 5 % as rarely."""
    rng = np.random.default_rng(6)
    labels = np.repeat([False, True], [60, 40])
    n_covered = n_rejected = 0
    for trial in range(400):
        common = rng.normal(size=labels.size) + 1.5 * labels
        weights = draw_weights(labels, seed=trial, n_resamples=1000)
        one, other = (
            image_replicates(common + rng.normal(scale=0.7, size=labels.size), labels, 0.8, weights)["image_f1"]
            for _ in range(2)
        )
        n_covered += 0.0 in percentile_interval(one - other)
        n_rejected += bootstrap_p((one - other).astype(np.float64)) < 0.05
    assert 0.91 <= n_covered / 400 <= 0.985
    assert n_rejected / 400 <= 0.09


def brute_force_delong(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Difference and standard error by the definition: kernels of all pairs, covariances of their means."""

    def kernels(scores: np.ndarray) -> np.ndarray:
        x, y = scores[labels][:, None], scores[~labels][None, :]
        return (x > y) + 0.5 * (x == y)

    ka, kb = kernels(a), kernels(b)
    over_normal = np.cov(ka.mean(axis=1), kb.mean(axis=1))
    over_anomalous = np.cov(ka.mean(axis=0), kb.mean(axis=0))
    s = over_normal / labels.sum() + over_anomalous / (~labels).sum()
    return float(ka.mean() - kb.mean()), math.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])


def test_delong_agrees_with_its_definition() -> None:
    """Difference, standard error and p equal those of the pairwise kernels, ties included."""
    rng = np.random.default_rng(7)
    for _ in range(20):
        a, labels = scored(rng)
        b = np.round(a + rng.normal(size=a.size), 1)
        found = compare_aurocs(a, b, labels)
        difference, error = brute_force_delong(a, b, labels)
        assert found.difference == pytest.approx(difference, abs=1e-12)
        assert found.difference == pytest.approx(auroc(a, labels) - auroc(b, labels), abs=1e-12)
        assert found.standard_error == pytest.approx(error, rel=1e-9)
        from scipy.stats import norm

        assert found.p == pytest.approx(2 * norm.sf(abs(difference) / error), rel=1e-9)


def test_delong_rejects_equal_detectors_five_times_in_a_hundred() -> None:
    """By simulation of two detectors that rank equally well, on the same images."""
    rng = np.random.default_rng(8)
    labels = np.repeat([False, True], [60, 50])
    n_rejected = 0
    for _ in range(600):
        common = rng.normal(size=labels.size) + labels
        a, b = (common + rng.normal(size=labels.size) for _ in range(2))
        n_rejected += compare_aurocs(a, b, labels).p < 0.05
    assert 0.03 <= n_rejected / 600 <= 0.075


def test_delong_of_the_same_scores_sees_no_difference() -> None:
    """P is 1, not an error of 0 / 0; and one image of a class is refused."""
    scores, labels = scored(np.random.default_rng(9))
    assert compare_aurocs(scores, scores, labels).p == 1.0
    with pytest.raises(ValueError, match="two images"):
        compare_aurocs(np.arange(3.0), np.arange(3.0), np.array([True, False, False]))


def test_holm_is_that_of_closed_testing() -> None:
    """Holm's corrected p is the largest Bonferroni p of all families that the hypothesis belongs to."""
    rng = np.random.default_rng(10)
    for _ in range(20):
        ps = rng.uniform(0, 0.5, size=5).tolist()
        for index, corrected in enumerate(holm(ps)):
            families = (f for n in range(1, 6) for f in itertools.combinations(range(5), n) if index in f)
            assert corrected == pytest.approx(max(min(1.0, len(f) * min(ps[i] for i in f)) for f in families))
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # R: p.adjust
    assert math.isnan(holm([0.01, math.nan])[1])
    assert holm([0.01, math.nan])[0] == 0.01


def test_critical_differences_are_those_of_the_tables() -> None:
    """Demsar (2006), table 5: q of Nemenyi's test at 5 %; and his example of 4 methods on 14 data sets, CD 1.25."""
    for n_methods, q in ((2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)):
        assert critical_difference(n_methods, 1) / math.sqrt(n_methods * (n_methods + 1) / 6) == pytest.approx(
            q, abs=1e-3
        )
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


def test_ranks_are_averaged_over_categories_and_ties_shared() -> None:
    """The best has rank 1; equal figures share the mean of their ranks."""
    ranks = rank_methods(np.array([[0.9, 0.8, 0.7], [0.8, 0.8, 0.6], [0.7, 0.5, 0.9]]))
    assert ranks.average == pytest.approx(((1 + 1.5 + 2) / 3, (2 + 1.5 + 3) / 3, (3 + 3 + 1) / 3))
    assert 0 < ranks.friedman_p < 1


def test_wilcoxon_of_no_difference_is_one() -> None:
    """Where scipy has nothing to rank, nothing is claimed."""
    assert wilcoxon_p(np.ones(6), np.ones(6)) == 1.0
    assert wilcoxon_p(np.arange(8.0) + 1, np.arange(8.0)) < 0.05


def test_bootstrap_p_counts_the_rarer_side() -> None:
    """Twice the share beyond 0, never 0, and 1 without any difference."""
    assert bootstrap_p(np.array([-1.0, *[1.0] * 99])) == pytest.approx(0.02)
    assert bootstrap_p(np.ones(1000)) == pytest.approx(0.001)
    assert bootstrap_p(np.zeros(100)) == 1.0


def test_few_images_widen_interval_and_p_alike() -> None:
    """The expanded interval leaves out 0 exactly where its p is below 5 %; with many images both are plain."""
    rng = np.random.default_rng(11)
    for centre in np.linspace(1.5, 2.8, 14):
        drawn = rng.normal(size=4000) + centre
        for n_images in (5, 20, 100):
            p = bootstrap_p(drawn, n_images)
            if abs(p - 0.05) > 1e-3:  # nearer, the quantile lies between two replicates
                assert (0.0 in percentile_interval(drawn, n_images)) == (p > 0.05)
        plain, many = percentile_interval(drawn), percentile_interval(drawn, 10_000_000)
        assert (many.low, many.high) == pytest.approx((plain.low, plain.high), abs=1e-4)
        assert percentile_interval(drawn, 5).low < percentile_interval(drawn, 20).low < plain.low


def test_common_pictures_do_not_depend_on_the_scores() -> None:
    """Every run chooses the same common images, one of each defect type in turn, then its own extremes."""
    names = [f"bottle/test/x/{i:03}.png" for i in range(30)]
    defects = [("good", "crack", "dent")[i % 3] for i in range(30)]
    common = choose_common(names, defects, 4)
    assert common == choose_common(names, defects, 6)[:4]
    assert {defects[i] for i in common[:3]} == {"good", "crack", "dent"}
    labels = np.array([d != "good" for d in defects])
    for seed in range(3):
        scores = np.random.default_rng(seed).normal(size=30)
        chosen = choose_images(scores, labels, 0.0, 8, common)
        assert [c.index for c in chosen[:4]] == common
        assert len({c.index for c in chosen}) == 8
    assert sorted(choose_common(names, defects, 99)) == list(range(30))
