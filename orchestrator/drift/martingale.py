"""Evidence against exchangeability, image by image: one test supermartingale for each of S statistics.

The smoothed conformal p-value of image t is its rank among the n0 reference images and all images of the stream up to
t, ties broken at random. While reference and stream are exchangeable, the p-values of one statistic are independent
and uniform on [0, 1], whatever the distribution (Vovk, Nouretdinov and Gammerman, "Testing exchangeability on-line",
ICML 2003; Vovk et al., "Retrain or not retrain: conformal test martingales for change-point detection", COPA 2021).
A reference that stayed fixed would not do: the error of its n0 images alone would pass for a change in the end.

Each bet of `bets.py` is started at every image k with a share w_k of the initial wealth of 1, so that a change at any
time meets a bet that has not lost before it. w_k = 1 / log2(k + 1) - 1 / log2(k + 2): what is kept for later starts
falls as slowly as 1 / log2(k). A sum over all starts costs as much as one. Before each image a share of each bet's
wealth goes to the bets of its direction alike, which follows the best of them as it changes (Herbster and Warmuth,
"Tracking the best expert", 1998): the images after a change join the history, so that the next ones stand out less.

**Defects.** A share of at most `prevalence` of the images may be anything. An image that is replaced with probability
at most pi multiplies a bet with maximum M by at most (1 - pi) d + pi M in expectation, and every bet is divided by
that (as for Huber-robust supermartingales: Wang and Ramdas, AISTATS 2023; Saha and Ramdas, arXiv 2408.14015). There
d = 1 / (1 - c / (n0 + t)) bounds the density of a normal image's p-value when c of the images before it, which are in
its history now, were replaced; c is bounded for all times at once, with probability 1 - `slack`, by Ville's
inequality for the binomial.

**Guarantee**: for each statistic, P(its evidence ever reaches 1 / a) <= a, plus `slack` once for all of them, when the
reference and the normal images are exchangeable and each image is, independently of all else, replaced with
probability at most `prevalence` by one that lies outside the range of the normal images in that statistic (far
defects), or when prevalence is 0 and none is. Evidence of several statistics must not be averaged and then watched:
each is a supermartingale in the history of its own p-values only (Choe and Ramdas, "Combining evidence across
filtrations", arXiv 2402.09698); split the level between them.

**What breaks it**: more defects than `prevalence`; images that depend on their neighbours in time (the same part
twice, a lamp that warms up: that is drift, and said so); replaced images *between* the normal ones, chosen by who
knows them. **What it cannot see**: a change that leaves the ranks alone, and one so slow or so small that its images
are part of the history before the evidence suffices: n0 images bound what can be known of a change at image 1.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adloc.drift.bets import BETS, DIRECTIONS, SHARED, are_hits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import JsonValue

    from adloc.drift.bets import Direction

_TILTS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the bound on how many defects came so far; each gets its part of the slack
_NOTHING = -1e300  # the logarithm of no wealth at all; finite, so that a state is plain JSON
_SHAPE = (len(DIRECTIONS), len(BETS) // len(DIRECTIONS))
_HIT = np.array([bet.hit for bet in BETS])
_MISS = np.array([bet.miss for bet in BETS])


@dataclass(frozen=True, slots=True)
class Suspect:
    """The line of bets that holds the most wealth.

    Attributes:
        direction: in which the values have gone.
        since: the image, counted from 1, at which it was started.
    """

    direction: Direction
    since: int


class Martingales:
    """The evidence of S statistics; see the module for what is guaranteed.

    An image costs S insertions into sorted lists, which keep all values seen, and arithmetic that does not grow.

    Attributes:
        n_seen: images of the stream so far.
    """

    def __init__(self, reference: NDArray[np.float64], *, prevalence: float, slack: float, seed: int) -> None:
        """Begin with the reference's values (n0, S) as history.

        Args:
            reference: finite.
            prevalence: the largest share of replaced images, at least 0 and below 1.
            slack: probability with which the bound on absorbed defects may fail; read when prevalence is above 0.
            seed: of the random ranks among ties, and within a rank.
        """
        self.n_seen = 0
        self._n_reference, n_statistics = reference.shape
        self._prevalence, self._slack, self._seed = prevalence, slack, seed
        self._histories: list[list[float]] = [sorted(column) for column in reference.T.tolist()]
        # S x directions x steps; of all lines started so far, of the richest of them, and when that was started.
        self._log_wealth = np.full((n_statistics, *_SHAPE), _NOTHING)
        self._log_largest = np.full((n_statistics, *_SHAPE), _NOTHING)
        self._since = np.zeros((n_statistics, *_SHAPE), np.int64)

    def observe(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the next image's values (S,), finite, and give the natural logarithm of the evidence so far, (S,)."""
        self.n_seen += 1
        time = self.n_seen
        hits = are_hits(self._rank(values))
        gains = (np.log(np.where(hits, _HIT, _MISS)) - self._log_divisors(time)).reshape(self._log_wealth.shape)
        log_start = math.log(_kept(time - 1) - _kept(time))
        self._follow_the_richest(log_start)
        self._log_largest += gains
        spread = np.logaddexp.reduce(self._log_wealth, axis=2, keepdims=True) + math.log(SHARED / _SHAPE[1])
        shared = np.logaddexp(self._log_wealth + math.log1p(-SHARED), spread)
        self._log_wealth = np.logaddexp(shared, log_start) + gains
        started = np.logaddexp.reduce(self._log_wealth, axis=(1, 2)) - math.log(len(BETS))
        return np.asarray(np.logaddexp(started, math.log(_kept(time))))

    def suspect(self, statistic: int) -> Suspect:
        """What the evidence of a statistic is mostly made of; after the first image."""
        largest = self._log_largest[statistic]
        direction, step = np.unravel_index(largest.argmax(), largest.shape)
        return Suspect(DIRECTIONS[direction], int(self._since[statistic, direction, step]))

    def state(self) -> dict[str, JsonValue]:
        """All that `restore` needs, as plain JSON; floats keep their bits."""
        return {
            "n_seen": self.n_seen,
            "histories": [list(history) for history in self._histories],
            "log_wealth": [*self._log_wealth.ravel().tolist()],
            "log_largest": [*self._log_largest.ravel().tolist()],
            "since": [*self._since.ravel().tolist()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, of martingales that were made with the same arguments."""
        self.n_seen = int(state["n_seen"])
        self._histories = [[float(value) for value in history] for history in state["histories"]]
        shape = self._since.shape
        self._log_wealth = np.array(state["log_wealth"], np.float64).reshape(shape)
        self._log_largest = np.array(state["log_largest"], np.float64).reshape(shape)
        self._since = np.array(state["since"], np.int64).reshape(shape)

    def _rank(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The smoothed p-values (S,); the values join the histories.

        The random numbers come from (seed, number of the image) alone, so nothing of a generator need be kept.
        """
        chance = np.random.default_rng((self._seed, self.n_seen)).random(len(values))
        p_values = np.empty(len(values))
        for s, (history, value) in enumerate(zip(self._histories, values.tolist(), strict=True)):
            n_above = len(history) - bisect_right(history, value)
            n_equal = len(history) - n_above - bisect_left(history, value)
            p_values[s] = (n_above + chance[s] * (n_equal + 1)) / (len(history) + 1)
            insort(history, value)
        return p_values

    def _follow_the_richest(self, log_start: float) -> None:
        """Who is the richest line of each bet before an image: the bet's own, one that changed to it, or a new one."""
        stay = self._log_largest + math.log1p(-SHARED * (1 - 1 / _SHAPE[1]))
        best = self._log_largest.argmax(axis=2, keepdims=True)
        change = np.take_along_axis(self._log_largest, best, axis=2) + math.log(SHARED / _SHAPE[1])
        since = np.where(change > stay, np.take_along_axis(self._since, best, axis=2), self._since)
        largest = np.maximum(stay, change)
        self._since = np.where(log_start > largest, self.n_seen, since)
        self._log_largest = np.maximum(largest, log_start)

    def _log_divisors(self, time: int) -> NDArray[np.float64]:
        """Logarithm of what each bet is divided by at image `time`, (J,)."""
        absorbed = largest_count(time - 1, self._prevalence, self._slack) if self._prevalence else 0
        density = 1 / (1 - absorbed / (self._n_reference + time))
        largest = np.maximum(_HIT, density)
        return np.asarray(np.log((1 - self._prevalence) * density + self._prevalence * largest))


def largest_count(n_images: int, prevalence: float, slack: float) -> int:
    """A bound on the number of replaced images among the first n, valid for all n at once with probability 1 - slack.

    For each tilt, exp(tilt * count - n * log(1 - prevalence + prevalence * exp(tilt))) is a non-negative
    supermartingale in n, which ever reaches L / slack with probability slack / L at most (Ville 1939), L tilts.
    """
    level = math.log(len(_TILTS) / slack)
    bounds = ((level + n_images * math.log1p(prevalence * math.expm1(tilt))) / tilt for tilt in _TILTS)
    return min(n_images, math.floor(min(bounds)))


def _kept(n_started: int) -> float:
    """The share of the wealth that is kept for starts after image n."""
    return 1 / math.log2(n_started + 2)
