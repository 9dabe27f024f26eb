"""The watch over what is scored: each image's score and statistics against the model's normal reference images.

The watch itself and what it promises are in `adloc.drift`. Here it hears of images as they are scored, says what it
finds, and keeps its state beside the rows, so that a watched folder is watched on after a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adloc.datasets.json_text import parse_json
from adloc.drift.advice import ENOUGH_IMAGES, Advice, Known, Verdict, advise
from adloc.drift.monitor import Monitor, Reference
from adloc.errors import Complaint, UserError
from adloc.record.files import read_checked, write_checked
from adloc.thresholds import just_above_rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from adloc.drift.monitor import State
    from adloc.model.folder import Model
    from adloc.predict.pipeline import Predicted

SCORE = "score"
FEW_NORMALS = 24  # below, a change at the first image is found late or never (the benchmark `drift.py`)
_VERDICTS: dict[Verdict, str] = {
    "fine": "THE MODEL STILL SERVES",
    "recalibrate": "RECALIBRATE IT",
    "refit": "REFIT IT",
}
_EVERY = 500  # images, at most, after which the state is kept again: the whole history is written
_SOONEST = 16  # and after so many and an eighth of those kept before


@dataclass(frozen=True, slots=True)
class Level:
    """How the watch is set.

    Attributes:
        alpha: the largest probability that an unchanged stream ever raises an alarm.
        prevalence: the largest share of defective images that is no change.
    """

    alpha: float = 0.01
    prevalence: float = 0.01


class Monitoring:
    """Hears of every image that is scored; see `adloc.predict.boundary.Listener`."""

    def __init__(
        self,
        model: Model,
        statistics: Sequence[str],
        threshold: float | None,
        level: Level,
        say: Callable[[str], None],
        state_path: Path | None = None,
    ) -> None:
        """Begin a watch, or go on with the one whose state is kept.

        Args:
            model: whose normal reference images the stream is compared with.
            statistics: names of what is measured of each image beside its score; empty for the score alone.
            threshold: in use; None where there is none.
            level: how it is set.
            say: tells people, a line at a time.
            state_path: where the state is kept; None to keep none.

        Raises:
            UserError: the model has no normal images to compare with, or the state is damaged.
        """
        self._say, self._path = say, state_path
        self._names = (SCORE, *statistics)
        normal = ~model.reference.labels
        values = model.reference.scores[normal].astype(np.float64)[:, None]
        if statistics:
            values = np.concatenate([values, model.reference.statistics[normal]], axis=1)
        self._known = _known(model, threshold)
        self._monitor = Monitor(Reference(self._names, values), alpha=level.alpha, prevalence=level.prevalence)
        self._scores: list[float] = []
        self._due, self._n_kept = False, 0
        if state_path is not None and state_path.exists():
            self._go_on(state_path)
        if len(values) < FEW_NORMALS:
            say(
                f"monitor: only {len(values)} normal reference images: a change that is there from the start may never "
                f"be found; `adloc model calibrate` with {FEW_NORMALS} or more brings others"
            )

    @property
    def state(self) -> State:
        """What is known after the last image."""
        return self._monitor.state

    @property
    def advice(self) -> Advice:
        """What to do, by the images since the change."""
        alarm = self.state.alarm
        recent = [] if alarm is None else self._scores[alarm.since - 1 :]
        return advise(alarm, np.array(recent, np.float64), self._known)

    def add(self, batch: Sequence[Predicted]) -> None:
        """Some more images, in their order; broken ones are left out.

        What is kept before is of images whose rows are written: a killed watch never counts one twice.
        """
        if self._due:
            self._keep()
        self.observe(
            (each.score, *(() if len(self._names) == 1 or each.statistics is None else each.statistics.tolist()))
            for each in batch
            if each.score is not None
        )

    def observe(self, rows: Iterable[Sequence[float]]) -> None:
        """Some more images' values, each its score and statistics."""
        for values in rows:
            before = self.state.alarm
            state = self._monitor.observe(values)
            self._scores.append(float(values[0]))
            alarm = state.alarm
            if alarm is not None and (before is None or len(self._scores) - alarm.since + 1 == ENOUGH_IMAGES):
                self._tell()
            newly = alarm is not None and before is None
            self._due |= newly or state.n_seen - self._n_kept >= min(_EVERY, _SOONEST + self._n_kept // 8)

    def finish(self) -> None:
        """Nothing is left to do: a watch ends by `end`, also where it was interrupted."""

    def end(self) -> None:
        """Say how it stands, and keep the state."""
        self._keep()
        state = self.state
        if state.alarm is None:
            needed = -np.log10(self._monitor.alpha)
            self._say(
                f"monitor: fine after {state.n_seen} images, no change found (evidence 10^{state.evidence:.1f} of the "
                f"10^{needed:.1f} that an alarm takes)"
            )
        else:
            self._tell()

    def _tell(self) -> None:
        advice = self.advice
        found = f"monitor: {_VERDICTS[advice.verdict]} (a change, after {self.state.n_seen} images)"
        for line in (found, *(f"  {reason}" for reason in advice.reasons)):
            self._say(line)

    def _keep(self) -> None:
        self._due, self._n_kept = False, self.state.n_seen
        if self._path is None:
            return
        try:
            write_checked(self._path, {"scores": self._scores, "monitor": self._monitor.to_json()})
        except OSError as error:
            rule = "what the monitor has seen is kept beside the rows"
            found, remedy = f"{self._path}: {error.strerror}", "name another place by --output"
            raise UserError(Complaint(found, rule, remedy)) from None

    def _go_on(self, path: Path) -> None:
        """Take up a kept state.

        Raises:
            UserError: it is damaged, or of a watch with another reference or level.
        """
        try:
            kept: dict[str, Any] = parse_json(read_checked(path))
            monitor = Monitor.from_json(kept["monitor"])
            scores = [float(score) for score in kept["scores"]]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            rule = "it holds what the monitor has seen of earlier images"
            remedy = "move it away, and the monitor begins anew"
            raise UserError(Complaint(f"{path}: {type(error).__name__}: {error}", rule, remedy)) from None
        if not monitor.watches_as(self._monitor) or len(scores) != monitor.state.n_seen:
            rule = "a watch goes on with the same reference images, --alpha and --prevalence"
            remedy = "move the file away, and the monitor begins anew"
            raise UserError(Complaint(f"{path} is of another watch", rule, remedy))
        self._monitor, self._scores, self._n_kept = monitor, scores, len(scores)
        self._say(f"monitor: going on after {monitor.state.n_seen} images")


def state_path(output: Path) -> Path:
    """Where the state is kept beside a file of rows."""
    return output.with_name(f"{output.name}.monitor.json")


def _known(model: Model, threshold: float | None) -> Known:
    judged = model.reference
    if not judged.normal.size:
        raise UserError(
            Complaint(
                f"{model.path}: the model has no normal reference images",
                "what arrives is compared with normal images that the model was not fitted on",
                "calibrate it on some: adloc model calibrate MODEL NORMAL_IMAGES",
            )
        )
    limit = just_above_rank(judged.normal, 0) if threshold is None else threshold
    # Calibrated since on other images, nobody knows how defects score beside them.
    known = judged.labels if not model.spec.threshold.set_on else np.zeros_like(judged.labels)
    anomalous = judged.scores[known].astype(np.float64)
    return Known(judged.normal.astype(np.float64), anomalous, limit, model.spec.regimes or None)
