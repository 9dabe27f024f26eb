"""How far a study is: of one with its file and images, and of one that is read from its records alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adloc.cost.account import Account
from adloc.cost.words import account_json, accounted
from adloc.errors import in_one_line
from adloc.kept.study import KeptStudy
from adloc.printed import printable
from adloc.record.reasons import told
from adloc.study import incomplete, pending, search_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.study import Study


@dataclass(frozen=True, slots=True, repr=False)
class Status:
    """Counts of a study's runs.

    Attributes:
        study: its name.
        runs: planned.
        done: with a good record of today's data, weights and settings.
        failed: why a run failed, by the id of each that did.
        running: whether a process runs it now.
        account: what the last run took; None where that is not known.
        searches: how far the searches are; see `adloc.study.search_json`.
        lacking: by id of the runs done whose records lack figures that the study reports now: those figures.
    """

    study: str
    runs: int
    done: int
    failed: Mapping[str, str]
    running: bool
    account: Account | None = None
    searches: Mapping[str, object] = field(default_factory=dict)
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        """For people: lines."""
        return "\n".join(map(printable, (self.headline, *self.details)))

    @property
    def pending(self) -> int:
        """Runs that are still to come."""
        return self.runs - self.done - len(self.failed)

    @property
    def headline(self) -> str:
        """The counts, in words."""
        return f"{self.study}: {self.done} of {self.runs} runs done, {len(self.failed)} failed, {self.pending} to come"

    @property
    def details(self) -> list[str]:
        """What the last run took, whether one goes on, what records lack, and why runs failed: a line each."""
        took = [] if self.account is None else [f"the last run {accounted(self.account)}"]
        now = "a process is running it now" if self.running else "no process is running it now"
        lack = [told(self.lacking)] if self.lacking else []
        return [*took, now, *lack, *(f"  {run_id}: {in_one_line(error)}" for run_id, error in self.failed.items())]

    def as_json(self) -> dict[str, object]:
        """As plain values."""
        counts = {"runs": self.runs, "done": self.done, "failed": len(self.failed), "pending": self.pending}
        cost = {"cost": account_json(self.account)} if self.account else {}
        facts = {"study": self.study, **counts, "running": self.running, "failed_runs": list(self.failed)}
        lack = {"lacking": {run_id: list(names) for run_id, names in self.lacking.items()}} if self.lacking else {}
        return {**facts, **cost, **lack, **self.searches}


def status_of(there: Study | KeptStudy) -> Status:
    """The status of a prepared study, or of one by its records."""
    if isinstance(there, KeptStudy):
        done, failed = there.n_done, there.failed
        return Status(there.spec.study, len(there.planned), done, failed, there.is_running, lacking=there.lacking)
    name, todo, lack = there.spec.study, pending(there), incomplete(there)
    records = [record for run in todo if (record := there.records.get(run.run_id)) and record.key == run.key]
    failed = {record.run_id: (record.error or "").strip() for record in records if record.status == "failed"}
    return Status(
        name,
        len(there.plan.runs),
        len(there.plan.runs) - len(todo) + len(lack),
        failed,
        there.workspace.is_locked(name),
        Account.read(there.workspace.study_path(name)),
        search_json(there),
        lack,
    )
