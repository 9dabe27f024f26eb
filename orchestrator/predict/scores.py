"""The scores of a file of rows, in their order."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.datasets.json_text import parse_json
from adloc.errors import Complaint, UserError
from adloc.predict.monitoring import Monitoring
from adloc.predict.output import PARQUET, TEXT_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from adloc.drift.advice import Advice
    from adloc.drift.monitor import State
    from adloc.model.folder import Model
    from adloc.predict.monitoring import Level

SCORE = "score"


@dataclass(frozen=True, slots=True, repr=False)
class Watched:
    """What scores say of whether a model still holds.

    Attributes:
        advice: what to do.
        state: of the watch after the last score.
        said: the same, in lines for people.
    """

    advice: Advice
    state: State
    said: tuple[str, ...]

    def __repr__(self) -> str:
        """For people: lines."""
        return "\n".join(self.said)


def watch_scores(model: Model, scores: Iterable[float], level: Level) -> Watched:
    """Watch for drift by scores alone.

    Args:
        model: that gave them.
        scores: in the order in which the images came.
        level: of the watch.

    Raises:
        UserError: the model has no normal images to compare with.
    """
    said: list[str] = []
    watch = Monitoring(model, (), model.spec.threshold.image, level, said.append)
    watch.observe((score,) for score in scores)
    watch.end()
    return Watched(watch.advice, watch.state, tuple(dict.fromkeys(said)))


def read_scores(path: Path) -> list[float]:
    """Scores of the images that have one.

    Args:
        path: a CSV, JSON lines or Parquet file with a column `score`.

    Raises:
        UserError: it is none, has no such column, a score is no finite number, or there is none at all.
    """
    try:
        found = [_number(value, number) for number, value in enumerate(_values(path), 1) if value not in (None, "")]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        why = f"{path}: {error.strerror}" if isinstance(error, OSError) and error.strerror else f"{path}: {error}"
        rule = f"it must be a .csv, .jsonl or .parquet file with a column {SCORE}, as `adloc predict` writes it"
        raise UserError(Complaint(why, rule, "adloc predict MODEL IMAGES --output scores.csv")) from None
    if not found:
        raise UserError(Complaint(f"{path}: no score in it", "a watch needs images", "score some first"))
    return found


def _values(path: Path) -> Iterator[object]:
    suffix = path.suffix.lower()
    if suffix == PARQUET:
        from pyarrow.parquet import read_table

        yield from read_table(path, columns=[SCORE])[SCORE].to_pylist()
        return
    kind = TEXT_SUFFIXES[suffix]
    with path.open(newline="", encoding="utf-8") as file:
        if kind == "csv":
            rows = csv.DictReader(file)
            if SCORE not in (rows.fieldnames or ()):
                message = f"no column {SCORE}"
                raise ValueError(message)
            yield from (row[SCORE] for row in rows)
        else:
            yield from (parse_json(line)[SCORE] for line in file if line.strip())


def _number(value: object, number: int) -> float:
    found = float(str(value))
    if not math.isfinite(found):
        message = f"row {number}: score is {value}"
        raise ValueError(message)
    return found
