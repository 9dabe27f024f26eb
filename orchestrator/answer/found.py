"""All that a study's records say together, found once: for the report, the terminal and MLflow alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.claims import find_claims, find_verdicts
from adloc.answer.compared import compare_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from adloc.answer.claim import Claim
    from adloc.answer.compared import Comparison
    from adloc.answer.material import Material
    from adloc.answer.verdicts import Verdict
    from adloc.uncertainty.resampling import Interval


@dataclass(frozen=True, slots=True)
class Found:
    """What is claimed, and what it rests on.

    Attributes:
        comparisons: paired differences, corrected for their number.
        verdicts: of each lead, the chosen one first.
        claims: sentences.
    """

    comparisons: tuple[Comparison, ...]
    verdicts: tuple[Verdict, ...]
    claims: tuple[Claim, ...]


def find(material: Material, choice: Callable[[], Interval | None] | None = None) -> Found:
    """Compare, judge and claim; `choice` gives the `choice_interval`, where others find it."""
    comparisons, verdicts = tuple(compare_settings(material)), find_verdicts(material)
    return Found(comparisons, verdicts, find_claims(material, comparisons, verdicts, choice))
