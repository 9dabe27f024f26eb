"""How figures move along the axes of a study: severity, factors, number of training images, contamination.

Pure: rows in, figures out. A curve is of macro rows that differ in the axis alone; its points hold every draw and
repeat. All other axes are at their base, see `adloc.study_file.conditions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING

from adloc.answer.comparisons import identity
from adloc.answer.results import MACRO
from adloc.study_file.conditions import ALL, AXES, OF_THE_SHIFT, agrees, base_condition
from adloc.study_file.regimes import SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adloc.answer.answer import Answer
    from adloc.answer.results import Row
    from adloc.study_file.regimes import Regime
    from adloc.study_file.spec import StudySpec

PLATEAU_MARGIN = 0.01  # of image AUROC: what a larger training set must gain to be worth its images
TIED = ("train_images", "draw")  # one axis: a draw is of a number of images

Who = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A metric at one place of an axis.

    Attributes:
        at: the place: 0.5, "geometry+blur", 16, "all".
        values: of each draw and repeat.
        n_train: mean number of images that a category's fit was given.
    """

    at: str | int | float
    values: tuple[float, ...]
    n_train: float

    @property
    def mean(self) -> float:
        """Over draws and repeats."""
        return fmean(self.values)

    @property
    def low(self) -> float:
        """The smallest of draws and repeats."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest of draws and repeats."""
        return max(self.values)


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric along an axis, all else alike.

    Attributes:
        who: identity of the setting, see `setting_of`.
        method: name.
        regime: in which it was evaluated.
        points: numbers ascending, "all" after them; factors in the study's order.
    """

    who: Who
    method: str
    regime: Regime
    points: tuple[Point, ...]

    def at(self, place: object) -> Point | None:
        """The point there, if there is one."""
        return next((p for p in self.points if p.at == place), None)


@dataclass(frozen=True, slots=True)
class Interaction:
    """What groups of transforms cost alone and together, as drops: positive is worse.

    Attributes:
        who: identity of the setting, see `setting_of`.
        method: name.
        regime: in which it was evaluated.
        alone: by group: what it costs by itself.
        combined: by combination of several groups, without that of all.
        together: what all of them cost.
    """

    who: Who
    method: str
    regime: Regime
    alone: Mapping[str, float]
    combined: Mapping[str, float]
    together: float

    @property
    def extra(self) -> float:
        """How much more all cost together than the sum of what each costs alone; negative: they overlap."""
        return self.together - sum(self.alone.values())


def at_base(answer: Answer, spec: StudySpec, domain: str | None = None) -> Answer:
    """The tables of the base conditions alone, without the axes' columns: as if the study had no axes.

    Args:
        answer: all tables.
        spec: the study.
        domain: which target the shifted regimes are of; None for the first.
    """
    base = cache(lambda regime: base_condition(spec, regime, domain).values())

    def kept(rows: Sequence[Row]) -> list[Row]:
        found = [row for row in rows if agrees(row, base(_regime(row)))]
        axes = rows[0].keys() & AXES if rows else ()  # a table has the same columns in all
        return [{name: value for name, value in row.items() if name not in axes} for row in found] if axes else found

    return replace(
        answer,
        rows=kept(answer.rows),
        regime_drops=kept(answer.regime_drops),
        scope_drops=kept(answer.scope_drops),
        identical_shortcut=kept(answer.identical_shortcut),
        repeats=kept(answer.repeats),
        tuning_gains=kept(answer.tuning_gains),
    )


def setting_of(row: Row) -> Who:
    """Which setting a row is of, whatever its category, regime, repeat and condition."""
    return identity(row, *AXES, "category", "regime", "repeat")


def curves(rows: Sequence[Row], spec: StudySpec, axis: str, metric: str) -> list[Curve]:
    """A metric along an axis, a curve for each setting and regime; none where the study lacks the axis.

    Args:
        rows: the results.
        spec: the study: where the other axes have their base.
        axis: "train_images", "contamination", "severity" or "factors".
        metric: a column of the results.
    """
    n_categories = len({row["category"] for row in rows} - {MACRO})
    found: dict[tuple[Who, Regime], dict[str | int | float, list[Row]]] = {}
    for row in rows:
        place = row.get(axis)
        if place is None or row["category"] != MACRO or not isinstance(row.get(metric), int | float):
            continue
        if _is_on(axis, row, spec):
            found.setdefault((setting_of(row), _regime(row)), {}).setdefault(place, []).append(row)
    made = []
    for (who, regime), places in found.items():
        points = [
            Point(at, tuple(float(r[metric] or 0.0) for r in there), fmean(_n_train(r) for r in there) / n_categories)
            for at, there in places.items()
        ]
        if len(points) > 1:
            made.append(Curve(who, _method(places), regime, tuple(sorted(points, key=_order(spec)))))
    return made


def interactions(drops: Sequence[Row], spec: StudySpec, metric: str) -> list[Interaction]:
    """What each group of transforms costs alone, and all together, for every setting and regime.

    Args:
        drops: of each run under shift against its partner under clean, see `comparisons.regime_drops`.
        spec: the study.
        metric: a column of the results.
    """
    found: dict[tuple[Who, Regime], dict[str, list[float]]] = {}
    methods: dict[Who, str] = {}
    for row in drops:
        value, place = row.get(f"drop_{metric}"), row.get("factors")
        if row["category"] != MACRO or place is None or not isinstance(value, int | float):
            continue
        if _is_on("factors", row, spec):
            who = setting_of(row)
            methods[who] = str(row["method"])
            found.setdefault((who, _regime(row)), {}).setdefault(str(place), []).append(float(value))
    made = []
    for (who, regime), places in found.items():
        means = {place: fmean(values) for place, values in places.items()}
        together = means.pop(ALL, math.nan)
        if not means or math.isnan(together):
            continue
        alone = {place: v for place, v in means.items() if "+" not in place}
        combined = {place: v for place, v in means.items() if "+" in place}
        made.append(Interaction(who, methods[who], regime, alone, combined, together))
    return made


def plateau(points: Sequence[Point], margin: float = PLATEAU_MARGIN) -> Point:
    """The fewest images from which no larger number is better by more than the margin.

    The last point when all smaller ones are beaten: then nothing says that the curve has ended.

    Args:
        points: of a metric where higher is better, of the validation part, numbers ascending.
        margin: in units of the metric.
    """
    for number, point in enumerate(points):
        if all(later.mean - point.mean <= margin for later in points[number + 1 :]):
            return point
    message = "a curve has at least one point"
    raise ValueError(message)


def _is_on(axis: str, row: Row, spec: StudySpec) -> bool:
    """Whether a row stands at the base of every other axis."""
    ignored = TIED if axis in TIED else (axis,)
    domain = SHIFT if axis in OF_THE_SHIFT else None
    base = base_condition(spec, _regime(row), domain).values()
    return all(row.get(name) in (None, value) for name, value in base.items() if name not in ignored)


def _order(spec: StudySpec) -> Callable[[Point], tuple[float, int]]:
    factors = list(spec.shift.transforms.combinations) if spec.shift.transforms else []

    def place(point: Point) -> tuple[float, int]:
        if isinstance(point.at, str):
            return math.inf, factors.index(point.at) if point.at in factors else len(factors)
        return float(point.at), 0

    return place


def _regime(row: Row) -> Regime:
    regime: Regime = row["regime"]  # type: ignore[assignment]  # a column's values are of several types
    return regime


def _n_train(row: Row) -> float:
    return float(row["n_train"] or 0)


def _method(places: Mapping[str | int | float, Sequence[Row]]) -> str:
    return str(next(iter(places.values()))[0]["method"])
