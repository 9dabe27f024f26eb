"""The records of a study's runs behind the URL: what counts, wherever they were made.

Each time that a run is recorded its folder is a version, `studies/<study>/records/<run_id>/<number>.json`: the names of
its files with their SHA-256, written after them. So a record is there at once or not at all; the one before it is
superseded, and one without files says that there is none any more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from adloc.keys import hash_file
from adloc.record.files import empty_draft, read_checked, sync_files, write_checked
from adloc.remote.versions import Versions, number_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adloc.datasets.objects import Objects
    from adloc.record.records import Records
    from adloc.remote.files import Files

_COUNTED = ("record.json", "images.csv")  # what is asked of a record that was superseded
_ATTEMPTS = 5


class RunRecords:
    """The records of one study, here and behind the URL."""

    def __init__(self, objects: Objects, files: Files, study: str, records: Records, memory: Path) -> None:
        """Keep in step.

        Args:
            objects: behind the URL.
            files: where contents are kept.
            study: its name.
            records: of this machine.
            memory: a file in which this machine keeps which version of each record it has.
        """
        self._objects = objects
        self._files = files
        self._folder = f"studies/{study}/records"
        self._records = records
        self._memory = memory

    def pull(self) -> None:
        """Take over the records that are newer there."""
        known, there = self._known(), self._there()
        for run_id, numbers in there.items():
            if numbers[-1] > known.get(run_id, (0, ""))[0]:
                self._take(run_id, numbers)
                known[run_id] = (numbers[-1], self._content(run_id))
                self._remember(known)

    def push(self, run_id: str) -> None:
        """Have a run's record there as it is here; where there is none here, say that."""
        folder, known = self._records.path(run_id), self._known()
        versions = Versions(self._objects, f"{self._folder}/{run_id}")
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        hashes = {name: hash_file(path) for name, path in sorted(files.items())}
        self._files.send({hashes[name]: path for name, path in files.items()})
        number = known.get(run_id, (0, ""))[0]
        for _ in range(_ATTEMPTS):
            written = versions.add(number, hashes)
            if written is not None:
                self._remember(self._known() | {run_id: (written.number, self._content(run_id))})
                return
            number = versions.last(number + 1).number
        raise RuntimeError(f"{versions.folder}: another process writes all the time")

    def push_missing(self) -> None:
        """Have all records there that are here: a process may have died after it wrote one."""
        known = self._known()
        for record in self._records.all():
            if known.get(record.run_id, (0, ""))[1] != self._content(record.run_id):
                self.push(record.run_id)

    def _there(self) -> dict[str, list[int]]:
        """The numbers that can be seen, in order, by run."""
        found: dict[str, list[int]] = {}
        for name in self._objects.list(self._folder):
            if number_of(name):
                found.setdefault(name.split("/")[-2], []).append(number_of(name))
        return {run_id: sorted(numbers) for run_id, numbers in found.items()}

    def _take(self, run_id: str, numbers: list[int]) -> None:
        """Make the last version the record, after those before it, of which this machine may lack some."""
        versions = Versions(self._objects, f"{self._folder}/{run_id}")
        contents = [self._files_of(versions.name(number)) for number in numbers]
        for number, content in enumerate([each for each in contents[:-1] if each][self._n_superseded(run_id) :]):
            if number or not self._records.path(run_id).exists():  # the first is the one that is here
                self._fetch(run_id, {name: content[name] for name in _COUNTED if name in content})
                self._records.adopt(run_id)
                self._records.set_aside(run_id)
        if not contents[-1]:
            self._records.set_aside(run_id)
        elif contents[-1].get("record.json") != self._content(run_id):  # the same where this machine forgot that it is
            self._fetch(run_id, contents[-1])
            self._records.adopt(run_id)

    def _fetch(self, run_id: str, files: Mapping[str, str]) -> None:
        draft = empty_draft(self._records.path(run_id).parent, run_id)
        self._files.fetch(draft, files)
        sync_files(draft)

    def _n_superseded(self, run_id: str) -> int:
        return len(self._records.superseded(run_id))

    def _files_of(self, name: str) -> dict[str, str]:
        data = self._objects.read(name)
        return {} if data is None else dict(json.loads(data))

    def _content(self, run_id: str) -> str:
        """Tells one record of a run from another; "" for none."""
        path = self._records.path(run_id) / "record.json"
        return hash_file(path) if path.is_file() else ""

    def _known(self) -> dict[str, tuple[int, str]]:
        try:
            content = json.loads(read_checked(self._memory))
            content = content.get("runs", content)  # which earlier versions kept alone
            return {str(run_id): (int(number), str(content)) for run_id, (number, content) in content.items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}

    def _remember(self, known: Mapping[str, tuple[int, str]]) -> None:
        write_checked(self._memory, {"runs": {run_id: list(each) for run_id, each in known.items()}})
