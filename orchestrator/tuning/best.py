"""The best trials of a search, told from the records that were added since they were asked for last. Pure."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from adloc.keys import content_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adloc.tuning.trial_records import TrialRecord


class Best:
    """Remembers what it was told: of each further record it looks at the best so far alone."""

    def __init__(
        self, is_feasible: Callable[[TrialRecord], bool], gains: Callable[[TrialRecord], tuple[float, ...]]
    ) -> None:
        """Of no records yet; whether one keeps the constraints, and its objectives, of which more is better."""
        self._is_feasible = is_feasible
        self._gains = gains
        self._forget()

    def of(self, records: Sequence[TrialRecord]) -> list[TrialRecord]:
        """The best trial that keeps the constraints; for several objectives the Pareto set, in order of number.

        Of equals the earlier one: a setting that is no better than the default's does not replace it. Of a setting
        that was tried twice the first one counts.
        """
        if len(self._told) > len(records) or not all(map(operator.is_, self._told, records)):
            self._forget()
        for record in records[len(self._told) :]:
            self._told.append(record)
            self._add(record)
        return sorted((record for _, record in self._front), key=lambda r: r.number)

    def _forget(self) -> None:
        self._told: list[TrialRecord] = []
        self._settings: set[str] = set()
        self._front: list[tuple[tuple[float, ...], TrialRecord]] = []  # with their gains

    def _add(self, record: TrialRecord) -> None:
        if record.state != "complete" or not self._is_feasible(record):
            return
        setting = content_key([record.params])
        if setting in self._settings:
            return
        self._settings.add(setting)
        gains = self._gains(record)
        # Equals of several objectives stand side by side: which of them is wanted, none of these figures says.
        if any(_is_no_worse(other, gains) and (other != gains or len(gains) == 1) for other, _ in self._front):
            return
        self._front = [each for each in self._front if each[0] == gains or not _is_no_worse(gains, each[0])]
        self._front.append((gains, record))


def _is_no_worse(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True))
