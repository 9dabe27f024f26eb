"""The first section: what to do with each method, and the figures that one acts on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.material import title_of
from adloc.answer.verdicts import USABLE, WORTH
from adloc.report.charts import figures as charts
from adloc.report.section import Section
from adloc.report.tables import EMPTY, Table, figure, words
from adloc.uncertainty.resampling import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.claim import Claim
    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.answer.verdicts import State, Verdict
    from adloc.report.tables import Cell

SHOWN = ("image_fpr", "image_fnr", "image_auroc", "image_f1", "pixel_aupro")
PERCENT = {"image_fpr": "false alarms, %", "image_fnr": "misses, %"}  # as in the sentences


def answer(material: Material, claims: Sequence[Claim], verdicts: Sequence[Verdict]) -> Section | None:
    """The claims as sentences, and every lead's states with thresholds and test figures."""
    if not material.findings:
        return None
    notes: tuple[str, ...] = (
        "Every setting and verdict was chosen on validation images; the figures are of test images, which chose "
        f"nothing. A state serves when it avoids at least {USABLE:.0%} of the errors that a perfect detector avoids "
        "(1 - false alarms - misses, on the regime's validation images); recalibrating, and then refitting, is called "
        f"for when it avoids {WORTH:.0%} more. A threshold was fitted to the validation images that judge it, so the "
        "verdict is a little kind to it; the test figures are not.",
        "As it is: nothing is changed. Recalibrated: a new threshold from validation images after the change. "
        "Refitted: a new model and threshold. What is guaranteed holds whatever the test part happened to show, and "
        "takes many normal validation images to be tight. AUROC: how well scores put defects above good parts, 1 at "
        "best; PRO: how well maps cover them.",
    )
    rows = [
        _row(material.at(each.domain), each, state)
        for verdict in verdicts
        for each in (verdict, *verdict.elsewhere)
        for state in each.states
        if each is verdict or state.name != "clean"
    ]
    heads = ("setting", "images", "verdict", "threshold", *(PERCENT.get(n, title_of(n)) for n in SHOWN))
    caption = "What to do with each method, and what to expect of it on test images (95 % intervals)"
    table = Table("verdicts", caption, heads, tuple(rows))
    empty = [head for i, head in enumerate(heads) if any(row[i].text == EMPTY for row in rows)]
    notes += (_why_empty(empty),) if empty else ()
    return Section(
        "answer",
        "The answer",
        tuple(claim.text for claim in claims if claim.kind != "use"),
        (table,) if rows else (),
        tuple(charts.overview(material)),
        notes,
        lead=" ".join(claim.text for claim in claims if claim.kind == "use"),
    )


def _row(material: Material, verdict: Verdict, state: State) -> tuple[Cell, ...]:
    setting = verdict.setting
    action = verdict.clean if state.name == "clean" else verdict.shifted or ""
    asked = {"use it": "as it is", "recalibrate it": "recalibrated", "refit it": "refitted"}.get(action)
    shown = action if state.name in {"clean", asked} or asked is None else ""
    tone = {"use it": "good", "recalibrate it": "good", "refit it": "good", "do not use it": "bad"}.get(shown, "")
    where = "clean" if state.name == "clean" else f"{material.shifted}, {state.name}"
    cells = (_figure(material, setting, state.regime, n) for n in SHOWN)
    return words(setting.label), words(where), words(shown, tone), words(_thresholds(state)), *cells


def _why_empty(heads: Sequence[str]) -> str:
    """What a dash stands for under each of these heads."""
    words_of = {
        "verdict": "under verdict it marks a state that the verdict does not ask for",
        "threshold": "under threshold, that none was calibrated",
    }
    told = [words_of[head] for head in heads if head in words_of]
    if len(told) < len(heads):
        told.append(
            "under a figure, that it is not defined or was not computed: false alarms, misses and F1 need a threshold, "
            "misses, AUROC and F1 anomalous test images, PRO their masks"
        )
    return f"{EMPTY} stands for nothing: {'; '.join(told)}."


def _figure(material: Material, setting: Setting, regime: str, metric: str) -> Cell:
    value, between = material.macro(setting, regime, metric), material.interval(setting, regime, metric)
    if metric in PERCENT:
        return figure(100 * value, 1, Interval(100 * between.low, 100 * between.high))
    return figure(value, 3, between)


def _thresholds(state: State) -> str:
    values = list(state.thresholds.items())
    if len({value for _, value in values}) <= 1:
        return f"{values[0][1]:.4g}" if values else ""
    few = [f"{category} {value:.4g}" for category, value in values[:4]]
    return ", ".join(few) + (f" and {len(values) - 4} more" if len(values) > 4 else "")  # noqa: PLR2004
