"""The door to a workspace behind a URL: its identity, its store, its studies, its ledger.

<url>/workspace.json          what this workspace is, wherever it is reached from
<url>/store/                  stage results; weights/ of networks that a machine may lack
<url>/studies/<study>/        records/<run_id>/, state/, lease/: numbered lists of files, and claims
<url>/files/                  what those lists name, by content
<url>/sealed/                 the ledger, a numbered object a line
<url>/forgotten/              which results `--fresh` has forgotten, a numbered object each time
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from adloc.datasets.checked import DamagedError, from_checked
from adloc.datasets.copies import cache_path
from adloc.datasets.objects import Objects, ReadOnlyError
from adloc.errors import Complaint, UserError
from adloc.record.files import read_checked, write_checked
from adloc.record.records import Records
from adloc.remote import keeping
from adloc.remote.files import Files
from adloc.remote.lease import Lease
from adloc.remote.results import MEMORY, SharedStore
from adloc.remote.run_records import RunRecords
from adloc.remote.study_files import StudyFiles
from adloc.remote.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adloc.remote.keeping import Kept

_IDENTITY = "workspace.json"
_FORMAT = 1


class Shared:
    """A workspace behind a URL, with the folder in which this machine keeps its copy.

    Attributes:
        url: of the workspace.
        root: of the copy.
    """

    def __init__(self, url: str) -> None:
        """Open the workspace, or make it.

        Raises:
            UnreachableError: it cannot be reached with these credentials, or be made there.
        """
        self._objects = Objects(url)
        self.url = self._objects.url
        plain = re.sub(r"[^A-Za-z0-9]+", "-", self.url)  # for whoever looks; databases read % and : as their own
        identity = _identity(self._objects)
        self.root = cache_path() / f"{plain}.{identity}"
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / ".id").write_text(identity, encoding="utf-8")  # by which a tracking server knows it, from anywhere
        self._files = Files(self._objects)
        self._states: dict[str, StudyFiles] = {}
        self._leases: dict[str, Lease] = {}
        self._lines: dict[int, str] = {}  # of the ledger, which is never rewritten

    @property
    def objects(self) -> Objects:
        """All that is behind the URL."""
        return self._objects

    def store(self) -> SharedStore:
        """The store of this machine before that of the workspace."""
        store = SharedStore(self.root / "store", self._objects)
        store.let_go()
        return store

    def studies(self) -> list[str]:
        """The names of all studies."""
        return sorted({name.split("/")[1] for name in self._objects.list("studies")})

    def pull(self, study: str) -> None:
        """Bring this machine's copy of a study up to date."""
        self._state(study).pull()
        self._records(study).pull()
        self._pull_ledger()

    def push(self, study: str) -> None:
        """Have the workspace see what this machine has changed in a study, records apart."""
        self._lease(study).require()
        self._state(study).push()

    def push_record(self, study: str, run_id: str) -> None:
        """Have the workspace see a run's record, or that there is none any more."""
        self._lease(study).require()
        self._records(study).push(run_id)

    @contextmanager
    def held(self, study: str) -> Iterator[None]:
        """Drive a study: no other machine does until the block ends.

        Raises:
            UserError: a driver on another machine runs the study, or writing is not possible as it must be.
        """
        self.require_writable()
        with self._lease(study).held():
            self.pull(study)
            self._records(study).push_missing()
            try:
                yield
            finally:
                self.push(study)

    def require_writable(self) -> None:
        """See that studies can be driven here, by writing an object and removing it again.

        Raises:
            UserError: these credentials may only read, or the server does not write as it must.
        """
        try:
            _require_exclusive_writes(self._objects)
        except ReadOnlyError as error:
            raise UserError(
                Complaint(
                    error.problems[0].found,
                    "whoever runs, shows, explains or exports a study holds it there, one driver at a time",
                    f"{error.problems[0].remedy}; `adloc study` results, status, report, compare and verify only read",
                )
            ) from None

    def is_held(self, study: str) -> bool:
        """Whether a driver on any machine runs the study."""
        return self._lease(study).is_held()

    def results(self) -> Iterator[Kept]:
        """Every result of a stage, those that were written longest ago first."""
        return keeping.results(self._objects)

    def collect(self, cap_bytes: float) -> tuple[int, int]:
        """Delete results down to a cap, and files that nothing names; how many objects, of how many bytes.

        Raises:
            UserError: a study runs on some machine, and may read any of them.
        """
        running = [study for study in self.studies() if self.is_held(study)]
        if running:
            raise UserError(
                Complaint(
                    f"{self.url}: {', '.join(running)} {'is' if len(running) == 1 else 'are'} being run",
                    "nothing is deleted there while a study runs, which may read it",
                    "wait for it: `adloc study status FILE`",
                )
            )
        gone = keeping.collect(self._objects, cap_bytes)
        return len(gone), sum(each.n_bytes for each in gone)

    def verify(self) -> list[str]:
        """Read every object against its hash; the names of the damaged ones. See `adloc.remote.keeping.verify`."""
        return keeping.verify(self._objects)

    @contextmanager
    def appending(self, path: Path) -> Iterator[None]:
        """Have the ledger at `path` as all machines know it, and all machines know what is appended in the block."""
        self._pull_ledger()
        yield
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        ledger = Versions(self._objects, "sealed")
        for line in lines:
            while line not in (there := self._ledger_lines()):
                ledger.add(len(there), {"line": line})

    def _pull_ledger(self) -> None:
        """The ledger of this machine as the workspace has it, and what it alone has after it."""
        path = self.root / "sealed" / "ledger.jsonl"
        there = self._ledger_lines()
        here = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        if here[: len(there)] != there:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [*there, *(line for line in here if line not in there and _is_whole(line))]
            aside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
            aside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            aside.replace(path)

    def _ledger_lines(self) -> list[str]:
        """Every line, in the order in which they were entered."""
        ledger = Versions(self._objects, "sealed")
        for number in ledger.numbers():
            if number not in self._lines:
                data = self._objects.read(ledger.name(number))
                if data is not None:
                    self._lines[number] = str(json.loads(data)["line"])
        return [line for _, line in sorted(self._lines.items())]

    def _state(self, study: str) -> StudyFiles:
        if study not in self._states:
            memory = self.root / MEMORY / f"{study}.files.json"
            self._states[study] = StudyFiles(self._objects, self._files, study, self.root / "studies" / study, memory)
        return self._states[study]

    def _records(self, study: str) -> RunRecords:
        memory = self.root / MEMORY / f"{study}.records.json"
        records = Records(self.root / "studies" / study)
        return RunRecords(self._objects, self._files, study, records, memory)

    def _lease(self, study: str) -> Lease:
        if study not in self._leases:
            self._leases[study] = Lease(self._objects, study, self._machine())
        return self._leases[study]

    def _machine(self) -> str:
        """Tells this copy of the workspace from that of another machine."""
        path = self.root / "machine.json"
        try:
            found = json.loads(read_checked(path))
            return str(found["id"] if isinstance(found, dict) else found)  # earlier versions kept it alone
        except (FileNotFoundError, ValueError, KeyError):  # a damaged one is as good as none: a new machine to others
            made = uuid4().hex
            write_checked(path, {"id": made})
            return made


def _is_whole(line: str) -> bool:
    """Whether a line of the ledger is what was written; of a damaged one the workspace has what it was."""
    try:
        from_checked(line.encode())
    except DamagedError:
        return False
    return True


def _identity(objects: Objects) -> str:
    """What tells this workspace from another one that was at its URL before; made where there is none.

    Raises:
        UnreachableError: there is none, and none can be made.
    """
    data = objects.read(_IDENTITY)
    if data is None:
        _create_identity(objects)
        data = objects.read(_IDENTITY)
    try:
        content = json.loads(data or b"")
        if content["format"] == _FORMAT:
            return str(content["id"])
        found = f"format {content['format']}"
    except (ValueError, KeyError, TypeError):
        found = "it cannot be read"
    raise UserError(
        Complaint(
            f"{objects.url}/{_IDENTITY}: {found}",
            f"a workspace has the format {_FORMAT}",
            "name another folder of the bucket, or use the version of adloc that made this one",
        )
    )


def _create_identity(objects: Objects) -> None:
    """Make a workspace where there is none.

    Raises:
        UnreachableError: it cannot be made.
    """
    try:
        objects.create(_IDENTITY, json.dumps({"format": _FORMAT, "id": uuid4().hex[:12]}).encode())
    except ReadOnlyError as error:
        why = error.problems[0].found.removeprefix(f"{objects.url}: ")
        raise UserError(
            Complaint(
                f"{objects.url}: no workspace is there, and none can be made: it {why}",
                "a workspace is made by whoever first opens it, and may then only be read by others",
                f"correct the URL, or {error.problems[0].remedy}",
            )
        ) from None


def _require_exclusive_writes(objects: Objects) -> None:
    """See that an object can be written, is not written over by the next, and can be removed again.

    Raises:
        UserError: the server does not keep one that is there.
        ReadOnlyError: it does not let us.
    """
    name = f"probes/{uuid4().hex}"
    kept = objects.create(name, b"first") and not objects.create(name, b"second")
    objects.remove(name)
    if not kept:
        raise UserError(
            Complaint(
                f"{objects.url}: the server writes over an object that it was asked to keep (If-None-Match: *)",
                "drivers on several machines tell by it who runs a study",
                "use a server that has conditional writes: Amazon S3, MinIO since 2024, Ceph since Squid",
            )
        )
