"""Which settings a table shows that has too many rows to be read: those that the validation part puts first."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from adloc.answer.comparisons import identity
from adloc.answer.material import CHOSEN_BY
from adloc.answer.results import MACRO
from adloc.study_file.conditions import AXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.results import Cell, Row

Who = tuple["Cell", ...]


def setting_of(row: Row) -> Who:
    """What a row or a drop is of, whatever the category, regime, condition and repeat."""
    return identity(row, "category", "regime", "repeat", *AXES)


def foremost(rows: Sequence[Row], most: int) -> frozenset[Who] | None:
    """The settings with the best macro validation image AUROC in the first regime, as many as fit into `most` rows.

    No test figure chooses. Equals, and settings without such a figure, are in the order of the table.

    Returns:
        None where every row fits.
    """
    if len(rows) <= most:
        return None
    figures: dict[Who, list[float]] = {}
    n_rows: dict[Who, int] = {}
    for row in rows:
        who, figure = setting_of(row), row[CHOSEN_BY]
        n_rows[who] = n_rows.get(who, 0) + 1
        known = figures.setdefault(who, [])
        if row["regime"] == rows[0]["regime"] and row["category"] != MACRO and isinstance(figure, int | float):
            known.append(float(figure))
    shown: list[Who] = []
    n = 0
    for who in sorted(figures, key=lambda who: -fmean(figures[who]) if figures[who] else math.inf):
        n += n_rows[who]
        if shown and n > most:
            break
        shown.append(who)
    return frozenset(shown)
