"""All that a study's records say together, found once: for the report, the terminal and MLflow alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from adloc.answer.claims import find_claims, find_verdicts
from adloc.answer.compared import compare_settings
from adloc.answer.selection import worth_of_choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from adloc.answer.claim import Claim
    from adloc.answer.compared import Comparison
    from adloc.answer.material import Material
    from adloc.answer.verdicts import Verdict
    from adloc.uncertainty.selection import Selection


@dataclass(frozen=True)
class Found:
    """What is claimed, and what it rests on.

    Attributes:
        material: of the study.
        comparisons: paired differences, corrected for their number.
        verdicts: of each lead, the chosen one first.
        worth: gives what `worth_of_choice` does.
    """

    material: Material
    comparisons: tuple[Comparison, ...]
    verdicts: tuple[Verdict, ...]
    worth: Callable[[Material], Selection | None] = worth_of_choice

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """Sentences."""
        return find_claims(self.material, self.comparisons, self.verdicts, self.worth)


def find(material: Material, worth: Callable[[Material], Selection | None] = worth_of_choice) -> Found:
    """Compare and judge; claims are found when they are asked for, with the worth of the choice that is given."""
    return Found(material, tuple(compare_settings(material)), find_verdicts(material), worth)
