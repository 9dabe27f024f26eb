"""What tuning gained: each tuned row against the untuned one beside it, on the validation part and on the test part.

The search saw the validation part alone, so a gain there that is not there on the test part is overfitting. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.comparisons import HEADLINE, identity
from adloc.metrics.registry import METRICS
from adloc.study_file.conditions import AXES
from adloc.study_file.regimes import REGIMES
from adloc.study_file.tuning import OBJECTIVES
from adloc.study_file.variants import DEFAULT, SETTING, TUNED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from adloc.answer.results import Row
    from adloc.study_file.spec import StudySpec

WHO = ("category", "method", "regime", "scope", "threshold_scope", "repeat", SETTING)


def searched(spec: StudySpec) -> dict[str, set[str]]:
    """By method: the columns of the hyperparameters that some search of the study chooses."""
    from adloc.methods import find_method

    found: dict[str, set[str]] = {}
    for entry in spec.methods:
        if entry.tune is not None:
            method = find_method(entry.method)
            space = entry.tune.dimensions(method, {**entry.params, **entry.grid})
            found.setdefault(method.name, set()).update(f"params.{key}" for key in space)
    return found


def masked(rows: Iterable[Row], columns: Mapping[str, set[str]]) -> list[Row]:
    """The rows with `tuned` in place of what a search chose, so that those of other repeats and categories match."""
    return [
        {k: TUNED if k in columns.get(str(row["method"]), ()) else v for k, v in row.items()}
        if str(row[SETTING]).startswith(TUNED)
        else row
        for row in rows
    ]


def sought_there(row: Row) -> bool:
    """Whether the row's validation part is the one that searches see: Val-clean."""
    return any(name == row["regime"] and domains.threshold == "clean" for name, domains in REGIMES.items())


def tuning_gains(rows: Sequence[Row], columns: Mapping[str, set[str]], objectives: Sequence[str]) -> list[Row]:
    """One row a tuned row: for every objective, its twin on the test part and the headline metrics, the gain.

    `untuned_<metric>`, `tuned_<metric>` and `gain_<metric>`, which is positive when tuning made it better. Figures of
    the validation part are those of the part that was tuned on: regimes calibrated on shifted images have none.

    Args:
        rows: the results.
        columns: what searches choose, by method; see `searched`.
        objectives: the metrics that were sought.
    """
    if not any(str(row[SETTING]).startswith(TUNED) for row in rows):
        return []
    names = _compared(objectives)

    def who(row: Row) -> tuple[object, ...]:
        free = columns.get(str(row["method"]), set())
        return identity({k: v for k, v in row.items() if k not in free}, SETTING)

    untuned = {who(row): row for row in rows if row[SETTING] == DEFAULT}
    found: list[Row] = []
    for row in rows:
        base = untuned.get(who(row))
        if base is None or not str(row[SETTING]).startswith(TUNED) or {row["status"], base["status"]} != {"done"}:
            continue
        gains: Row = {k: row[k] for k in WHO} | {k: v for k, v in row.items() if k in AXES or k.startswith("params.")}
        for name in names:
            gains |= _gain(name, base, row)
        found.append(gains)
    return found


def _compared(objectives: Sequence[str]) -> list[str]:
    """The objectives, their twins on the test part and the headline metrics of both parts, as far as there are such."""
    twins = [name.removeprefix("val_") for name in objectives]
    names = dict.fromkeys([*objectives, *twins, *(f"val_{h}" for h in HEADLINE), *HEADLINE])
    return [n for n in names if n in METRICS and (n in OBJECTIVES or not n.startswith("val_"))]


def _gain(name: str, untuned: Row, tuned: Row) -> Row:
    """A metric of both rows and what was gained; empty on a validation part that no search saw."""
    told = not name.startswith("val_") or sought_there(tuned)
    before, after = (untuned[name], tuned[name]) if told else (None, None)
    gain = None
    if isinstance(before, int | float) and isinstance(after, int | float):
        gain = after - before if METRICS[name].better == "higher" else before - after
    return {f"untuned_{name}": before, f"tuned_{name}": after, f"gain_{name}": gain}
