"""A table once, for the page, as CSV and as LaTeX."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from adloc.printed import DASH, MINUS, csv_lines, escape_latex, printable

if TYPE_CHECKING:
    from adloc.uncertainty.resampling import Interval

EMPTY = DASH
LONGEST_UNBROKEN = 26  # letters of a cell that is not wrapped
FEW_COLUMNS = 3  # up to these, sentences get most of the page
LONGEST_LATEX = 60  # rows; longer tables are for machines


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry.

    Attributes:
        text: as it is read.
        value: by which it is sorted; None for words.
        best: marked as the best of its kind.
        low: lower end of an interval, as it is read; "" without one.
        high: upper end.
        tone: "good", "bad" or "", for words that judge.
    """

    text: str
    value: float | None = None
    best: bool = False
    low: str = ""
    high: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under heads.

    Attributes:
        name: of its files.
        caption: what it shows, in a sentence.
        heads: of the columns.
        rows: as many cells in each as there are heads.
        filters: heads whose values can be chosen from on the page.
        long: whether it is shown folded when the page opens.
        bold: numbers of rows that stand out (averages).
    """

    name: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    filters: tuple[str, ...] = ()
    long: bool = False
    bold: frozenset[int] = field(default_factory=frozenset)

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers."""
        cells = [row[column] for row in self.rows]
        return any(c.value is not None for c in cells) and all(c.value is not None or c.text == EMPTY for c in cells)

    def options(self, head: str) -> list[str]:
        """The distinct values of a column, in order of appearance."""
        column = self.heads.index(head)
        return list(dict.fromkeys(row[column].text for row in self.rows))

    def csv(self) -> str:
        """With full figures; intervals in columns of their own."""
        split = [any(row[i].low for row in self.rows) for i in range(len(self.heads))]
        heads = [[h, f"{h} ci95_low", f"{h} ci95_high"] if s else [h] for h, s in zip(self.heads, split, strict=True)]
        lines = [[name for names in heads for name in names]]
        for row in self.rows:
            cells: list[str] = []
            for cell, wide in zip(row, split, strict=True):
                shown = "" if cell.text == EMPTY else cell.text if cell.value is None else repr(cell.value)
                cells += [shown, cell.low, cell.high] if wide else [shown]
            lines.append(cells)
        return csv_lines(lines)

    def html_body(self) -> str:
        """The rows of the page's table: written here, for a template takes four times as long over 30,000 cells."""
        numeric = [self.numeric(i) for i in range(len(self.heads))]
        lines = []
        for number, row in enumerate(self.rows):
            kind = ' class="average"' if number in self.bold else ""
            cells = "".join(_html_cell(cell, numeric=n) for cell, n in zip(row, numeric, strict=True))
            lines.append(f"<tr{kind}>{cells}</tr>")
        return "\n".join(lines)

    def latex(self) -> str:
        """A booktabs table, best figures bold; a long table is cut, and says so."""
        columns = "".join("r" if self.numeric(i) else self._latex_words(i) for i in range(len(self.heads)))
        lines = [
            "% needs \\usepackage{booktabs,graphicx}",
            "\\begin{table}",
            "\\centering",
            "\\small",
            f"\\caption{{{escape_latex(self.caption)}}}",
            f"\\label{{tab:{self.name.replace('_', '-')}}}",
            # a table wider than the page is made smaller, others are left alone
            "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            " & ".join(escape_latex(head) for head in self.heads) + r" \\",
            "\\midrule",
        ]
        lines += [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in self.rows[:LONGEST_LATEX]]
        if len(self.rows) > LONGEST_LATEX:
            left_out = f"{len(self.rows) - LONGEST_LATEX} more rows in {self.name}.csv"
            lines.append(f"\\multicolumn{{{len(self.heads)}}}{{l}}{{{escape_latex(left_out)}}} \\\\")
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}}", "\\end{table}", ""])

    def _latex_words(self, column: int) -> str:
        """A column of sentences is wrapped: LaTeX would set them beyond the page."""
        longest = max(len(text) for text in (self.heads[column], *(row[column].text for row in self.rows)))
        if longest <= LONGEST_UNBROKEN:
            return "l"
        return "p{.7\\linewidth}" if len(self.heads) <= FEW_COLUMNS else "p{11em}"


def words(text: object, tone: str = "") -> Cell:
    """A cell of words."""
    return Cell(EMPTY if text in (None, "") else str(text), tone=tone)


def figure(
    value: object, digits: int = 3, interval: Interval | None = None, *, best: bool = False, signed: bool = False
) -> Cell:
    """A cell of a number, with its interval where there is one."""
    if not isinstance(value, int | float) or math.isnan(value):
        return Cell(EMPTY)
    sign = "+" if signed else ""
    known = interval is not None and not math.isnan(interval.low)
    low = f"{interval.low:{sign}.{digits}f}" if known and interval is not None else ""
    high = f"{interval.high:{sign}.{digits}f}" if known and interval is not None else ""
    return Cell(f"{value:{sign}.{digits}f}".replace("-", MINUS), float(value), best, low, high)


def count(value: int) -> Cell:
    """A cell of a whole number."""
    return Cell(f"{value:,}".replace(",", "\u202f"), float(value))


def significant(value: object) -> Cell:
    """A cell of a quantity whose size is not known beforehand, to three digits."""
    if not isinstance(value, int | float) or math.isnan(value):
        return Cell(EMPTY)
    whole = abs(value) >= 100  # noqa: PLR2004
    return Cell(f"{value:.0f}" if whole else f"{value:.3g}", float(value))


def _html_cell(cell: Cell, *, numeric: bool) -> str:
    kinds = ["n"] if numeric else [cell.tone]
    kinds += ["best"] if cell.best else ["w"] if not numeric and len(cell.text) > LONGEST_UNBROKEN else []
    kind = " ".join(k for k in kinds if k)
    kind = f' class="{kind}"' if kind else ""
    low, high = cell.low.replace("-", MINUS), cell.high.replace("-", MINUS)
    between = f"<small>{low} … {high}</small>" if cell.low else ""
    value = "" if cell.value is None else f' data-v="{cell.value!r}"'
    return f"<td{kind}{value}>{escape(printable(cell.text))}{between}</td>"


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    text = f"\\textbf{{{text}}}" if cell.best else text
    low, high = escape_latex(cell.low.replace("-", MINUS)), escape_latex(cell.high.replace("-", MINUS))
    return f"{text} {{\\scriptsize [{low}, {high}]}}" if cell.low else text
