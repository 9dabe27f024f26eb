"""What recalibration and refitting win back of what a shift took.

With c, n and r the figure under clean, no adaptation and an adapted regime, turned so that higher is better:
lost = c - n, and the recovered share is (r - n) / (c - n): 1 when all is back, above 1 when it is better than clean,
negative when adapting made it worse still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.comparisons import COMPARED
from adloc.metrics.registry import METRICS

if TYPE_CHECKING:
    from adloc.answer.finding import Setting
    from adloc.answer.material import Material

ERROR_RATES = ("image_fpr", "image_fnr")  # what people act on, before all areas under curves
METRICS_RECOVERED = (*ERROR_RATES, *(name for name in COMPARED if name not in ERROR_RATES))
LEAST_LOST = 1e-9  # below it the loss is the rounding of a mean


@dataclass(frozen=True, slots=True)
class Recovery:
    """One metric of one setting: what the shift took, and what came back.

    Attributes:
        category: None for the average over categories.
        setting: method with its parameters.
        metric: result column.
        clean: figure before the shift.
        shifted: figure under no adaptation.
        lost: how much worse `shifted` is than `clean`, positive is worse whichever direction is better.
        recalibrated: share that threshold_only wins back; nan where nothing was lost or the regime is not there.
        refitted: share that full_adaptation wins back.
    """

    category: str | None
    setting: Setting
    metric: str
    clean: float
    shifted: float
    lost: float
    recalibrated: float
    refitted: float


def recovered_share(clean: float, shifted: float, adapted: float, *, higher_is_better: bool) -> float:
    """The share of the loss that is won back; nan where nothing was lost, or a figure is missing.

    >>> recovered_share(0.1, 0.9, 0.3, higher_is_better=False)  # false alarms: .8 lost, .6 of it won back
    0.75
    """
    sign = 1.0 if higher_is_better else -1.0
    lost = sign * (clean - shifted)
    if not lost > LEAST_LOST:  # nan too
        return math.nan
    return round(sign * (adapted - shifted) / lost, 12)


def find_recoveries(material: Material) -> list[Recovery]:
    """Every metric of the leads, averages first; nothing without a clean and an unadapted regime."""
    found: list[Recovery] = []
    several = len(material.plan.parts) > 1
    for category in (*([None] if several else []), *material.categories):
        for setting in material.leads:
            for metric in METRICS_RECOVERED:
                higher = METRICS[metric].better == "higher"
                clean, shifted, moved, refitted = (
                    material.value(setting, regime, metric, category)
                    for regime in ("clean", "no_adaptation", "threshold_only", "full_adaptation")
                )
                if math.isnan(clean) or math.isnan(shifted):
                    continue
                lost = (clean - shifted) if higher else (shifted - clean)
                shares = [recovered_share(clean, shifted, v, higher_is_better=higher) for v in (moved, refitted)]
                found.append(Recovery(category, setting, metric, clean, shifted, lost, *shares))
    return found
