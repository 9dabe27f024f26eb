"""The drift watch: what its evidence is, what it promises while nothing changes, and what it finds."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import binom

from adloc.drift.bets import BETS, SHARED, are_hits
from adloc.drift.martingale import Martingales, largest_count
from adloc.drift.monitor import Monitor, Reference
from adloc.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def martingales(reference: NDArray[np.float64], prevalence: float = 0.0, seed: int = 0) -> Martingales:
    return Martingales(reference, prevalence=prevalence, slack=0.001, seed=seed)


def normals(n: int, n_statistics: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, n_statistics))


def watch(n_reference: int = 56, n_statistics: int = 2, **settings: float) -> Monitor:
    names = tuple(f"s{i}" for i in range(n_statistics))
    return Monitor(Reference(names, normals(n_reference, n_statistics, 1)), **settings)


@pytest.mark.parametrize("bet", BETS)
def test_a_bet_is_fair(bet: object) -> None:
    """On uniform p-values a bet multiplies its stake by 1 in expectation, and hits as often as its tail is wide."""
    index = BETS.index(bet)
    uniform = (np.arange(10_000) + 0.5) / 10_000
    hits = are_hits(uniform)[:, index]
    assert hits.mean() == pytest.approx(BETS[index].width, abs=2e-4)
    assert BETS[index].width * BETS[index].hit + (1 - BETS[index].width) * BETS[index].miss == pytest.approx(1)


def test_a_p_value_is_a_rank() -> None:
    """2.5 among 1, 2, 3 and itself: one value above, so the p-value lies between 1/4 and 2/4."""
    for seed in range(20):
        p_value = martingales(np.array([[3.0], [1.0], [2.0]]), seed=seed)._rank(np.array([2.5]))
        assert 1 / 4 <= p_value[0] <= 2 / 4


def test_ties_are_broken_evenly() -> None:
    """A value that equals all the others has a p-value anywhere between 0 and 1, not always one end."""
    p_values = martingales(np.zeros((9, 4000)))._rank(np.zeros(4000))
    assert np.quantile(p_values, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.03)


def test_earlier_images_of_the_stream_join_the_history() -> None:
    """The 5th of five ever larger values is the largest of 3 + 5: its p-value is at most 1/8."""
    watched = martingales(np.array([[0.0], [1.0], [2.0]]))
    p_values = [float(watched._rank(np.array([value]))[0]) for value in (10.0, 11.0, 12.0, 13.0, 14.0)]
    assert all(p <= 1 / (3 + t) for t, p in enumerate(p_values, start=1))


@pytest.mark.parametrize("n_reference", [2, 20])
def test_evidence_has_expectation_one_while_nothing_changes(n_reference: int) -> None:
    """A fair game: the mean of the evidence over many streams is 1, however small the reference.

    Two images only: after more, the mean hangs on winnings that hardly any stream has.
    """
    watched, n_streams = martingales(normals(n_reference, 20_000, 3)), 20_000
    for values in normals(2, n_streams, 4):
        evidence = np.exp(watched.observe(values))
        assert abs(evidence.mean() - 1) < 4 * evidence.std() / math.sqrt(n_streams)


@pytest.mark.parametrize("side", [1, -1])
def test_far_defects_at_their_prevalence_give_no_evidence(side: int) -> None:
    """With 5 % of the images far out and as many allowed for, the mean of the evidence stays at most 1."""
    watched, n_streams = martingales(normals(20, 20_000, 3), prevalence=0.05), 20_000
    defective = np.random.default_rng(5).random((2, n_streams)) < 0.05
    for values, is_defect in zip(normals(2, n_streams, 4), defective, strict=True):
        evidence = np.exp(watched.observe(np.where(is_defect, side * (50 + values), values)))
        assert evidence.mean() < 1 + 4 * evidence.std() / math.sqrt(n_streams)


def test_evidence_is_the_sum_over_all_starts() -> None:
    """The recursion gives what bets started at every image and followed one by one add up to."""
    watched = martingales(normals(10, 1, 1), seed=2)
    twin = martingales(normals(10, 1, 1), seed=2)
    lines: list[NDArray[np.float64]] = []  # by start, the wealth of (direction, step)
    kept = [1 / math.log2(t + 2) for t in range(40)]
    for t, values in enumerate(normals(30, 1, 6) + 0.7, start=1):
        twin.n_seen = t
        hits = are_hits(twin._rank(values))[0]
        factors = np.array([b.hit if h else b.miss for b, h in zip(BETS, hits, strict=True)]).reshape(3, -1)
        lines = [(1 - SHARED) * w + SHARED * w.mean(axis=1, keepdims=True) for w in lines]
        lines = [w * factors for w in [*lines, np.full(factors.shape, kept[t - 1] - kept[t])]]
        expected = sum(float(w.mean()) for w in lines) + kept[t]
        assert math.exp(watched.observe(values)[0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_reference", [12, 56])
@pytest.mark.parametrize("prevalence", [0.0, 0.01])
def test_false_alarms_keep_their_promise(n_reference: int, prevalence: float) -> None:
    """Of 200 unchanged streams of 500 images no more than promised ever reach 1 / a (with three standard errors)."""
    n_streams, rng = 200, np.random.default_rng(8)
    watched = martingales(rng.normal(size=(n_reference, n_streams)), prevalence=prevalence)
    largest = np.zeros(n_streams)
    for _ in range(500):
        values = rng.normal(size=n_streams)
        values[rng.random(n_streams) < prevalence] += 30
        largest = np.maximum(largest, watched.observe(values))
    for level in (0.5, 0.2, 0.05):
        share = (largest >= -math.log(level)).mean()
        assert share <= level + 3 * math.sqrt(level * (1 - level) / n_streams)


@pytest.mark.parametrize("prevalence", [0.01, 0.1])
def test_the_bound_on_defects_so_far_holds(prevalence: float) -> None:
    """At each n the binomial exceeds the bound with less than the slack; with no image there is no defect."""
    assert largest_count(0, prevalence, 0.001) == 0
    for n in (1, 10, 100, 1000, 10_000):
        bound = largest_count(n, prevalence, 0.001)
        assert binom.sf(bound, n, prevalence) < 0.001
        assert bound < n * prevalence + 12 + 6 * math.sqrt(n * prevalence)  # and is of use


@pytest.mark.parametrize(("shift", "direction"), [(4.0, "up"), (-4.0, "down")])
def test_a_jump_is_found_with_its_time_and_direction(shift: float, direction: str) -> None:
    """Images that leave the range of 56 normal ones after 100 of them are found within ten images."""
    monitor, rng = watch(n_statistics=3), np.random.default_rng(9)
    for image in range(1, 111):
        values = rng.normal(size=3)
        values[1] += shift if image > 100 else 0
        alarm = monitor.observe(values).alarm
        assert alarm is None or image > 100
    assert alarm is not None
    assert (alarm.statistic, alarm.direction) == ("s1", direction)
    assert abs(alarm.since - 101) <= 2


def test_a_wider_spread_is_found() -> None:
    """Values on both sides of the normal ones are a change, though their mean is the same."""
    monitor = watch(n_statistics=1)
    for image in range(60):
        alarm = monitor.observe([9.0 * (-1) ** image]).alarm
    assert alarm is not None
    assert alarm.direction == "wider"


def test_one_defect_raises_no_alarm() -> None:
    """However far out: an image is bounded evidence."""
    assert watch(n_statistics=1).observe([1e9]).alarm is None


def test_an_alarm_stays_until_reset() -> None:
    """The first alarm is kept whatever comes; a reset watch is a fresh one, to the bit."""
    monitor = watch(n_statistics=1)
    alarms = [monitor.observe([9.0 + i]).alarm for i in range(20)]
    first = next(a for a in alarms if a)
    assert [a for a in alarms[first.image - 1 :] if a != first] == []
    monitor.reset()
    assert monitor.state.alarm is None
    assert monitor.observe([0.3]) == watch(n_statistics=1).observe([0.3])


def test_an_alarm_is_evidence_of_one_over_alpha() -> None:
    """The evidence shown and the alarm never disagree."""
    monitor = watch(n_statistics=4, alpha=0.02)
    for values in normals(60, 4, 10) + 1.5:
        state = monitor.observe(values)
        assert (state.alarm is not None) >= (state.evidence >= -math.log10(0.02))
        assert state.alarm is None or state.alarm.image < state.n_seen or state.evidence >= -math.log10(0.02)


def test_a_stopped_watch_goes_on_to_the_same_bits() -> None:
    """Through JSON text and back, before the first image, in the middle and after the alarm."""
    stream = np.round(normals(60, 2, 11), 1)  # rounded: ties
    stream[20:] += 3
    whole, stopped = watch(), watch()
    for values in stream:
        stopped = Monitor.from_json(json.loads(json.dumps(stopped.to_json(), allow_nan=False)))
        assert stopped.observe(values) == whole.observe(values)
    assert whole.state.alarm is not None
    assert json.dumps(stopped.to_json()) == json.dumps(whole.to_json())


def test_the_seed_decides_ties_alone() -> None:
    """Two seeds differ on a stream, the same seed does not."""
    runs = [[watch(seed=seed).observe(v).evidence for v in normals(5, 2, 12)] for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_refused_and_forgotten(value: float) -> None:
    """The message names image and statistic, and the watch is as it was."""
    monitor = watch()
    with pytest.raises(UserError, match="image 1 of the stream: s1 is"):
        monitor.observe([0.0, value])
    assert monitor.observe([0.1, 0.2]) == watch().observe([0.1, 0.2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"alpha": 0.0}, "alpha"), ({"alpha": 1.0}, "alpha"), ({"prevalence": -0.1}, "prevalence"),
     ({"prevalence": 0.5}, "prevalence"), ({"alpha": math.nan}, "alpha")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    """Before any image."""
    with pytest.raises(UserError, match=message):
        watch(**settings)


def test_a_reference_of_one_image_is_refused() -> None:
    """There is no spread in it."""
    with pytest.raises(UserError, match="has 1 normal images"):
        Reference(("score",), np.zeros((1, 1)))


def test_names_and_values_must_fit() -> None:
    """A bug in the caller, not a user's mistake."""
    with pytest.raises(ValueError, match="2 names"):
        Reference(("score", "brightness"), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="shape"):
        watch().observe([1.0])


def test_the_watch_needs_no_torch() -> None:
    """It is imported in a blink, by whoever reads scores from a file."""
    code = "import sys, adloc.drift.monitor, adloc.drift.statistics; assert not {'torch', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
