"""A verdict in words: what to do with a setting, at which threshold, and which errors to expect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.claim import Claim
from adloc.answer.verdicts import USABLE
from adloc.study_file.regimes import SHIFT

if TYPE_CHECKING:
    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.answer.verdicts import State, Verdict
    from adloc.study_file.axes import StudyShift


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What the normal validation images behind a setting's thresholds guarantee.

    Attributes:
        upper: of the false-alarm rate with 95 % certainty, of the worst category.
        basis: how many images: "12 normal validation images a category".
        each: whether every category has a threshold of its own, so that `upper` holds for each by itself.
    """

    upper: float
    basis: str
    each: bool


def verdict_claim(material: Material, verdict: Verdict) -> Claim:
    """What to do with a setting, and what to expect of it: false alarms and misses first."""
    setting, clean = verdict.setting, verdict.state("clean")
    text = f"{setting.label}: "
    if clean is not None:
        text += verdict.clean
        if verdict.clean == "do not use it" and not math.isnan(clean.avoided):
            avoided = f"{max(0.0, clean.avoided):.0%} of the errors, less than {USABLE:.0%}"
            text += f" (on validation images it avoids {avoided})"
        if clean.thresholds:
            shown = "at the threshold" if verdict.clean == "use it" else "at its threshold"
            text += f", {shown} {threshold_words(clean)}: {error_words(material, setting, clean)} on clean test images"
            text += _guaranteed(find_guarantee(material, setting, clean))
        else:
            text += ": no threshold was calibrated, for lack of a validation part"
    told = [_moved(material.at(each.domain), each) for each in (verdict, *verdict.elsewhere) if each.shifted]
    text += ("; " if clean is not None and told else "") + "; ".join(told)
    return Claim("verdict", (setting.label,), text + ".")


def _moved(material: Material, verdict: Verdict) -> str:
    """What to do under the simulated shift, or on images of a real domain, and what each state errs there."""
    moved = [s for s in verdict.states if s.name != "clean" and s.thresholds]
    told = ", ".join(f"{error_words(material, verdict.setting, s, brief=True)} {s.name}" for s in moved)
    action = "use it as it is" if verdict.shifted == "use it" else verdict.shifted
    return f"{where_words(material)}: {action}" + (f" ({told})" if told else "")


def where_words(material: Material) -> str:
    """When light, pose and sensor change; on images of new_camera."""
    transforms = material.plan.spec.shift.transforms
    if material.domain == SHIFT and transforms is not None:
        return f"when {shift_words(transforms)} change"
    return f"on images of {material.domain}"


def threshold_words(state: State) -> str:
    """One where all categories have the same, else those of the first three."""
    shown = list(state.thresholds.items())
    if len(shown) == 1 or len({t for _, t in shown}) == 1:
        return f"{shown[0][1]:.4g}"
    return ", ".join(f"{t:.4g} ({c})" for c, t in shown[:3]) + (" and so on" if len(shown) > 3 else "")  # noqa: PLR2004


def error_words(material: Material, setting: Setting, state: State, *, brief: bool = False) -> str:
    """False alarms and misses on test images, with intervals unless `brief`."""
    rates = []
    for metric, name in (("image_fpr", "false alarms"), ("image_fnr", "misses")):
        value = material.macro(setting, state.regime, metric)
        if math.isnan(value):
            continue
        between = material.interval(setting, state.regime, metric)
        sure = "" if brief or math.isnan(between.low) else f" ({between.low:.1%} to {between.high:.1%})"
        rates.append(f"{value:.1%} {name}{sure}")
    return " and ".join(rates) or "no error rates"


def find_guarantee(material: Material, setting: Setting, state: State) -> Guarantee | None:
    """What a state's thresholds guarantee; None where no record has a bound."""
    row = material.row(setting, state.regime).values()
    known = [(upper, f) for f in row if (upper := f.record.metrics.get("upper_fpr")) is not None]
    if not known:
        return None
    worst, finding = max(known, key=lambda pair: pair[0])
    each = setting.threshold_scope != "global"
    pooled = (finding,) if each else row
    n = sum(int((~one.images["validation"].labels).sum()) for one in pooled)
    return Guarantee(worst, f"{n} normal validation images{' a category' if each and len(row) > 1 else ''}", each)


def _guaranteed(made: Guarantee | None) -> str:
    if made is None:
        return ""
    return f"; {made.basis} guarantee at most {made.upper:.1%} false alarms (95 % certainty)"


def shift_words(shift: StudyShift) -> str:
    """What a shift changes, in words: "light, pose and sensor"; only what is switched on."""
    groups = {
        "light": ("brightness", "contrast", "saturation", "illumination"),
        "pose": ("rotation_deg", "scale", "translation", "crop"),
        "sensor": ("blur", "noise"),
    }
    on = [word for word, names in groups.items() if any(getattr(shift, name) is not None for name in names)]
    return " and ".join(filter(None, (", ".join(on[:-1]), *on[-1:]))) or "nothing"
