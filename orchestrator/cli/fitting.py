"""A table as wide as the terminal: every figure is shown whole, whatever the width."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rich.table import Table
from rich.text import Text

from adloc.printed import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

WORDS = (
    "category", "method", "regime", "domain", "scope", "status", "layers", "images of", "metric", "run",
    "first that differs", "part", "stage", "cost", "by figures", "defect types", "domains",
)  # fmt: skip  # the others hold numbers
GAP = 2


@dataclass(frozen=True, slots=True)
class _Column:
    head: str
    shown: str  # the head as it is printed, broken at its spaces where that is needed
    cells: tuple[str, ...]
    tells_apart: bool

    @property
    def width(self) -> int:
        lines = (line for cell in self.cells for line in cell.split("\n"))
        return max(map(len, [*self.shown.split(), *lines]), default=0)

    def broken(self) -> _Column:
        """As narrow as it can be: the head broken at its spaces, lists behind their commas."""
        cells = tuple(cell.replace(", ", ",\n") for cell in self.cells)
        return replace(self, shown=self.head.replace("_", " "), cells=cells)


def print_fitting(
    console: Console,
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    n_keys: int,
    n_plain: int | None = None,
) -> None:
    """Print a table as narrow as the terminal asks for; nothing is left out.

    Where it is too wide its heads and lists are broken and its columns set closer; then columns that say the same in
    every row are named above it instead; then it is printed in blocks, each with the columns that tell the rows apart.
    Where those alone take the width, a block has the rows' numbers instead.

    Args:
        console: where to.
        heads: of the columns.
        lines: cells of each row.
        n_keys: first columns, which tell the rows apart.
        n_plain: rows before those that are bold; None where none is.
    """
    cells = [[printable(cell) for cell in line] for line in lines]
    columns = [_Column(h, h, tuple(line[i] for line in cells), i < n_keys) for i, h in enumerate(map(printable, heads))]
    gap = GAP
    if _width(columns, gap) > console.width:
        gap, columns = 1, [column.broken() for column in columns]
    if _width(columns, gap) > console.width and len(lines) > 1:
        columns = _without_same(console, columns)
    for number, block in enumerate(_blocks(columns, gap, console.width)):
        if number:
            console.print()
        console.print(_table(block, gap, len(lines) if n_plain is None else n_plain))


def _without_same(console: Console, columns: Sequence[_Column]) -> list[_Column]:
    """The columns that tell rows apart, at least one; what the others say in every row is printed."""
    same = [column for column in columns if len(set(column.cells)) == 1]
    left = [column for column in columns if column not in same] or same[:1]
    if said := [f"{column.head} {column.cells[0]}" for column in same if column not in left and column.cells[0]]:
        console.print(f"in every row: {', '.join(said)}", markup=False)
    return left


def _table(columns: Sequence[_Column], gap: int, n_plain: int) -> Table:
    """The columns beside each other; rows from `n_plain` on are bold."""
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.head in WORDS else "right"
        table.add_column(Text(column.shown), justify=justify, width=column.width, overflow="fold")
    for row, shown in enumerate(zip(*(column.cells for column in columns), strict=True)):
        table.add_row(*map(Text, shown), style="bold" if row >= n_plain else None)
    return table


def plain_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """All of a table whatever its width, for a file or a pipe: thousands of rows take no time."""
    shown = [[printable(cell) for cell in line] for line in (heads, *lines)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    left = [head in WORDS for head in heads]
    return "".join(
        (" " * GAP)
        .join(
            cell.ljust(width) if words else cell.rjust(width)
            for cell, width, words in zip(line, widths, left, strict=True)
        )
        .rstrip()
        + "\n"
        for line in shown
    )


def _width(columns: Sequence[_Column], gap: int) -> int:
    return sum(column.width for column in columns) + gap * (len(columns) - 1)


def _blocks(columns: Sequence[_Column], gap: int, width: int) -> Iterator[list[_Column]]:
    """The columns in as many blocks as the width asks for; the first columns of each tell the rows apart."""
    if _width(columns, gap) <= width:
        yield list(columns)
        return
    keys = [column for column in columns if column.tells_apart]
    rest = [column for column in columns if not column.tells_apart]
    if not rest or any(_width([*keys, column], gap) > width for column in rest):
        n_rows = len(columns[0].cells)
        keys = [_Column("row", "row", tuple(map(str, range(1, n_rows + 1))), tells_apart=True)]
        rest = list(columns)
    block = list(keys)
    for column in rest:
        if len(block) > len(keys) and _width([*block, column], gap) > width:
            yield block
            block = list(keys)
        block.append(column)
    yield block
