"""The watch over a stream: values of each image in, and an alarm when they are no longer like those of the reference.

A few seconds for 10,000 images; the state is plain JSON, from which a stopped watch goes on to the same bits.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adloc.drift.martingale import Martingales
from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pydantic import JsonValue

    from adloc.drift.bets import Direction

SLACK = 0.1  # the part of alpha that is spent on how many defects may have come already
LEAST_IMAGES = 2  # of a reference; with few, only large changes can be told from the reference's own spread
LARGEST_PREVALENCE = 0.2  # beyond, nothing is left of the evidence of any bet


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the stream is compared with: normal images that were neither fitted on nor chosen by their values.

    Attributes:
        names: of the S statistics: "score", "brightness".
        values: float64 (n0, S), finite.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Look at the values.

        Raises:
            UserError: fewer than 2 images, or a value that is not finite.
            ValueError: names and values do not fit together.
        """
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names) or not self.names:  # noqa: PLR2004
            raise ValueError(f"{len(self.names)} names and values of shape {self.values.shape}")
        if len(self.values) < LEAST_IMAGES:
            raise UserError(
                Complaint(
                    f"the reference of the drift watch has {len(self.values)} normal images",
                    f"it must have at least {LEAST_IMAGES}; 50 or more tell a change of two standard deviations",
                    "calibrate the model on more normal images",
                )
            )
        _refuse_infinite(self.names, self.values, "the reference of the drift watch")


@dataclass(frozen=True, slots=True)
class Alarm:
    """What was found.

    Attributes:
        image: at which the evidence sufficed, counted from 1.
        statistic: that gave it.
        direction: in which its values went: "up", "down", or "wider" (further apart).
        since: the image at which the change most likely began, as the richest line of bets says.
    """

    image: int
    statistic: str
    direction: Direction
    since: int


@dataclass(frozen=True, slots=True)
class State:
    """What is known after an image.

    Attributes:
        n_seen: images so far.
        evidence: log10 of the evidence of the statistic with the most, divided by what looking at S of them costs; an
            alarm is raised where it reaches -log10(alpha).
        alarm: None while all is well; the first one stays until `Monitor.reset`.
    """

    n_seen: int
    evidence: float
    alarm: Alarm | None


class Monitor:
    """Raises an alarm when the stream has changed; falsely with probability alpha at most, however long it runs.

    The level alpha is split evenly between the statistics. `adloc.drift.martingale` says when exactly the promise
    holds and what breaks it.
    """

    def __init__(self, reference: Reference, *, alpha: float = 0.01, prevalence: float = 0.01, seed: int = 0) -> None:
        """Begin a watch.

        Args:
            reference: what the stream is compared with.
            alpha: the largest probability that an unchanged stream ever raises an alarm.
            prevalence: the largest share of defective images that is no change.
            seed: of the random ranks among equal values, and within a rank.

        Raises:
            UserError: alpha or prevalence is out of range.
        """
        if not 0 < alpha < 1:
            raise _out_of_range("alpha", alpha, "above 0 and below 1: the probability of a false alarm")
        if not 0 <= prevalence <= LARGEST_PREVALENCE:
            raise _out_of_range(
                "prevalence", prevalence, f"from 0 to {LARGEST_PREVALENCE}: the largest share of defective images"
            )
        self._reference, self._alpha, self._prevalence, self._seed = reference, alpha, prevalence, seed
        slack = SLACK if prevalence else 0.0
        self._log_cost = math.log(len(reference.names)) - math.log1p(-slack)
        self.reset()

    def reset(self) -> None:
        """Begin anew with the same reference: the stream so far and its alarm are forgotten."""
        self._martingales = Martingales(
            self._reference.values, prevalence=self._prevalence, slack=SLACK * self._alpha, seed=self._seed
        )
        self.state = State(0, -self._log_cost / math.log(10), None)

    def observe(self, values: Sequence[float] | NDArray[np.float64]) -> State:
        """Take the next image's values, (S,) in the order of the reference's names; also kept as `self.state`.

        Raises:
            UserError: a value is not finite; the watch is as it was.
            ValueError: there are not S values.
        """
        row = np.asarray(values, np.float64)
        if row.shape != (len(self._reference.names),):
            raise ValueError(f"values of shape {row.shape} for {len(self._reference.names)} statistics")
        _refuse_infinite(self._reference.names, row[None], f"image {self.state.n_seen + 1} of the stream")
        evidence = self._martingales.observe(row) - self._log_cost
        most, alarm = int(evidence.argmax()), self.state.alarm
        if alarm is None and evidence[most] >= -math.log(self._alpha):
            suspect = self._martingales.suspect(most)
            name = self._reference.names[most]
            alarm = Alarm(self._martingales.n_seen, name, suspect.direction, suspect.since)
        self.state = State(self._martingales.n_seen, float(evidence[most]) / math.log(10), alarm)
        return self.state

    @property
    def alpha(self) -> float:
        """The largest probability that an unchanged stream ever raises an alarm."""
        return self._alpha

    def watches_as(self, other: Monitor) -> bool:
        """Whether both compare with the same reference at the same level, so that one can take the other's place."""
        mine, theirs = self._reference, other._reference
        same_level = (self._alpha, self._prevalence, self._seed) == (other._alpha, other._prevalence, other._seed)
        return same_level and mine.names == theirs.names and np.array_equal(mine.values, theirs.values)

    def to_json(self) -> dict[str, JsonValue]:
        """The whole watch as plain JSON."""
        return {
            "names": list(self._reference.names),
            "reference": self._reference.values.tolist(),
            "alpha": self._alpha,
            "prevalence": self._prevalence,
            "seed": self._seed,
            "evidence": self.state.evidence,
            "alarm": asdict(self.state.alarm) if self.state.alarm else None,
            "martingales": self._martingales.state(),
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Monitor:
        """The watch that `to_json` wrote, as if it had never stopped."""
        reference = Reference(tuple(written["names"]), np.array(written["reference"], np.float64))
        monitor = cls(reference, alpha=written["alpha"], prevalence=written["prevalence"], seed=written["seed"])
        monitor._martingales.restore(written["martingales"])
        alarm = Alarm(**written["alarm"]) if written["alarm"] else None
        monitor.state = State(monitor._martingales.n_seen, written["evidence"], alarm)
        return monitor


def _refuse_infinite(names: Sequence[str], values: NDArray[np.float64], where: str) -> None:
    """Raise a UserError for the first value (n, S) that is not finite."""
    for s, name in enumerate(names):
        if not np.isfinite(values[:, s]).all():
            raise UserError(
                Complaint(
                    f"{where}: {name} is {values[:, s][~np.isfinite(values[:, s])][0]}",
                    "it must be a finite number",
                    "leave out the images that could not be scored",
                )
            )


def _out_of_range(name: str, value: float, rule: str) -> UserError:
    """What is wrong with a setting."""
    return UserError(Complaint(f"{name} of the drift watch is {value}", f"it must be {rule}", "use 0.01"))
