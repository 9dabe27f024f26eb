"""What a study found: claims, each a sentence made of recorded figures with the settings that it names.

The report, the terminal and MLflow show the same claims. What a claim calls chosen was chosen on the validation
part; the figure beside it is of the test part.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.advice import advise, use_claim
from adloc.answer.claim import Claim
from adloc.answer.floor import find_floored
from adloc.answer.material import REGIME_TITLES, title_of
from adloc.answer.results import MACRO
from adloc.answer.selection import choice_interval
from adloc.answer.varied import pivots
from adloc.answer.verdict_words import verdict_claim
from adloc.answer.verdicts import judge
from adloc.answer.warned import find_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from adloc.answer.compared import Comparison
    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.answer.verdicts import Verdict
    from adloc.uncertainty.resampling import Interval

MINUS = "\N{MINUS SIGN}"
MOST_VERDICTS = 4
MOST_RIVALS = 3


def find_claims(
    material: Material,
    comparisons: Sequence[Comparison],
    verdicts: Sequence[Verdict] | None = None,
    choice: Callable[[], Interval | None] | None = None,
) -> tuple[Claim, ...]:
    """Every claim that the study has data for, those that people act on first.

    Args:
        material: of the study.
        comparisons: of its settings.
        verdicts: those of `find_verdicts`, where they are known.
        choice: gives the `choice_interval`, where others find it.
    """
    judged = find_verdicts(material) if verdicts is None else verdicts
    use = use_claim(material, judged)
    found = [
        *([use] if use is not None else []),
        *_chosen(material, comparisons, judged, choice or partial(choice_interval, material)),
        *find_floored(material),
        *find_warnings(material),
        *(verdict_claim(material, verdict) for verdict in judged[:MOST_VERDICTS]),
        *_ablations(material),
        *_crossed(material),
        *_unified(material),
        *_tuning(material),
        *_hard(material),
    ]
    return tuple(Claim(c.kind, c.settings, c.text.replace(" -", f" {MINUS}").replace("(-", f"({MINUS}")) for c in found)


def find_verdicts(material: Material) -> tuple[Verdict, ...]:
    """Of each lead, the chosen one first."""
    order = sorted(material.leads, key=lambda s: s is not material.chosen)
    return tuple(judge(material, setting) for setting in order)


def _chosen(
    material: Material,
    comparisons: Sequence[Comparison],
    judged: Sequence[Verdict],
    choice: Callable[[], Interval | None],
) -> Iterator[Claim]:
    """Which setting was chosen, its test figures, and whether the leads of other methods differ from it."""
    chosen = material.chosen
    if not any(material.first_regime(s) for s in material.leads):
        n_done, n_all = len(material.findings), len(material.plan.runs)
        yield Claim("chosen", (), f"No category average is complete yet: {n_done} of {n_all} runs are recorded.")
    elif chosen is None:
        leads = material.leads[:MOST_RIVALS]
        yield Claim("chosen", tuple(s.label for s in leads), _none_chosen(material, leads))
    else:
        regime = material.first_regime(chosen)
        rivals = [s for s in material.leads if s is not chosen and material.row(s, regime)][:MOST_RIVALS]
        text = _why_chosen(material, chosen) + _with_choice(choice())
        text += "".join(_against(material, comparisons, chosen, rival) for rival in rivals)
        text += _serves_instead(material, chosen, judged)
        yield Claim("chosen", (chosen.label, *(s.label for s in rivals)), text + ".")


def _where(material: Material) -> str:
    n = len(material.plan.parts)
    return f"{n} categories" if n > 1 else next(iter(material.plan.parts))


def _none_chosen(material: Material, leads: Sequence[Setting]) -> str:
    """What is known of the leads where nothing was validated."""
    if any(finding.test.labels.any() for finding in material.findings):
        figures = "; ".join(_figures(material, s, material.first_regime(s)) for s in leads)
        return f"Nothing was validated, so nothing was chosen. On test images of {_where(material)}: {figures}."
    return (
        f"There are no anomalous test images of {_where(material)}: what a method misses is not known, and nothing was"
        " chosen. False alarms are known."
    )


def _why_chosen(material: Material, chosen: Setting) -> str:
    """Of how many and by which figure it was chosen, and what it reaches on the test part."""
    regime, n = material.first_regime(chosen), len(material.settings)
    how = f"Of {n} settings, {chosen.label} was chosen on the validation part" if n > 1 else f"{chosen.label}"
    known = f" ({title_of('image_auroc')} {material.validated(chosen):.3f} there)"
    domain = "clean" if regime == "clean" else f"{REGIME_TITLES[regime]}"
    reached = _reached(material, chosen, regime)
    return f"{how}{known}; on {domain} test images of {_where(material)} it reaches {reached}"


def _against(material: Material, comparisons: Sequence[Comparison], chosen: Setting, rival: Setting) -> str:
    """The figure of another lead, and whether the difference is more than noise, where that was tested."""
    regime = material.first_regime(chosen)
    text = f". {rival.label} has {title_of('image_auroc')} {material.macro(rival, regime, 'image_auroc'):.3f}"
    tested = next((c for c in comparisons if _is_of(c, regime, chosen, rival)), None)
    return text if tested is None else f"{text}: {_difference(tested)}"


def _serves_instead(material: Material, chosen: Setting, judged: Sequence[Verdict]) -> str:
    """Whose threshold serves where that of the chosen setting, which ranks best, does not."""
    own = next((v for v in judged if v.setting is chosen), None)
    if own is None or own.clean != "do not use it":
        return ""
    instead = advise(material, judged).setting
    return "" if instead is None else f". It ranks best, but its threshold does not serve: use {instead.label}"


def _with_choice(between: Interval | None) -> str:
    """What choosing among a method's settings adds to the uncertainty of the test figure; "" without a choice."""
    if between is None:
        return ""
    return f" (image AUROC {between.low:.3f} to {between.high:.3f} with the choice among settings counted in)"


def _is_of(comparison: Comparison, regime: str, a: Setting, b: Setting) -> bool:
    asked = (comparison.regime, comparison.category, comparison.metric) == (regime, MACRO, "image_auroc")
    return asked and {comparison.first.key, comparison.second.key} == {a.key, b.key}


def _difference(tested: Comparison) -> str:
    if tested.verdict in ("first better", "second better"):
        return f"a difference beyond the noise (corrected p {tested.p_holm:.2g})"
    return tested.verdict if tested.verdict.startswith("equal") else "the test images do not tell the two apart"


def _ablations(material: Material) -> Iterator[Claim]:
    """For each method, what its varied parameters do, one at a time around the lead."""
    for lead in _varied(material):
        regime = material.first_regime(lead)
        for name in lead.params:
            along = [s for s in material.settings if _differs_in(s, lead, name) and material.row(s, regime)]
            if len(along) < 2 or not regime:  # noqa: PLR2004  nothing varied
                continue
            validated = (
                "" if math.isnan(material.validated(lead)) else f" (validation chose {_word(lead.params[name])})"
            )
            figures = [
                f"{_word(s.params[name])}: {material.macro(s, regime, 'image_auroc'):.3f}"
                + _also(material, s, regime, "pixel_aupro")
                + f", {material.macro(s, regime, 'model_mb'):.3g} MB"
                for s in _ends(along, name)
            ]
            what = f"{title_of('image_auroc')} and {title_of('pixel_aupro')} over {name}"
            yield Claim("ablation", (lead.label,), f"{_model(lead)}, {what}{validated}: {'; '.join(figures)}.")


def _crossed(material: Material) -> Iterator[Claim]:
    """Where two parameters are choices of words: what the second does at each value of the first."""
    for lead in _varied(material):
        for pivot in pivots(material, lead):
            if pivot.rows.numeric or pivot.columns.numeric:
                continue
            told = []
            for row, values in zip(pivot.rows.words, pivot.figures(material, "image_auroc"), strict=True):
                cells = zip(pivot.columns.words, values, strict=True)
                told.append(f"{row}: " + ", ".join(f"{word} {v:.3f}" for word, v in cells if v is not None))
            what = f"{title_of('image_auroc')} over {pivot.columns.name} at each {pivot.rows.name}"
            yield Claim("ablation", (lead.label,), f"{_model(lead)}, {what}: {'; '.join(told)}.")


def _varied(material: Material) -> Iterator[Setting]:
    """The leads, once a model: what its parameters do to rankings and maps is the same at another kind of threshold."""
    seen = set()
    for lead in material.leads:
        if (lead.method, lead.scope) not in seen:
            seen.add((lead.method, lead.scope))
            yield lead


def _model(lead: Setting) -> str:
    return lead.method if lead.scope == "category" else f"{lead.method}, one model for all categories"


def _differs_in(setting: Setting, lead: Setting, name: str) -> bool:
    same = (setting.method, setting.scope, setting.threshold_scope) == (lead.method, lead.scope, lead.threshold_scope)
    others = all(v == lead.params.get(k) for k, v in setting.params.items() if k != name)
    # A parameter that is not written at its default is compared only where every setting has it.
    told = name in setting.params and setting.params[name] != lead.params.get(name)
    return same and others and (setting is lead or told)


def _ends(along: list[Setting], name: str) -> list[Setting]:
    """Of many numbers the two ends, of words and few values all."""
    values = [s.params[name] for s in along]
    if len(along) > 4 and all(isinstance(v, int | float) for v in values):  # noqa: PLR2004
        ordered = sorted(along, key=lambda s: float(str(s.params[name])))
        return [ordered[0], ordered[-1]]
    return along


def _unified(material: Material) -> Iterator[Claim]:
    """What one model for all categories costs and saves, and the worst cell of the shortcut matrix."""
    for one in material.leads:
        many = next((s for s in material.leads if s.method == one.method and s.scope == "category"), None)
        if one.scope != "unified" or one.threshold_scope != "category" or many is None:
            continue
        regime = material.first_regime(one)
        if not regime or not material.row(many, regime):
            continue
        changed = []
        for metric in ("image_auroc", "image_f1", "pixel_aupro"):
            a, b = (material.macro(s, regime, metric) for s in (one, many))
            if not math.isnan(a - b):
                changed.append(f"{title_of(metric)} {a - b:+.3f}")
        sizes = [material.macro(s, regime, "model_mb") for s in (one, many)]
        text = (
            f"{one.method}: one model for all categories in place of one each changes {', '.join(changed)}, "
            f"and is {sizes[0]:.3g} MB in place of {sizes[1]:.3g} MB{_worst_shortcut(material, one, regime)}."
        )
        yield Claim("unified", (one.label, many.label), text)


def _worst_shortcut(material: Material, unified: Setting, regime: str) -> str:
    """The worst cell of the shortcut matrix, the diagonal left out; "" where there is no matrix."""
    of_model = {"method": unified.method, "regime": regime, "repeat": 0}
    cells = [
        r
        for r in material.answer.identical_shortcut
        if all(r[name] == value for name, value in of_model.items())
        and r["images_of"] != r["threshold_of"]
        and isinstance(r["flagged"], float)
    ]
    if not cells:
        return ""
    worst = max(cells, key=lambda r: float(r["flagged"] or 0.0))
    return (
        f"; at worst {float(worst['flagged'] or 0):.0%} of the normal images of {worst['images_of']} pass for "
        f"defects at the threshold of {worst['threshold_of']}"
    )


def _tuning(material: Material) -> Iterator[Claim]:
    """What tuning gained where it looked, and what of it holds on the test part."""
    sought = material.plan.spec.tuning.objectives
    for row in material.answer.tuning_gains:
        gain = row.get(f"gain_{sought[0]}")
        twin = row.get(f"gain_{sought[0].removeprefix('val_')}")
        if row["category"] != MACRO or row["repeat"] != 0 or not isinstance(gain, float):
            continue
        held = f"{twin:+.3f} on the test part" if isinstance(twin, float) else "not measured on the test part"
        name = f"{row['method']}, {row['setting']}"
        yield Claim("tuning", (name,), f"{name}: {gain:+.3f} {title_of(sought[0])} where it was tuned, {held}.")


def _hard(material: Material) -> Iterator[Claim]:
    """The defect type that the chosen setting misses most."""
    lead = material.chosen or next(iter(material.leads), None)
    worst: tuple[float, str] | None = None
    for finding in material.row(lead, material.first_regime(lead)).values() if lead else ():
        test, threshold = finding.test, finding.record.threshold
        if threshold is None:
            continue
        for defect in sorted({d for d, label in zip(test.defects, test.labels, strict=True) if label}):
            scores = test.scores[np.array([d == defect for d in test.defects])]
            missed = int((scores < threshold).sum())
            if worst is None or missed / len(scores) > worst[0]:
                where = f"{defect} on {finding.record.category}: {missed} of {len(scores)} images"
                worst = (missed / len(scores), where)
    if lead is None or worst is None:
        return
    none = "No defect of the test part is missed at the calibrated threshold."
    yield Claim("hard", (lead.label,), f"{lead.label} misses most often {worst[1]}." if worst[0] > 0 else none)


def _figures(material: Material, setting: Setting, regime: str) -> str:
    return f"{setting.label} reaches {_reached(material, setting, regime)}"


def _reached(material: Material, setting: Setting, regime: str) -> str:
    shown = [m for m in ("image_auroc", "pixel_aupro") if not math.isnan(material.macro(setting, regime, m))]
    return " and ".join(_figure(material, setting, regime, m) for m in shown) or "no figure that is defined"


def _figure(material: Material, setting: Setting, regime: str, metric: str) -> str:
    between = material.interval(setting, regime, metric)
    text = f"{title_of(metric)} {material.macro(setting, regime, metric):.3f}"
    return text if math.isnan(between.low) else f"{text} (95 % interval {between.low:.3f} to {between.high:.3f})"


def _also(material: Material, setting: Setting, regime: str, metric: str) -> str:
    value = material.macro(setting, regime, metric)
    return "" if math.isnan(value) else f" and {value:.3f}"


def _word(value: object) -> str:
    return (
        f"{value:g}"
        if isinstance(value, float)
        else "-".join(map(str, value))
        if isinstance(value, list)
        else str(value)
    )
