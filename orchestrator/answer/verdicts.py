"""What to do with each method: use it, recalibrate it, refit it, or leave it. Decided on validation images alone.

A state is a model with a threshold on images of a domain: clean; shifted as it is; shifted with a new threshold;
shifted and fitted again. The regimes' validation parts say how many errors each state avoids; the test part says,
afterwards, what was to be expected. For the state "as it is" the clean threshold is put to the scores that the
clean model gives shifted validation images, which `threshold_only` has recorded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from adloc.metrics.classification import confusion
from adloc.study_file.regimes import SHIFT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.finding import Finding, Images, Setting
    from adloc.answer.material import Material

Action = Literal["use it", "recalibrate it", "refit it", "do not use it", "not judged"]
StateName = Literal["clean", "as it is", "recalibrated", "refitted"]

USABLE = 0.5  # of 1 - false alarms - misses: below it, more than half of what a perfect detector avoids is left
WORTH = 0.05  # a recalibration, and then a refit, must avoid this much more than what is less work
ACTIONS: dict[StateName, Action] = {"as it is": "use it", "recalibrated": "recalibrate it", "refitted": "refit it"}
REGIME_OF: dict[StateName, str] = {
    "clean": "clean",
    "as it is": "no_adaptation",
    "recalibrated": "threshold_only",
    "refitted": "full_adaptation",
}


@dataclass(frozen=True, slots=True)
class State:
    """A method's setting in one of the four states.

    Attributes:
        name: of the state.
        regime: whose runs show it on the test part.
        avoided: 1 - false-alarm rate - miss rate (Youden's J) on validation images, a mean over categories and
            repeats; nan where they lack a class.
        thresholds: by category, of the first repeat.
    """

    name: StateName
    regime: str
    avoided: float
    thresholds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a setting.

    Attributes:
        setting: chosen on the validation part.
        clean: on images like those that it was fitted on: "use it", "do not use it" or "not judged".
        shifted: when light, pose or sensor change, or on images of the domain; None in a study without shift.
        states: those that the study has runs of.
        domain: what the shifted states are of: "shift" when simulated, else a target of the study.
        elsewhere: verdicts in the study's other domains.
    """

    setting: Setting
    clean: Action
    shifted: Action | None
    states: tuple[State, ...]
    domain: str = SHIFT
    elsewhere: tuple[Verdict, ...] = ()

    def state(self, name: StateName) -> State | None:
        """The state of that name, if the study has it."""
        return next((state for state in self.states if state.name == name), None)


def judge(material: Material, setting: Setting) -> Verdict:
    """What to do with a setting in every domain, decided on the validation images of its regimes there."""
    here, *others = (_judge(each, setting) for each in material.each_domain())
    return replace(here, elsewhere=tuple(others))


def _judge(material: Material, setting: Setting) -> Verdict:
    states = tuple(s for name in REGIME_OF if (s := _state(material, setting, name)) is not None)
    there = {state.name: state.avoided for state in states}
    clean = there.get("clean", math.nan)
    moved = [(name, there[name]) for name in ACTIONS if name in there]
    return Verdict(setting, _usable(clean), decide(moved) if moved else None, states, material.domain)


def decide(moved: Sequence[tuple[StateName, float]]) -> Action:
    """The least work that avoids as much as any more work does, less `WORTH`.

    Args:
        moved: states in the order of the work that they take, with what each avoids on validation images.

    Example:
        >>> decide([("as it is", 0.1), ("recalibrated", 0.62), ("refitted", 0.65)])
        'recalibrate it'
        >>> decide([("as it is", 0.1), ("recalibrated", 0.62), ("refitted", 0.9)])
        'refit it'
        >>> decide([("as it is", 0.1), ("recalibrated", 0.2)])
        'do not use it'
    """
    if any(math.isnan(avoided) for _, avoided in moved):
        return "not judged"
    best = max(avoided for _, avoided in moved)
    if best < USABLE:
        return "do not use it"
    return next(ACTIONS[name] for name, avoided in moved if avoided >= best - WORTH)


def _usable(avoided: float) -> Action:
    if math.isnan(avoided):
        return "not judged"
    return "use it" if avoided >= USABLE else "do not use it"


def _state(material: Material, setting: Setting, name: StateName) -> State | None:
    regime = REGIME_OF[name]
    rows = material.by_repeat(setting, regime)
    if not rows:
        return None
    avoided = [
        _avoided(material, setting, finding, name, repeat)
        for repeat in range(material.plan.spec.repeats)
        for finding in material.row(setting, regime, repeat).values()
    ]
    known = {c: f.record.threshold for c, f in rows[0].items()}
    thresholds = {c: t for c, t in known.items() if t is not None}
    return State(name, regime, float(np.mean(avoided)), thresholds)


def _avoided(material: Material, setting: Setting, finding: Finding, name: StateName, repeat: int) -> float:
    """Youden's J of one category on the validation images of the state."""
    shown: Finding | None = finding
    if name == "as it is":  # its own validation part is clean
        shown = material.get(setting, "threshold_only", finding.record.category, repeat)
    images: Images | None = shown.images.get("validation") if shown is not None else None
    threshold = finding.record.threshold
    if images is None or threshold is None:
        return math.nan
    outcome = confusion(images.scores, images.labels, threshold)
    return 1 - outcome.false_positive_rate - outcome.false_negative_rate
