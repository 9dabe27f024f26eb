"""What a new threshold and a new fit were worth under a study's shift, from validation images alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.metrics.classification import confusion

if TYPE_CHECKING:
    from adloc.answer.finding import Finding
    from adloc.answer.material import Material
    from adloc.planning.plan import Run


def worth_of(run: Run, material: Material) -> dict[str, float]:
    """Image F1 on validation images by regime, at a run's setting; empty without a clean and a shifted regime.

    `clean`: the clean images at their threshold. `no_adaptation`: the shifted images at the clean threshold, by the
    scores that `threshold_only` has of them. `threshold_only` and `full_adaptation`: the shifted images, each at its
    own threshold.

    Args:
        run: of the plan.
        material: of its study.
    """
    found: dict[str, Finding] = {}
    every = (*material.findings, *material.conditioned)
    setting = next((f.setting for f in every if f.record.run_id == run.run_id), None)
    if setting is None:
        return {}
    for regime in material.regimes:
        finding = material.get(setting, regime, run.category, run.repeat)
        if finding is not None:
            found[regime] = finding
    clean, moved = found.get("clean"), found.get("threshold_only")
    if clean is None or moved is None:
        return {}
    figures = {
        "clean": _f1(clean, clean.record.threshold),
        "no_adaptation": _f1(moved, clean.record.threshold),
        "threshold_only": _f1(moved, moved.record.threshold),
    }
    if "full_adaptation" in found:
        figures["full_adaptation"] = _f1(found["full_adaptation"], found["full_adaptation"].record.threshold)
    return {regime: value for regime, value in figures.items() if value is not None}


def _f1(finding: Finding, threshold: float | None) -> float | None:
    """Of the validation images at a threshold; None where there is none, or no defect."""
    images = finding.images.get("validation")
    if images is None or threshold is None or not images.labels.any():
        return None
    found = float(confusion(images.scores, images.labels, threshold).f1)
    return None if math.isnan(found) else found
