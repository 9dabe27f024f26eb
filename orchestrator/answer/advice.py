"""Which setting to use, at which threshold, and what to do when images change: the one line that people act on.

Made of the verdicts, so that validation images alone decide it; test images and the promise of the threshold tell
what to expect of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.claim import Claim
from adloc.answer.verdict_words import error_words, find_guarantee, threshold_words, where_words
from adloc.answer.verdicts import ACTIONS, USABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.answer.verdicts import Action, State, Verdict

DOING: dict[Action, str] = {
    "use it": "use {} as it is",
    "recalibrate it": "recalibrate {} (a new threshold from images after the change)",
    "refit it": "refit {} (a new model and threshold from images after the change)",
}


@dataclass(frozen=True, slots=True)
class Moved:
    """What to do where images are not as they were.

    Attributes:
        domain: "shift" when simulated, else a target of the study.
        setting: that serves there: the advised one if it does, else the best validated of those that do; None
            where none does.
        action: what to do with it; "do not use it" or "not judged" where none serves.
        state: in which it serves there.
    """

    domain: str
    setting: Setting | None
    action: Action
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """What to use.

    Attributes:
        setting: the best validated of those whose threshold serves; None where none does.
        state: in which it serves: clean, or in a study without clean runs what its verdict asks for.
        moved: a domain each that the study shifts to.
    """

    setting: Setting | None
    state: State | None
    moved: tuple[Moved, ...]


def advise(material: Material, verdicts: Sequence[Verdict]) -> Advice:
    """What to use, from the verdicts on the leads: validation images decide it.

    Args:
        material: of the study.
        verdicts: of each lead, the chosen one first.
    """
    states = {v.setting: state for v in verdicts if (state := _serving(v)) is not None}
    setting = material.choose(list(states)) if states else None
    domains = zip(*((v, *v.elsewhere) for v in verdicts), strict=True)
    moved = (_moved(material, there, setting) for there in domains if any(v.shifted for v in there))
    return Advice(setting, states[setting] if setting else None, tuple(moved))


def use_claim(material: Material, verdicts: Sequence[Verdict]) -> Claim | None:
    """The advice in words; None before any setting's runs are complete."""
    if not any(verdict.states for verdict in verdicts):
        return None
    advice = advise(material, verdicts)
    if advice.setting is None or advice.state is None:
        told = [_nothing_serves(material, verdicts)]
    else:
        told = [_use(material, advice.setting, advice.state)]
    if advice.state is None or advice.state.name == "clean":
        told += [_when_moved(material, moved, advice.setting) for moved in advice.moved]
    if not advice.moved:
        told.append("What a change of light, pose or sensor does was not tested.")
    n_done, n_all = len(material.findings) + len(material.conditioned), len(material.plan.runs)
    if n_done < n_all:
        told.append(f"Provisional: {n_done} of {n_all} runs are done.")
    named = [advice.setting, *(moved.setting for moved in advice.moved)]
    return Claim("use", tuple(dict.fromkeys(s.label for s in named if s is not None)), " ".join(told))


def _serving(verdict: Verdict) -> State | None:
    """The state in which a setting serves."""
    clean = verdict.state("clean")
    if clean is not None:
        return clean if verdict.clean == "use it" else None
    return _asked(verdict)


def _asked(verdict: Verdict) -> State | None:
    """The state that a verdict asks for where images are not as they were; None where none serves."""
    return next((state for state in verdict.states if ACTIONS.get(state.name) == verdict.shifted), None)


def _moved(material: Material, there: Sequence[Verdict], advised: Setting | None) -> Moved:
    """What to do in one domain, from the verdicts of all leads there."""
    states = {v.setting: state for v in there if (state := _asked(v)) is not None}
    if states:
        setting = advised if advised in states else material.choose(list(states))
        return Moved(there[0].domain, setting, ACTIONS[states[setting].name], states[setting])
    judged = any(v.shifted == "do not use it" for v in there)
    return Moved(there[0].domain, None, "do not use it" if judged else "not judged")


def _use(material: Material, setting: Setting, state: State) -> str:
    repeats = material.plan.spec.repeats
    first = f" (first of {repeats} repeats)" if repeats > 1 else ""
    done = {"recalibrated": ", recalibrated,", "refitted": ", refitted,"}.get(state.name, "")
    where = "" if state.name == "clean" else f" {where_words(material)}"
    text = f"Use {setting.label}{done}{where}, at the threshold {threshold_words(state)}{first}. "
    made = find_guarantee(material, setting, state)
    n = len(material.plan.parts)
    images = "clean test images" if state.name == "clean" else "test images"
    seen = f"seen on {images}" + (f", mean of {n} categories" if n > 1 else "")
    if made is None:
        return f"{text}Expect {error_words(material, setting, state)} ({seen}; 95 % intervals)."
    some = " in any one category" if made.each and n > 1 else ""
    return (
        f"{text}Expect {error_words(material, setting, state, brief=True)} ({seen}); with 95 % certainty at most "
        f"{made.upper:.1%} false alarms{some} ({made.basis})."
    )


def _nothing_serves(material: Material, verdicts: Sequence[Verdict]) -> str:
    judged = [(s.avoided, v.setting) for v in verdicts for s in _at_home(v) if not math.isnan(s.avoided)]
    if judged:
        avoided, best = max(judged, key=lambda each: each[0])
        most = " at most" if len(verdicts) > 1 else ""
        return (
            f"Use none of these settings: on validation images a threshold avoids{most} {max(0.0, avoided):.0%} of the "
            f"errors ({best.label}), less than {USABLE:.0%}."
        )
    return f"Which setting to use is not known: {_why_not_judged(material, verdicts)}."


def _at_home(verdict: Verdict) -> Sequence[State]:
    """Clean, or in a study without clean runs every state."""
    clean = verdict.state("clean")
    return verdict.states if clean is None else (clean,)


def _why_not_judged(material: Material, verdicts: Sequence[Verdict]) -> str:
    if not any(state.thresholds for verdict in verdicts for state in verdict.states):
        return "no threshold was calibrated, for lack of a validation part"
    lacking = dict.fromkeys(
        f.record.category
        for f in material.findings
        if "validation" in f.images and not f.images["validation"].labels.any()
    )
    if not lacking:
        return "validation images of one class are missing"
    return (
        f"there are no anomalous validation images of {', '.join(lacking)}, so what a threshold misses was not judged"
    )


def _when_moved(material: Material, moved: Moved, advised: Setting | None) -> str:
    there = material.at(moved.domain)
    where = where_words(there)
    where = where[0].upper() + where[1:]
    if moved.setting is None or moved.state is None:
        return f"{where}, {'nothing serves' if moved.action == 'do not use it' else 'nothing was judged'}."
    own = moved.setting is advised
    doing = DOING[moved.action].format("it" if own else moved.setting.label)
    place = "" if own or advised is None else " in its place"
    return f"{where}, {doing}{place} and expect {error_words(there, moved.setting, moved.state, brief=True)}."
