"""What a user is told of a mistake: what was found, the rule, the remedy, in three lines, and an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from click.testing import Result

WRONG = 2  # exit code: the file or its data is wrong, and nothing was run


@dataclass(frozen=True, slots=True)
class Told:
    """One complaint, as it was printed.

    Attributes:
        found: the first line.
        rule: the second.
        remedy: the third.
    """

    found: str
    rule: str
    remedy: str


def complaints(text: str, head: str = "") -> list[Told]:
    """The complaints in what was printed: a line that begins with `head`, then two that are indented.

    Raises:
        AssertionError: there is a traceback, or a line that belongs to no complaint.
    """
    assert "Traceback" not in text, text
    lines = [line for line in text.splitlines() if line.strip()]
    found: list[Told] = []
    starts = [number for number, line in enumerate(lines) if line.startswith(head) and not line.startswith(" ")]
    for number in starts:
        block = lines[number + 1 : number + 3]
        assert len(block) == 2, text
        assert all(line.startswith("  ") and line.strip() for line in block), text
        rule, remedy = (line.strip() for line in block)
        found.append(Told(lines[number].removeprefix(head), rule, remedy))
    return found


def refused(result: Result, words: str, head: str = "") -> Told:
    """The complaint that has these words in its first line, of a command that refused what it was given.

    Raises:
        AssertionError: it did not, or did not say so as it should.
    """
    assert result.exit_code == WRONG, result.output
    found = complaints(result.stdout if head else result.stderr, head)
    fitting = [told for told in found if words in told.found]
    assert fitting, f"{words!r} is not in\n{result.output}"
    return fitting[0]
