"""What a verification found, in lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.verify.verification import Verification

PROMISE = (
    "the same bits are promised on one kind of processor and device with the same versions, whatever the number of"
    " threads (networks that a run trains: with the same number); elsewhere scores within a thousandth of their spread"
)


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
