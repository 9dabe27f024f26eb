"""Errors that a user can mend: what was found and where, the rule, the remedy. A bug shows a traceback instead."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong.

    Attributes:
        found: "studies/coreset_ablation.yaml:14: methods[0].grid.coreset_ratio[1] is 0".
        rule: "it must be above 0 and at most 1".
        remedy: "use 0.01, or 1 to keep every patch".
    """

    found: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        """Three lines, the last two indented; names of files cannot break them, nor give orders to a terminal."""
        rule, remedy = (_printable(text, besides="\n") for text in (self.rule, self.remedy))
        return f"{_printable(self.found)}\n  {rule}\n  {remedy}"


class UserError(Exception):
    """Something that the user asked for cannot be done; every complaint is listed, not only the first."""

    def __init__(self, *complaints: Complaint) -> None:
        """Keep the complaints; at least one."""
        self.complaints = complaints
        super().__init__("\n".join(str(c) for c in complaints))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: a user's mistake has none."""
        return str(self).splitlines()


class NotThereError(UserError):
    """Images or weights that a study file names cannot be used; what is recorded of the study can still be read."""


class StageMismatchError(Exception):
    """A stage was given a part that it must never see: a bug in the planner, never a user's mistake."""


class StageFailedError(Exception):
    """A stage failed in another process; the text is what a record of the failure holds.

    Attributes:
        refused: whether the method refused its setting, which it will do again.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


def in_one_line(text: str) -> str:
    r"""A kept failure in one line: all of a complaint, what was found first; of a traceback the exception itself.

    Example:
        >>> in_one_line("size is 0\n  it must be above 0\n  use 224")
        'size is 0; it must be above 0; use 224'
        >>> in_one_line("Traceback (most recent call last):\n  File ..\nValueError: no shape\n  of these")
        'ValueError: no shape'
    """
    _, traced, after = text.strip().rpartition(TRACEBACK)
    if traced:
        return next((line for line in after.splitlines() if line and not line.startswith((" ", "\t"))), "")
    complaint = text.strip().splitlines()[:3]  # of the first, where there are several
    return "; ".join(line.strip() for line in complaint)


def _printable(text: str, besides: str = "") -> str:
    """The text with what cannot be printed as an escape: line breaks, control characters, bytes that are not UTF-8."""
    return "".join(c if c.isprintable() or c in besides else ascii(c)[1:-1] for c in text)


def nearest(word: str, choices: Sequence[str]) -> str:
    """ "did you mean X?", or the list of choices."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(choices)}"
