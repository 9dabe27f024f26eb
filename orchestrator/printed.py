"""Names from outside, as they are written: nothing in them is an order to a terminal or to LaTeX, or ends a row."""

from __future__ import annotations

import csv
import re
import unicodedata
from io import StringIO
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUS, DASH, TIMES = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
# Controls, what turns the direction of writing or is not seen, halves of surrogate pairs, separators of lines.
_ORDERS = ("Cc", "Cf", "Cs", "Zl", "Zp")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # at the start of a row it would be an argument of the line break before it
    "*": "{*}",
    MINUS: "$-$",
    DASH: "--",
    TIMES: r"$\times$",
    "\u202f": r"\,",
    "Δ": r"$\Delta$",
    "≥": r"$\geq$",
    "…": r"\ldots{}",
}
_SPECIAL = re.compile("|".join(map(re.escape, _LATEX)))


def printable(text: str, keep: str = "") -> str:
    r"""The text with what a terminal would obey written out; but for the letters in `keep`.

    >>> printable("a\x1b[31mb\nc")
    'a\\x1b[31mb\\nc'
    >>> printable("a\nb", keep="\n")
    'a\nb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode() if _is_order(letter) and letter not in keep else letter
        for letter in text
    )


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it stands; letters beyond ASCII that plain LaTeX lacks become '?'."""
    escaped = _SPECIAL.sub(lambda found: _LATEX[found.group()], printable(text))
    return escaped.encode("ascii", "replace").decode()


def csv_line(values: Iterable[object]) -> str:
    r"""A row of a CSV file (RFC 4180, but for the end of a row, a line feed), names as they are.

    >>> csv_line(["a,b", "=cmd()", 0.5, None])
    '"a,b",=cmd(),0.5,\n'
    """
    values = list(values)
    line = _csv([values], csv.QUOTE_MINIMAL)
    # a lone carriage return ends a row for readers, but not for the writer, which leaves it unquoted
    return line if "\r" not in line else _csv([values], csv.QUOTE_ALL)


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """The `csv_line` of each row, one after the other; a fifth of the time where there are many."""
    rows = list(map(tuple, rows))
    text = _csv(rows, csv.QUOTE_MINIMAL)
    return text if "\r" not in text else "".join(map(csv_line, rows))


def _csv(rows: Iterable[Iterable[object]], quoting: Literal[0, 1]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows(rows)
    return text.getvalue()


def _is_order(letter: str) -> bool:
    return unicodedata.category(letter) in _ORDERS
