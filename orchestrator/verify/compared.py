"""One thing that is kept of a run, beside the same computed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from adloc.verify.bits import Difference

Outcome = Literal["equal", "differs", "damaged", "absent"]
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Compared:
    """A stage's result, or a file of a record, beside the one that was made again.

    Attributes:
        what: "patchcore.coreset of train", or "record: images.csv".
        outcome: "absent" where there is nothing to compare with.
        detail: which values differ, what is damaged, or why nothing is there; empty where all is equal.
        largest: the largest absolute difference of a number; None where no number differs.
    """

    what: str
    outcome: Outcome
    detail: str = ""
    largest: float | None = None

    @classmethod
    def of(cls, what: str, found: Difference | None) -> Self:
        """Equal where nothing differs."""
        return cls(what, "equal") if found is None else cls(what, "differs", listed(found.names), found.largest)


def listed(names: tuple[str, ...]) -> str:
    """The first names, and how many more there are.

    Example:
        >>> listed(("a", "b", "c", "d", "e"))
        'a, b, c and 2 more'
    """
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
