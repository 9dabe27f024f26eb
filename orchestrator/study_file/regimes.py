"""The four regimes: which domain a model is fitted in, calibrated in and evaluated in (protocol table)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

Regime = Literal["clean", "no_adaptation", "threshold_only", "full_adaptation"]
Side = Literal["clean", "shift"]
CLEAN: Side = "clean"
SHIFT: Side = "shift"


@dataclass(frozen=True, slots=True)
class Domains:
    """The domain of the train, the validation and the test part.

    "clean" are the images of the source as they are; "shift" the same images changed or, where a study has real
    domains, the images of one of its targets.
    """

    fit: Side
    threshold: Side
    evaluation: Side


REGIMES: dict[Regime, Domains] = {
    "clean": Domains("clean", "clean", "clean"),
    "no_adaptation": Domains("clean", "clean", "shift"),
    "threshold_only": Domains("clean", "shift", "shift"),
    "full_adaptation": Domains("shift", "shift", "shift"),
}


def is_promised(regime: str) -> bool:
    """Whether what validation images promise holds for the test images: they are of one domain, so exchangeable."""
    return any(d.threshold == d.evaluation for name, d in REGIMES.items() if name == regime)


@cache
def evaluated_in(regime: str) -> Side:
    """Which side a regime's test images are of.

    Example:
        >>> evaluated_in("threshold_only")
        'shift'
    """
    return next((d.evaluation for name, d in REGIMES.items() if name == regime), CLEAN)
