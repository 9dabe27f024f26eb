"""Tables as pandas has them: the columns of results.csv, numbers as numbers, NaN where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from adloc.answer.results import MACRO, brief_columns
from adloc.metrics.registry import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adloc.answer.results import Row


def frame_of(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """A row each; columns as they are named in the rows."""
    frame = pd.DataFrame(list(rows))
    metrics = [name for name in frame.columns if name in METRICS]  # one that no run defines is still a number
    return frame.astype(dict.fromkeys(metrics, "float64"))


def brief_frame(rows: Sequence[Row], first: Sequence[str] = ()) -> pd.DataFrame:
    """The columns that people read first, after those named; without those that are empty in every row."""
    if not rows:
        return frame_of(rows)
    names = [*first, *(name for name in brief_columns(rows) if name not in first)]
    return frame_of([{name: row[name] for name in names} for row in rows]).dropna(axis="columns", how="all")


def averages(rows: Sequence[Row]) -> list[Row]:
    """The macro rows; the rows themselves of a study of a single category, which they would say twice."""
    plain = [row for row in rows if row["category"] != MACRO]
    macro = [row for row in rows if row["category"] == MACRO]
    return plain if len({row["category"] for row in plain}) == 1 else macro
