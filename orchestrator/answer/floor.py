"""Settings that rank validation images no better than the distance to a mean image does.

From validation figures alone; the test part neither raises nor silences the warning.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.answer.claim import Claim
from adloc.answer.material import title_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from adloc.answer.material import Material

FLOOR = "floor"  # the method whose figure every other one must exceed
MOST_NAMED = 4


def find_floored(material: Material) -> Iterator[Claim]:
    """One for each scope in which the study has a floor, and settings of other methods that do not exceed it."""
    for scope in dict.fromkeys(s.scope for s in material.settings):
        validated = {s: material.validated(s) for s in material.settings if s.scope == scope}
        floors = [s for s in validated if s.method == FLOOR and not math.isnan(validated[s])]
        if not floors:
            continue
        floor = material.choose(floors)
        # nan, of a setting that was not validated, is not above and not below either.
        below = [s for s in validated if s.method != FLOOR and validated[s] <= validated[floor]]
        if not below:
            continue
        text = _below(
            {s.label: validated[s] for s in below}, f"{floor.label}, {title_of('image_auroc')} {validated[floor]:.3f}"
        )
        yield Claim("warning", tuple(s.label for s in (*below, floor)), text)


def _below(validated: Mapping[str, float], floor: str) -> str:
    """That settings, by label, do not exceed a floor, in a sentence."""
    named = [f"{label} ({figure:.3f})" for label, figure in validated.items()]
    named[MOST_NAMED:] = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    single = len(validated) == 1
    those = named[0] if single else f"{', '.join(named[:-1])} and {named[-1]}"
    return (
        f"{those} {'ranks' if single else 'rank'} the validation images no better than the distance to a mean image"
        f" does ({floor}): nothing shows that what {'it adds' if single else 'they add'} is of use here."
    )
