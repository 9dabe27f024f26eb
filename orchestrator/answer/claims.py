"""What a study found, in sentences made of measured figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.material import REGIME_TITLES, title_of
from adloc.answer.results import MACRO
from adloc.uncertainty.resampling import percentile_interval

if TYPE_CHECKING:
    from adloc.answer.compared import Comparison
    from adloc.answer.material import Material, Setting
    from adloc.uncertainty.resampling import Interval

MINUS = "\N{MINUS SIGN}"


def answer_in_three(material: Material, comparisons: list[Comparison]) -> tuple[str, ...]:
    """Who is best and whether that is more than noise; what the shift or the sweep does; what is hard, at what cost."""
    found = [_best(material, comparisons), _shift(material) or _sweep(material), _cost(material) or _hard(material)]
    if found.count("") and (spare := _hard(material)) not in found:
        found.append(spare)
    return tuple(sentence for sentence in found if sentence)[:3]


def recalibration(material: Material) -> tuple[str, ...]:
    """For each lead: errors at the carried-over threshold, and what calibrating it again recovers."""
    made = []
    for setting in material.leads:
        carried = material.macro(setting, "no_adaptation", "image_f1")
        again = material.macro(setting, "threshold_only", "image_f1")
        clean = material.macro(setting, "clean", "image_f1")
        sentence = ""
        if not math.isnan(carried):
            fpr, fnr = (material.macro(setting, "no_adaptation", n) for n in ("image_fpr", "image_fnr"))
            sentence = (
                f"{setting.label}: at the threshold carried over from clean images, {fpr:.1%} of the shifted "
                "normal images "
                f"raise a false alarm and {fnr:.1%} of the shifted defects are missed (F1 {carried:.3f})."
            )
        if not math.isnan(carried) and not math.isnan(again):
            between = _difference(material, setting, "threshold_only", "no_adaptation", "image_f1")
            part = ""
            if not math.isnan(clean) and clean - carried > 0.005:  # noqa: PLR2004  no drop to recover otherwise
                share = (again - carried) / (clean - carried)
                part = "" if share <= 0 else f", {min(share, 1):.0%} of what the shift took"
            noise = "" if math.isnan(between.low) or 0 not in between else ", inside the noise"
            sentence += (
                f" Calibrating it again on shifted images changes F1 by {again - carried:+.3f} "
                f"({between.low:+.3f} to {between.high:+.3f}{noise}){part}."
            )
        if sentence:
            made.append(sentence.replace(" -", f" {MINUS}").replace("(-", f"({MINUS}"))
    return tuple(made)


def _best(material: Material, comparisons: list[Comparison]) -> str:
    regime = next((r for r in material.regimes if any(material.row(s, r) for s in material.settings)), None)
    if regime is None:
        n_done, n_all = len(material.findings), len(material.plan.runs)
        return f"No category average is complete yet: {n_done} of {n_all} runs are recorded."
    ranked = sorted(
        (s for s in material.settings if not math.isnan(material.macro(s, regime, "image_auroc"))),
        key=lambda s: -material.macro(s, regime, "image_auroc"),
    )
    if not ranked:
        return ""
    best = ranked[0]
    n = len(material.plan.parts)
    where = f"{n} categories" if n > 1 else next(iter(material.plan.parts))
    text = f"On {REGIME_TITLES[regime] if regime != 'clean' else 'clean'} images of {where}, {best.label} reaches "
    text += _figure(material, best, regime, "image_auroc")
    if not math.isnan(material.macro(best, regime, "pixel_aupro")):
        text += f" and {_figure(material, best, regime, 'pixel_aupro')}"
    if len(ranked) > 1:
        second = next((s for s in ranked[1:] if s.method != best.method), ranked[1])
        text += f"; {second.label} has {title_of('image_auroc')} {material.macro(second, regime, 'image_auroc'):.3f}"
        pair, asked = {best.key, second.key}, (regime, MACRO, "image_auroc")
        tested = [
            c for c in comparisons
            if (c.regime, c.category, c.metric) == asked and {c.first.key, c.second.key} == pair
        ]  # fmt: skip
        if tested:
            p = "" if math.isnan(tested[0].p_holm) else f" (corrected p {tested[0].p_holm:.2g})"
            text += f", {_told(tested[0])}{p}"
    return text + "."


def _told(comparison: Comparison) -> str:
    """Whether the two differ, in words."""
    if comparison.verdict.endswith("better"):
        return "a difference beyond the noise"
    return "not tested against each other" if comparison.verdict == "not tested" else comparison.verdict


def _shift(material: Material) -> str:
    parts = []
    for setting in material.leads[:3]:
        clean, moved = (material.macro(setting, r, "image_auroc") for r in ("clean", "no_adaptation"))
        if math.isnan(clean) or math.isnan(moved):
            continue
        between = _difference(material, setting, "no_adaptation", "clean", "image_auroc")
        text = f"{setting.label} from {clean:.3f} to {moved:.3f} ({between.low:+.3f} to {between.high:+.3f})"
        f1 = [material.macro(setting, r, "image_f1") for r in ("clean", "no_adaptation", "threshold_only")]
        if not any(map(math.isnan, f1)):
            text += f", F1 from {f1[0]:.3f} to {f1[1]:.3f}, and {f1[2]:.3f} with a recalibrated threshold"
        parts.append(text)
    if not parts:
        return ""
    return f"A change of light, pose and sensor takes image AUROC of {'; of '.join(parts)}.".replace(
        "(-", f"({MINUS}"
    ).replace(" -", f" {MINUS}")


def _sweep(material: Material) -> str:
    for method, parameters in material.swept.items():
        name, values = next(iter(parameters.items()))
        regime = material.regimes[0]
        lead = next((s for s in material.leads if s.method == method), None)
        if lead is None:
            continue
        ends = []
        for value in (values[0], values[-1]):
            at = [
                s for s in material.settings
                if s.method == method and s.params.get(name) == value
                and all(v == lead.params.get(k) for k, v in s.params.items() if k != name)
            ]  # fmt: skip
            ends += [(value, at[0])] if at and material.row(at[0], regime) else []
        if len(ends) == 2:  # noqa: PLR2004  both ends
            (low, first), (high, last) = ends

            def pair(metric: str, first: Setting = first, last: Setting = last, regime: str = regime) -> str:
                a, b = (material.macro(s, regime, metric) for s in (first, last))
                return f"{title_of(metric)} goes from {a:.3f} to {b:.3f}"

            mb = [material.macro(s, regime, "model_mb") for s in (first, last)]
            return (
                f"From {name} {low:g} to {high:g}, {pair('image_auroc')} and {pair('pixel_aupro')}, while the model "
                f"grows from {mb[0]:.3g} to {mb[1]:.3g} MB."
            )
    return ""


def _cost(material: Material) -> str:
    parts = []
    regime = material.regimes[0] if material.regimes else ""
    for setting in material.leads[:3]:
        ms, mb, fit = (material.macro(setting, regime, n) for n in ("score_ms_per_image", "model_mb", "fit_s"))
        if not math.isnan(ms):
            parts.append(f"{setting.label} takes {ms:.3g} ms an image, {fit:.3g} s to fit and {mb:.3g} MB")
    if len({s.method for s in material.leads}) < 2 or not parts:  # noqa: PLR2004  nothing to weigh up
        return ""
    return "; ".join(parts) + ", the backbone's memory not counted."


def _hard(material: Material) -> str:
    """The defect type that the first lead misses most."""
    worst: tuple[float, str] | None = None
    regime = material.regimes[0] if material.regimes else ""
    for setting in material.leads[:1]:
        for category in material.categories:
            finding = material.get(setting, regime, category)
            if finding is None or finding.record.threshold is None:
                continue
            test = finding.test
            for defect in sorted({d for d, label in zip(test.defects, test.labels, strict=True) if label}):
                scores = test.scores[np.array([d == defect for d in test.defects])]
                missed = int((scores < finding.record.threshold).sum())
                share = missed / len(scores)
                if worst is None or share > worst[0]:
                    worst = (
                        share,
                        f"{setting.label} misses most often {defect} on {category}: {missed} of {len(scores)} images",
                    )
    if worst is None:
        return ""
    return f"{worst[1]}." if worst[0] > 0 else "No defect of the test part is missed at the calibrated threshold."


def _figure(material: Material, setting: Setting, regime: str, metric: str) -> str:
    between = material.macro_interval(setting, regime, metric)
    text = f"{title_of(metric)} {material.macro(setting, regime, metric):.3f}"
    return text if math.isnan(between.low) else f"{text} (95 % interval {between.low:.3f} to {between.high:.3f})"


def _difference(material: Material, setting: Setting, regime: str, base: str, metric: str) -> Interval:
    """Of regime minus base, paired where both were evaluated on the same images, shifted or not."""
    drawn = [material.macro_replicates(setting, r, metric) for r in (regime, base)]
    n = min(map(len, drawn))
    return percentile_interval(drawn[0][:n] - drawn[1][:n], material.n_images(setting, regime))
