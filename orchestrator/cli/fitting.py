"""A table as wide as the terminal: figures are shown whole or left out, and what is left out is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

WORDS = ("category", "method", "regime", "domain", "scope", "status", "layers")  # the others hold numbers
GAP = 2


def print_fitting(
    console: Console, heads: Sequence[str], lines: Sequence[Sequence[str]], n_plain: int | None = None
) -> None:
    """Print a table; where it is too wide its heads are broken and its columns set closer, then the last left out.

    Args:
        console: where to.
        heads: of the columns.
        lines: cells of each row.
        n_plain: rows before those that are bold; None where none is.
    """
    gap, shown, n = GAP, list(heads), len(heads)
    widths = _widths(shown, lines)
    if sum(widths) + gap * (n - 1) > console.width:
        gap, shown = 1, [head.replace("_", " ") for head in heads]
        widths = _widths(shown, lines)
        while n > 1 and sum(widths[:n]) + gap * (n - 1) > console.width:
            n -= 1
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
    for head, word, width in zip(heads[:n], shown, widths, strict=False):
        table.add_column(word, justify="left" if head in WORDS else "right", width=width)
    for number, line in enumerate(lines):
        table.add_row(*line[:n], style="bold" if n_plain is not None and number >= n_plain else None)
    console.print(table)
    if n < len(heads):
        console.print(f"not shown at this width: {', '.join(heads[n:])}")


def plain_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """All of a table whatever its width, for a file or a pipe: thousands of rows take no time."""
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    left = [head in WORDS for head in heads]
    return "".join(
        (" " * GAP)
        .join(
            cell.ljust(width) if words else cell.rjust(width)
            for cell, width, words in zip(line, widths, left, strict=True)
        )
        .rstrip()
        + "\n"
        for line in (heads, *lines)
    )


def _widths(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[int]:
    """Of the columns, heads broken at their spaces."""
    return [max(map(len, [*head.split(), *(line[i] for line in lines)])) for i, head in enumerate(heads)]
