"""What a verification finds, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.verify.compared import Compared

PROMISE = (
    "the same bits are promised on one kind of processor and device with the same versions, whatever the number of"
    " threads (networks that a run trains: with the same number); elsewhere scores within a thousandth of their spread"
)


@dataclass(frozen=True, slots=True)
class Verified:
    """A run beside the same run computed again.

    Attributes:
        run_id: of the run.
        compared: its stages in their order, inputs first, then the files of its record.
        elsewhere: what of the machine and its versions is another one than the record names: (then, now).
        score_gap: the largest absolute difference of an image's score; None where the record has none to compare.
        tolerance: how far a score may be off where the machine or a version is another one.
        error: why it could not be computed again; empty where it could.
    """

    run_id: str
    compared: tuple[Compared, ...]
    elsewhere: dict[str, tuple[str, str]]
    score_gap: float | None = None
    tolerance: float | None = None
    error: str = ""

    @property
    def first(self) -> Compared | None:
        """The first that is damaged or differs; None where nothing is."""
        return next((each for each in self.compared if each.outcome in ("damaged", "differs")), None)

    @property
    def is_same(self) -> bool:
        """Whether all that could be compared has the same bits."""
        return not self.error and self.first is None

    @property
    def is_within_tolerance(self) -> bool:
        """Whether no image's score is off by more than another machine or version may be."""
        return self.score_gap is not None and self.tolerance is not None and self.score_gap <= self.tolerance


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """What a sample of a study's runs showed.

    Attributes:
        study: its name.
        runs: of the sample, in the order of the plan.
        n_recorded: runs that the sample was drawn from: those with a record of today's data, weights and settings,
            or with one that cannot be read.
    """

    study: str
    runs: tuple[Verified, ...]
    n_recorded: int

    def __repr__(self) -> str:
        """For people: lines."""
        return "\n".join(describe_verification(self))


def describe_verification(found: Verification) -> Iterator[str]:
    """What the table has no room for: what differs of a stage, what could not be compared and why, and where it ran."""
    for run in found.runs:
        if run.error:
            yield f"{run.run_id} could not be computed again: {run.error}"
        elif run.first is not None:
            n_more = sum(each.outcome in ("differs", "damaged") for each in run.compared) - 1
            after = f"; so do {n_more} after it" if n_more else ""
            yield f"{run.run_id}: {run.first.what} {_how(run.first.outcome)}: {run.first.detail}{after}"
    absent = dict.fromkeys(
        f"{each.what}: {each.detail}" for run in found.runs for each in run.compared if each.outcome == "absent"
    )
    yield from (f"not compared: {line}" for line in absent)
    n_same = sum(run.is_same for run in found.runs)
    yield f"{found.study}: {n_same} of {len(found.runs)} runs have the same bits, of {found.n_recorded} recorded ones"
    yield from _elsewhere(found)


def _how(outcome: str) -> str:
    return "is damaged" if outcome == "damaged" else "differs"


def _elsewhere(found: Verification) -> Iterator[str]:
    """That the study ran on something else, and what may be off then."""
    others = dict.fromkeys(
        f"{name}: {then} when it was recorded, {now} now"
        for run in found.runs
        for name, (then, now) in run.elsewhere.items()
    )
    if not others:
        return
    yield from others
    yield PROMISE
    for run in found.runs:
        if run.elsewhere and run.first is not None and run.score_gap is not None and run.tolerance is not None:
            within = "within" if run.is_within_tolerance else "beyond"
            yield f"{run.run_id}: scores off by at most {run.score_gap:.3g}, {within} the allowed {run.tolerance:.3g}"
