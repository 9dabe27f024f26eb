"""Ablations over choices: which settings differ in one or two parameters alone, numbers or not."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.material import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material


@dataclass(frozen=True, slots=True)
class Varied:
    """A parameter that takes several values in a method's settings.

    Attributes:
        name: of the parameter.
        values: distinct, numbers ascending, others in the order of the study file.
    """

    name: str
    values: tuple[object, ...]

    @property
    def numeric(self) -> bool:
        """Whether every value is a number, so that it can be an axis."""
        return all(number(v) is not None for v in self.values)

    @property
    def words(self) -> list[str]:
        """The values as they are read: layer2-layer3, none, 0.1."""
        return [as_words(v) for v in self.values]


def varied(material: Material, method: str) -> list[Varied]:
    """The parameters that take several values in this study; those that some settings lack are left out."""
    params = [s.params for s in material.settings if s.method == method]
    found: list[Varied] = []
    for name in params[0] if params else ():
        if not all(name in p for p in params):
            continue
        distinct = {_told_apart(p[name]): p[name] for p in params}
        if len(distinct) > 1:
            values = list(distinct.values())
            known = [n for v in values if (n := number(v)) is not None]
            if len(known) == len(values):
                values.sort(key=lambda v: number(v) or 0.0)
            found.append(Varied(name, tuple(values)))
    return found


def _told_apart(value: object) -> object:
    """Equal for values that are written the same; 1, 1.0 and True are not, nor are lists hashable."""
    return (type(value), value) if isinstance(value, str | int | float) else json.dumps(value)


def setting_with(material: Material, lead: Setting, changed: dict[str, object]) -> Setting | None:
    """The setting that differs from the lead in these parameters alone."""
    return material.by_params.get(lead.alike({**lead.params, **changed}))


@dataclass(frozen=True, slots=True)
class Pivot:
    """Settings over two parameters, the others as the lead has them.

    Attributes:
        lead: the setting that was chosen on the validation part, or the first where nothing was validated.
        rows: parameter of the rows.
        columns: parameter of the columns.
        cells: (rows, columns) settings; None where the study has none.
        chosen: row and column of the lead; None where nothing was validated, so nothing was chosen.
    """

    lead: Setting
    rows: Varied
    columns: Varied
    cells: tuple[tuple[Setting | None, ...], ...]
    chosen: Place | None

    def figures(self, material: Material, metric: str) -> list[list[float | None]]:
        """(rows, columns): macro test figures in the first regime; None where there is none."""
        values = [
            [material.macro(s, material.regimes[0], metric) if s else math.nan for s in row] for row in self.cells
        ]
        return [[v if math.isfinite(v) else None for v in row] for row in values]


@dataclass(frozen=True, slots=True)
class Place:
    """A cell of a pivot."""

    row: int
    column: int


def pivots(material: Material, lead: Setting) -> list[Pivot]:
    """Every pair of parameters that the lead's method varies, where the cells are more than a row or a diagonal."""
    parameters = varied(material, lead.method)
    found: list[Pivot] = []
    for i, rows in enumerate(parameters):
        for columns in parameters[i + 1 :]:
            cells = tuple(
                tuple(setting_with(material, lead, {rows.name: a, columns.name: b}) for b in columns.values)
                for a in rows.values
            )
            if sum(s is not None for row in cells for s in row) > max(len(rows.values), len(columns.values)):
                found.append(Pivot(lead, rows, columns, cells, _place(material, lead, cells)))
    return found


def _place(material: Material, lead: Setting, cells: Sequence[Sequence[Setting | None]]) -> Place | None:
    if math.isnan(material.validated(lead)):
        return None
    return next((Place(i, j) for i, row in enumerate(cells) for j, s in enumerate(row) if s is lead), None)


def as_words(value: object) -> str:
    """A parameter's value in a table: lists joined, numbers short, a file by its name."""
    if isinstance(value, list | tuple):
        return "-".join(as_words(v) for v in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).rpartition("/")[2] if isinstance(value, str) else str(value)
