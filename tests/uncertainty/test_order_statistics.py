"""What n normal validation images promise about false alarms: closed forms, brute force, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from adloc.thresholds import ThresholdConfig, calibrate
from adloc.uncertainty.order_statistics import (
    MOST_SIMULATED,
    expected_bound,
    expected_excess,
    largest_rank,
    least_normals,
    promise,
    simultaneous_bound,
    upper_bound,
)


@pytest.mark.parametrize(("n", "bound"), [(12, 0.221), (56, 0.052), (299, 0.010)])
def test_the_maximum_of_n_promises_its_closed_form(n: int, bound: float) -> None:
    """Above the largest of n, P(FPR > p) = (1 - p)^n: the bound solves it for 5 %."""
    assert upper_bound(n, 0) == pytest.approx(1 - 0.05 ** (1 / n))
    assert upper_bound(n, 0) == pytest.approx(bound, abs=5e-4)


@pytest.mark.parametrize(("n", "k"), [(12, 3), (56, 1), (299, 20), (40, 39)])
def test_the_bound_of_a_rank_is_that_of_a_binomial(n: int, k: int) -> None:
    """More than p is flagged exactly when at most k of n uniform numbers fall under p."""
    assert binom.cdf(k, n, upper_bound(n, k, 0.9)) == pytest.approx(0.1)


def test_all_flagged_promises_nothing() -> None:
    """With k = n both bounds are 1, for a chosen rank too; counts that cannot be are refused."""
    assert upper_bound(7, 7) == expected_bound(7, 7) == simultaneous_bound(7, 7) == 1
    for n, k in ((0, 0), (3, 4), (3, -1)):
        with pytest.raises(ValueError, match="cannot be flagged"):
            upper_bound(n, k)


@pytest.mark.parametrize(("fpr", "confidence", "n"), [(0.01, 0.95, 299), (0.05, 0.90, 45), (0.5, 0.5, 1)])
def test_least_normals(fpr: float, confidence: float, n: int) -> None:
    """299 images for 1 % at 95 %, 45 for 5 % at 90 %; one fewer promises less."""
    assert least_normals(fpr, confidence) == n
    assert largest_rank(n, fpr, confidence) == 0
    assert n == 1 or largest_rank(n - 1, fpr, confidence) is None


@pytest.mark.parametrize("n", [59, 93, 124, 400])
def test_largest_rank_is_found_by_brute_force(n: int) -> None:
    """The largest k whose binomial tail is within 5 % (Wilks: 59, 93, 124 images for the first three ranks)."""
    best = max(k for k in range(n) if binom.cdf(k, n, 0.05) <= 0.05)
    assert largest_rank(n, 0.05) == best
    assert {59: 0, 93: 1, 124: 2}.get(n, best) == best


@pytest.mark.parametrize("n", [3, 12, 56, 200])
def test_a_chosen_rank_is_covered_whatever_was_chosen(n: int) -> None:
    """Fresh uniform order statistics: all ranks hold together in 95 %, and one rank's own bounds do not."""
    rng = np.random.default_rng(n)
    rates = np.sort(rng.random((20_000, n)), axis=1)
    together = np.array([simultaneous_bound(n, k) for k in range(n)])
    alone = np.array([upper_bound(n, k) for k in range(n)])
    held = (rates <= together).all(axis=1).mean()
    assert 0.95 - 3 * math.sqrt(0.05 * 0.95 / 20_000) <= held <= 0.965
    assert (rates <= alone).all(axis=1).mean() < 0.93


def test_choosing_adds_to_the_expected_rate() -> None:
    """The worst choice of a rank realises what is promised on the average, and more than (k + 1) / (n + 1)."""
    rates = np.sort(np.random.default_rng(8).random((20_000, 12)), axis=1)
    means = np.arange(1, 13) / 13
    worst = (rates - means).argmax(axis=1)
    realised = rates[np.arange(len(rates)), worst]
    promised = np.mean([promise(12, int(k), chosen=True).expected for k in worst])
    assert means[worst].mean() + 0.1 < realised.mean() <= promised
    assert promised - realised.mean() < 0.01


def test_what_choosing_adds_errs_on_the_safe_side() -> None:
    """Not below the e with E[max over k of FPR - min(1, (k + 1) / 13 + e)] = 0 of other draws, nor far above it."""
    drawn = np.sort(np.random.default_rng(77).random((400_000, 12)), axis=1)

    def excess(e: float) -> float:
        return float((drawn - np.minimum(1, np.arange(1, 13) / 13 + e)).max(axis=1).mean())

    found = expected_excess(12)
    assert excess(found) <= 0 < excess(found - 0.004)
    bounds = [simultaneous_bound(12, k) for k in range(12)]
    assert 0.95 <= (drawn <= bounds).all(axis=1).mean() < 0.957  # every rank at once, with as little to spare


def test_large_parts_are_bounded_without_simulation() -> None:
    """Above 2,000 images the bound is Massart's, not far from what the simulation gave just below."""
    n = MOST_SIMULATED + 1
    assert simultaneous_bound(n, 20) == pytest.approx(20 / n + math.sqrt(math.log(20) / (2 * n)))
    assert expected_excess(n) == pytest.approx(0.74 / math.sqrt(n))


@pytest.mark.slow
@pytest.mark.parametrize("n", [12, 56, 299])
def test_the_guarantee_holds_over_1000_resplits(n: int) -> None:
    """`guaranteed_fpr` exceeds its rate in at most 5 % of 1,000 resplits of 100,000 normal scores."""
    rng = np.random.default_rng(n)
    scores = rng.gamma(2.0, size=100_000)
    fpr = upper_bound(n, 0) * (1 + 1e-9)
    config = ThresholdConfig(objective="guaranteed_fpr", fpr=fpr)
    realised = _realised(scores, n, config, rng)
    exceeded = np.mean(realised > fpr)
    print(f"n {n}: {fpr:.4f} exceeded in {exceeded:.3f}")  # noqa: T201  a figure of docs/concepts.md
    assert 0.03 <= exceeded <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
def test_a_quantile_of_12_images_realises_1_in_13() -> None:
    """`normal_quantile` at 1 % with 12 images flags 1 / 13 of the normal images on the average."""
    rng = np.random.default_rng(13)
    scores = rng.gamma(2.0, size=100_000)
    realised = _realised(scores, 12, ThresholdConfig(objective="normal_quantile"), rng)
    print(f"mean {realised.mean():.4f}")  # noqa: T201
    assert realised.mean() == pytest.approx(1 / 13, abs=3 * 0.071 / math.sqrt(1000))


@pytest.mark.slow
def test_the_promise_of_f1_holds_over_1000_resplits() -> None:
    """The threshold of the largest F1 keeps its 95 % bound, and the average stays under the expected one."""
    rng = np.random.default_rng(3)
    normal, anomalous = np.sort(rng.normal(size=100_000)), rng.normal(0.8, size=100_000)
    exceeded, realised, expected = [], [], []
    labels = np.arange(52) >= 12
    for _ in range(1000):
        scores = np.concatenate([rng.choice(normal, 12), rng.choice(anomalous, 40)])
        threshold = calibrate(scores, labels, ThresholdConfig())
        made = promise(12, int((scores[:12] >= threshold).sum()), chosen=True)
        rate = 1 - np.searchsorted(normal, threshold) / normal.size
        exceeded.append(rate > made.upper)
        realised.append(rate)
        expected.append(made.expected)
    assert np.mean(exceeded) <= 0.05
    assert np.mean(realised) <= np.mean(expected)


def _realised(scores: np.ndarray, n: int, config: ThresholdConfig, rng: np.random.Generator) -> np.ndarray:
    """False-positive rates among all scores, of 1,000 thresholds from n of them each."""
    ordered = np.sort(scores)
    labels = np.zeros(n, dtype=bool)
    thresholds = [calibrate(rng.choice(scores, n, replace=False), labels, config) for _ in range(1000)]
    return 1 - np.searchsorted(ordered, thresholds) / ordered.size


@pytest.mark.parametrize("n", [1, 3, 40])
def test_what_is_expected_is_never_above_the_bound(n: int) -> None:
    """Also where nearly all images are flagged, and both come near 1."""
    promises = [promise(n, k, chosen=chosen) for k in range(n + 1) for chosen in (True, False)]
    assert all(made.expected <= made.upper <= 1 for made in promises)
