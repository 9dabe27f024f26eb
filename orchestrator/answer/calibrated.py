"""Every threshold of a study with what it was calibrated on, and the errors that it makes there and on the test part.

Costs too: one unified model is one model, whatever the number of categories that it serves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A threshold.

    Attributes:
        finding: the run that uses it.
        n_normal: normal validation images that it was calibrated on, of all categories where it is one for all.
        n_anomalous: anomalous ones.
    """

    finding: Finding
    n_normal: int
    n_anomalous: int


def find_thresholds(material: Material) -> Iterator[Calibrated]:
    """Each threshold of each repeat of the settings shown, the leads' first; runs without one are left out."""
    others = [s for s in material.shown if s not in material.leads]
    for setting, regime in material.lines([*material.leads, *others]):
        for category in material.categories:
            for repeat in range(material.plan.spec.repeats):
                finding = material.get(setting, regime, category, repeat)
                if finding is None or finding.record.threshold is None:
                    continue
                pooled = material.plan.parts if setting.threshold_scope == "global" else (category,)
                runs = [material.get(setting, regime, c, repeat) for c in pooled]
                labels = [r.images["validation"].labels for r in runs if r is not None and "validation" in r.images]
                joined = np.concatenate(labels) if labels else np.zeros(0, bool)
                yield Calibrated(finding, int((~joined).sum()), int(joined.sum()))


@dataclass(frozen=True, slots=True)
class Costs:
    """What a setting takes in the first regime, repeats averaged.

    Attributes:
        setting: method with its parameters.
        n_models: that serve all categories: one when it is unified.
        fit_s: wall seconds of fitting all of them.
        score_ms_per_image: averaged over the categories.
        model_mb: of all of them together.
        peak_memory_mb: the largest of the runs.
    """

    setting: Setting
    n_models: int
    fit_s: float
    score_ms_per_image: float
    model_mb: float
    peak_memory_mb: float


def find_costs(material: Material, setting: Setting) -> Costs | None:
    """What a setting takes for all categories; None before each of them is done."""
    regime = material.first_regime(setting)
    if not regime:
        return None
    n_models = 1 if setting.scope == "unified" else len(material.plan.parts)
    taken = {name: material.macro(setting, regime, name) for name in ("fit_s", "score_ms_per_image", "model_mb")}
    peaks = [
        f.record.metrics.get("peak_memory_mb") for row in material.by_repeat(setting, regime) for f in row.values()
    ]
    peak = max((p for p in peaks if p is not None), default=math.nan)
    return Costs(setting, n_models, taken["fit_s"], taken["score_ms_per_image"], taken["model_mb"], peak)


def separate_twin(material: Material, unified: Setting) -> Setting | None:
    """The same method and parameters with a model for each category."""
    return next(
        (
            s
            for s in material.settings
            if s.scope == "category" and s.method == unified.method and s.params == unified.params
        ),
        None,
    )
