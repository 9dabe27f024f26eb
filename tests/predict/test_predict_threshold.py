"""The threshold for a rate of false alarms: what normal validation images can promise, and what they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from adloc.errors import UserError
from adloc.predict.threshold import for_rate


def scores(n: int) -> np.ndarray:
    """1 to n, in no order."""
    return np.random.default_rng(n).permutation(np.arange(1, n + 1)).astype(np.float32)


def test_enough_images_promise_the_rate_with_confidence() -> None:
    """1,000 images and 1 %: the most of them that may be flagged with P(FPR > .01) <= .05, FPR ~ Beta(k + 1, n - k)."""
    k = max(k for k in range(20) if beta.ppf(0.95, k + 1, 1000 - k) <= 0.01)
    found = for_rate(scores(1000), 0.01)
    assert found.value is not None
    assert (scores(1000) >= found.value).sum() == k == 4
    assert f"{(k + 1) / 1001:.3%}" in found.words
    assert f"{beta.ppf(0.95, k + 1, 1000 - k):.3%}" in found.words
    assert "it takes" not in found.words


def test_fewer_images_promise_it_on_the_average() -> None:
    """With 1 / (n + 1) <= rate, the threshold lies above them all, and what the rate itself would take is said."""
    found = for_rate(scores(42), 0.05)
    assert found.value == np.nextafter(np.float32(42), np.float32(np.inf))
    assert f"{1 / 43:.3%}" in found.words
    assert f"{1 - 0.05 ** (1 / 42):.3%}" in found.words
    assert "it takes 59 images" in found.words  # .95^59 <= .05 < .95^58


@pytest.mark.parametrize(
    ("n", "fpr", "is_enough"), [(19, 0.05, True), (18, 0.05, False), (0, 0.5, False), (1, 0.5, True)]
)
def test_the_average_takes_one_over_the_rate(n: int, fpr: float, is_enough: bool) -> None:
    """1 / (n + 1) <= rate, or nothing is promised."""
    if is_enough:
        assert for_rate(scores(n), fpr).value is not None
        return
    with pytest.raises(UserError) as caught:
        for_rate(scores(n), fpr)
    assert f"takes {round(1 / fpr) - 1} normal images" in str(caught.value)


def test_the_rate_offered_instead_can_be_promised() -> None:
    """What the message tells to use, works."""
    with pytest.raises(UserError) as caught:
        for_rate(scores(42), 0.01)
    offered = float(str(caught.value).split("--fpr ")[2].split(",")[0])
    assert for_rate(scores(42), offered).value is not None


def test_the_average_is_kept() -> None:
    """Over 4,000 calibrations on 42 scores, the mean share of all normal parts that is flagged is 1 / 43."""
    rng = np.random.default_rng(1)
    flagged = []
    for _ in range(4000):
        value = for_rate(rng.uniform(size=42).astype(np.float32), 0.03).value
        assert value is not None
        flagged.append(1 - value)
    assert np.mean(flagged) == pytest.approx(1 / 43, abs=4 * (1 / 43) / np.sqrt(4000))  # Beta(1, 42): sd about its mean
