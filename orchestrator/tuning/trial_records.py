"""The records of trials: the truth, from which MLflow and the Optuna study can be made again.

`studies/<study>/trials/<search>/search.json` says what is searched, `r<revision>/<number>.json` what each trial found.
When what is searched changes, a new revision begins and the old one is kept beside it: it goes on when the change is
undone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from adloc.datasets.checked import DamagedError
from adloc.record.files import read_checked, write_checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class TrialRecord(BaseModel):
    """What one trial found on the validation part, or why it found nothing.

    Attributes:
        format: of this record.
        search: its search.
        revision: of the search.
        number: from 0, the untuned setting.
        state: complete; pruned: it could not become the best any more; failed: see `error`.
        params: values of the space.
        hyperparameters: all of them, defaults included.
        figures: by result column, the mean over the categories that were tried.
        categories: the same, by category.
        started: ISO 8601, UTC.
        seconds: wall time, which is short when other trials had computed its stages.
        error: of a failed trial.
        transient: of a failed trial: the setting itself was not refused, so it is tried again at the next run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    study: str
    search: str
    method: str
    revision: int
    number: int
    repeat: int
    category: str | None
    state: Literal["complete", "pruned", "failed"]
    params: dict[str, JsonValue]
    hyperparameters: dict[str, JsonValue]
    figures: dict[str, float | None] = {}
    categories: dict[str, dict[str, float | None]] = {}
    started: str
    seconds: float
    error: str | None = None
    transient: bool = False

    @property
    def name(self) -> str:
        """Readable, and unique in the study: "trial-patchcore-007"."""
        revision = f"-r{self.revision}" if self.revision > 1 else ""
        return f"trial-{self.search}{revision}-{self.number:03d}"


class TrialRecords:
    """The trial records of one search, on disk."""

    def __init__(self, study_path: Path, search: str, fingerprint: Mapping[str, Any]) -> None:
        """Keep them under the study's folder of the workspace; `fingerprint`: of what is searched today."""
        self._root = study_path / "trials" / search
        self._about = self._root / "search.json"
        revisions = self._revisions()
        found = [each for each in revisions if each["fingerprint"] == fingerprint] or revisions
        self._present: dict[str, Any] | None = found[-1] if found else None

    @property
    def revision(self) -> int:
        """The last one that searches what is searched today, else the last one; 0 before the first."""
        return int(self._present["revision"]) if self._present else 0

    @property
    def ticket(self) -> str:
        """Of the revision: tells its Optuna study from that of another workspace."""
        return str(self._present["ticket"]) if self._present else ""

    def fingerprint(self) -> dict[str, Any] | None:
        """What the revision searches; None before the first."""
        return dict(self._present["fingerprint"]) if self._present else None

    def begin(self, fingerprint: Mapping[str, Any]) -> None:
        """Start the next revision; the records of those before stay where they are."""
        revisions = self._revisions()
        # Past every folder of records too: what is known of the searches may have been lost.
        folders = [int(path.name[1:]) for path in self._root.glob("r*") if path.name[1:].isdigit()]
        number = max([0, *folders, *(int(each["revision"]) for each in revisions)]) + 1
        self._present = {"revision": number, "ticket": uuid4().hex[:12], "fingerprint": dict(fingerprint)}
        write_checked(self._about, {"revisions": [*revisions, self._present]})

    def write(self, record: TrialRecord) -> None:
        """Keep a record."""
        write_checked(self._path(record.number), record.model_dump(mode="json"))

    def get(self, number: int) -> TrialRecord | None:
        """A trial of the present revision, or None if there is none that can be read."""
        try:
            return TrialRecord.model_validate_json(read_checked(self._path(number)))
        except (FileNotFoundError, ValidationError, DamagedError):
            return None

    def all(self) -> list[TrialRecord]:
        """The trials of the present revision, from number 0 to the first that is not there."""
        found: list[TrialRecord] = []
        while (record := self.get(len(found))) is not None:
            found.append(record)
        return found

    def _path(self, number: int) -> Path:
        return self._root / f"r{self.revision}" / f"{number:05d}.json"

    def _revisions(self) -> list[dict[str, Any]]:
        try:
            found = json.loads(read_checked(self._about))["revisions"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return []
        return found if isinstance(found, list) else []


def kept_trials(study_path: Path) -> Iterator[TrialRecord]:
    """The trials of the last revision of every search of a study, by the names of the searches."""
    for path in sorted((study_path / "trials").glob("*/search.json")):
        yield from TrialRecords(study_path, path.parent.name, {}).all()


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    """Every value that differs, with its dotted key: "space.neighbours.high: 15 -> 20"."""
    found: list[str] = []
    for key in [*old, *(k for k in new if k not in old)]:
        before, after = old.get(key, "nothing"), new.get(key, "nothing")
        where = f"{path}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{where}.")
        elif before != after:
            found.append(f"{where}: {before} -> {after}")
    return found
