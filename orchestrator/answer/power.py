"""What difference a study can see, from its counts of test images and, where there are some, its own records."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adloc.uncertainty.power import (
    AUROC,
    CORRELATION,
    POWER,
    Counts,
    images_needed,
    smallest_difference,
)

if TYPE_CHECKING:
    from adloc.answer.material import Material
    from adloc.planning.plan import Plan

WANTED = 0.05  # the macro difference for which images are counted


@dataclass(frozen=True, slots=True)
class StudyPower:
    """What a study can see.

    Attributes:
        difference: smallest macro image AUROC difference seen at 80 % power.
        auroc: about which two settings were taken to differ.
        correlation: of their AUROCs over samples of images.
        measured: whether these two come from the study's records.
        wanted: a difference.
        images: of each category that see it; None where it would take too many.
    """

    difference: float
    auroc: float
    correlation: float
    measured: bool
    wanted: float
    images: tuple[Counts, ...] | None

    def sentence(self) -> str:
        """In words."""
        basis = "measured here" if self.measured else "assumed"
        text = (
            f"Power: this study tells settings apart whose macro image AUROC differs by {self.difference:.3f} and "
            f"more, in {POWER:.0%} of cases (one comparison at 5 %; AUROC {self.auroc:.2f} and correlation "
            f"{self.correlation:.2f} {basis})"
        )
        if self.difference >= 1:
            text = "Power: no difference of macro image AUROC can be told apart with so few test images"
        if self.images is None:
            return f"{text}; a difference of {self.wanted:g} takes more images than can be counted on."
        normal, anomalous = (max(getattr(c, kind) for c in self.images) for kind in ("normal", "anomalous"))
        return (
            f"{text}; a difference of {self.wanted:g} takes up to {normal} normal and {anomalous} anomalous test "
            "images a category."
        )


def study_power(plan: Plan, material: Material | None = None, wanted: float = WANTED) -> StudyPower | None:
    """What the plan's test parts can see; None where a category lacks a class.

    Args:
        plan: of the study.
        material: what was found so far; its settings' AUROCs and their correlation replace the assumed ones.
        wanted: a difference, to count the images that it takes.
    """
    counts = []
    for parts in plan.parts.values():
        anomalous = sum(s.label for s in parts.test.samples)
        counts.append(Counts(len(parts.test.samples) - anomalous, anomalous))
    if not counts or any(min(c.normal, c.anomalous) < 1 for c in counts):
        return None
    found = None if material is None else _measured(material)
    auroc, correlation = found or (AUROC, CORRELATION)
    images = images_needed(wanted, counts, auroc, correlation)
    return StudyPower(
        smallest_difference(counts, auroc, correlation), auroc, correlation, found is not None, wanted,
        None if images is None else tuple(images),
    )  # fmt: skip


def _measured(material: Material) -> tuple[float, float] | None:
    """Mean macro AUROC of the leads in the first regime, and the mean correlation of its resamples over pairs."""
    for regime in material.regimes[:1]:
        drawn = [material.macro_replicates(s, regime, "image_auroc") for s in material.leads]
        drawn = [d for d in drawn if d.size and float(d.std()) > 0]
        values = [float(d.mean()) for d in drawn]
        pairs = [
            float(np.corrcoef(a, b)[0, 1]) for a, b in itertools.combinations(drawn, 2) if not np.array_equal(a, b)
        ]
        if pairs and not math.isnan(found := float(np.mean(pairs))):
            return min(max(float(np.mean(values)), 0.5), 0.99), min(max(found, 0.0), 0.95)
    return None
