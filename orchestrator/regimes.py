"""The four regimes: which domain a model is fitted in, calibrated in and evaluated in (protocol table)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adloc.parts import Domain
    from adloc.study_file.spec import Regime


@dataclass(frozen=True, slots=True)
class Domains:
    """The domain of the train, the validation and the test part."""

    fit: Domain
    threshold: Domain
    evaluation: Domain


REGIMES: dict[Regime, Domains] = {
    "clean": Domains("clean", "clean", "clean"),
    "no_adaptation": Domains("clean", "clean", "shift"),
    "threshold_only": Domains("clean", "shift", "shift"),
    "full_adaptation": Domains("shift", "shift", "shift"),
}


def is_promised(regime: str) -> bool:
    """Whether what validation images promise holds for the test images: they are of one domain, so exchangeable."""
    return any(d.threshold == d.evaluation for name, d in REGIMES.items() if name == regime)
