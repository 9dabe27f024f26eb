"""Recall by what defects are like: thirds of them by size and by contrast. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from adloc.answer.operating import exact_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.operating import Estimate
    from adloc.explain.explanation import Defect

Property = Literal["size", "contrast"]
_WORDS: dict[Property, tuple[str, str, str]] = {
    "size": ("small", "medium", "large"),
    "contrast": ("faint", "medium", "strong"),
}


@dataclass(frozen=True, slots=True)
class Third:
    """A third of the defects.

    Attributes:
        word: "small".
        low: the smallest value in it.
        high: the largest value in it.
        n: defects.
        n_missed: of them, below the threshold.
        recall: share found, with its exact interval.
    """

    word: str
    low: float
    high: float
    n: int
    n_missed: int
    recall: Estimate


def recall_by(defects: Sequence[Defect], by: Property) -> list[Third]:
    """Recall in each third of the defects that were judged and have the property, from low to high.

    The limits are the terciles of all these defects; a value on a limit is in the lower third. Of few distinct
    values a third may stay empty: it is left out.

    Args:
        defects: of all categories.
        by: the property.
    """
    judged = [(v, d.missed) for d in defects if d.missed is not None and (v := getattr(d, by)) is not None]
    if not judged:
        return []
    values = np.array([value for value, _ in judged])
    missed = np.array([miss for _, miss in judged])
    third = np.searchsorted(np.quantile(values, (1 / 3, 2 / 3)), values, side="left")
    found = []
    for number, word in enumerate(_WORDS[by]):
        here = third == number
        n, n_missed = int(here.sum()), int(missed[here].sum())
        if n:
            low, high = float(values[here].min()), float(values[here].max())
            found.append(Third(word, low, high, n, n_missed, exact_share(n - n_missed, n)))
    return found
