"""What two studies or two runs differ in."""

from __future__ import annotations

from dataclasses import dataclass
from os import fspath
from typing import TYPE_CHECKING

from adloc.answer.difference_words import describe_differences
from adloc.answer.differences import compare as find_differences
from adloc.api.asked import user_errors
from adloc.api.frames import frame_of
from adloc.printed import printable
from adloc.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from adloc.answer.differences import Differences
    from adloc.api.asked import Place


@dataclass(frozen=True, slots=True, repr=False)
class Compared:
    """Two studies or two runs side by side.

    Attributes:
        names: of the two.
        found: all that differs.
    """

    names: tuple[str, str]
    found: Differences

    def __repr__(self) -> str:
        """For people: lines."""
        return printable(describe_differences(self.found, self.names, "`found` has all"), keep="\n")

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each metric of each pair of runs that differs: runs, metric, first, second, difference."""
        return frame_of(
            [
                {
                    "runs": pair.what,
                    "first_run_id": pair.first,
                    "second_run_id": pair.second,
                    "metric": name,
                    "first": one,
                    "second": other,
                    "difference": None if one is None or other is None else other - one,
                }
                for pair in self.found.pairs
                for name, (one, other) in pair.metrics.items()
            ]
        )


@user_errors
def compare(a: Place, b: Place, *, workspace: Place | None = None) -> Compared:
    """Say what two studies or two runs differ in; see `adloc study compare`.

    Args:
        a: a study file, the folder of a study in a workspace, or the name of a study or a run_id in this one.
        b: the same.
        workspace: where the records are: $ADLOC_WORKSPACE, else ./mlruns.

    Raises:
        UserError: no such study or run, or nothing is recorded of it.
    """
    names = fspath(a), fspath(b)
    place = Workspace.find(None if workspace is None else fspath(workspace))
    return Compared(names, find_differences(*names, place))
