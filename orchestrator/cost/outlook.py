"""How much time a study that runs still takes: what was expected, corrected by what its stages have taken so far."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from adloc.cost.estimate import Estimate
    from adloc.planning.stages import Stage


class Outlook:
    """Expected seconds that are left: counted down while stages run, and corrected when one is done.

    It never counts down by more than is expected of what is under way: what is late keeps it standing, so that it does
    not grow once that is done.
    """

    def __init__(self, estimate: Estimate, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing done.

        Args:
            estimate: of what is to be done.
            clock: seconds that only grow.
        """
        self.estimate = estimate
        self._clock = clock
        self._left_of = dict(estimate.by_stage)
        self._open = defaultdict(float, {line.kind: line.seconds or 0.0 for line in estimate.lines})
        self._phases = {line.kind for line in estimate.phases}
        self._planned: dict[str, float] = defaultdict(float)
        self._taken: dict[str, float] = defaultdict(float)
        self._under: dict[str, Callable[[], float]] = {}  # seconds left of what is under way, by stage or phase
        self._told = self._falls = 0.0
        self._told_at = 0.0
        self._tell()

    @property
    def left_s(self) -> float:
        """Seconds that are left, by what is known now."""
        return max(0.0, self._told - min(self._falls, self._clock() - self._told_at))

    def stage_started(self, stage: Stage) -> None:
        """A stage is under way, or was sent out to be."""
        n_tasks, key = self.estimate.hardware.n_tasks, stage.key
        self._under[key] = lambda: self._left_of.get(key, 0.0) * self._pace(stage.kind) / n_tasks
        self._tell()

    def phase_started(self, phase: str, share: float) -> None:
        """The driver turns to so much of a phase."""
        seconds = min(share * self._planned_of(phase), self._open[phase])
        self._under[phase] = lambda: seconds * self._pace(phase)
        self._tell()

    def stage_progress(self, stage: Stage, share: float) -> None:
        """So much of a stage is done."""
        expected = self.estimate.by_stage.get(stage.key, 0.0)
        left = min(self._left_of.get(stage.key, 0.0), expected * (1.0 - share))
        self._open[stage.kind] -= self._left_of.get(stage.key, 0.0) - left
        self._left_of[stage.key] = left
        self._tell()

    def stage_done(self, stage: Stage, seconds: float) -> None:
        """A stage was computed in so many seconds."""
        self._under.pop(stage.key, None)
        self._open[stage.kind] -= self._left_of.pop(stage.key, 0.0)
        self._take(stage.kind, self.estimate.by_stage.get(stage.key, 0.0), seconds)

    def phase_done(self, phase: str, share: float, seconds: float) -> None:
        """So much of a phase of the driver was done in so many seconds."""
        self._under.pop(phase, None)
        expected = share * self._planned_of(phase)
        self._open[phase] -= min(expected, self._open[phase])
        self._take(phase, expected, seconds)

    def _take(self, kind: str, planned: float, seconds: float) -> None:
        if planned:
            self._planned[kind] += planned
            self._taken[kind] += seconds
        self._tell()

    def _tell(self) -> None:
        """Add up what is left of every kind, at its pace, and of what is under way, which is how far it may fall.

        What the driver does tells nothing of them: its start is as long as a disk is cold.
        """
        by_kind = {kind: max(0.0, left) * self._pace(kind) for kind, left in self._open.items()}
        driver = sum(seconds for kind, seconds in by_kind.items() if kind in self._phases)
        stages = sum(by_kind.values()) - driver
        self._told, self._told_at = stages / self.estimate.hardware.n_tasks + driver, self._clock()
        self._falls = sum(left() for left in self._under.values())

    def _planned_of(self, phase: str) -> float:
        """Seconds that were expected of a phase."""
        return next((line.seconds or 0.0 for line in self.estimate.phases if line.kind == phase), 0.0)

    def _pace(self, kind: str) -> float:
        """How many times as long as expected a kind takes, by its own so far, else by that of all stages."""
        if planned := self._planned.get(kind, 0.0):
            return self._taken[kind] / planned
        done = [each for each in self._planned if each not in self._phases]
        planned, taken = (sum(each[kind] for kind in done) for each in (self._planned, self._taken))
        return taken / planned if planned else 1.0
