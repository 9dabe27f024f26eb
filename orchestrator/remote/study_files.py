"""What a study's folder holds beside its records, in step with what is behind the URL.

A version is the list of all files with their SHA-256, `studies/<study>/state/<number>.json`: they change together or
not at all. A file that only one side has changed since both were the same is taken from there; where both have, what
is behind the URL counts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from adloc.keys import hash_file
from adloc.record.files import files_below, read_checked, write_checked
from adloc.remote.versions import NONE, Version, Versions

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.datasets.objects import Objects
    from adloc.remote.files import Files

# Records go their own way; MLflow's index, the lock and exported models are of this machine alone.
PASSED_OVER = ("records", "superseded", "models", "mlflow.json", "lock")
_ATTEMPTS = 5  # to be the one who writes the next version


class StudyFiles:
    """The files of one study, here and behind the URL."""

    def __init__(self, objects: Objects, files: Files, study: str, folder: Path, memory: Path) -> None:
        """Keep in step.

        Args:
            objects: behind the URL.
            files: where contents are kept.
            study: its name.
            folder: of the study on this machine.
            memory: a file in which this machine keeps what both sides had when they were last the same.
        """
        self._versions = Versions(objects, f"studies/{study}/state")
        self._files = files
        self._folder = folder
        self._memory = memory
        self._hashed: dict[str, tuple[tuple[int, int], str]] = {}

    def pull(self) -> None:
        """Take over what has changed there."""
        known = self._known()
        self._take(self._versions.last(known.number), known)

    def push(self) -> None:
        """Have there what has changed here."""
        for _ in range(_ATTEMPTS):
            known, here = self._known(), self._here()
            if here == dict(known.content):
                return
            self._files.send({sha256: self._folder / name for name, sha256 in here.items()})
            written = self._versions.add(known.number, here)
            if written is not None:
                self._remember(written)
                self._versions.forget_old(written.number)
                return
            self.pull()
        raise RuntimeError(f"{self._versions.folder}: another process writes all the time")

    def _take(self, there: Version, known: Version) -> None:
        if there.number <= known.number:
            return
        here = self._here()
        theirs = {
            name: there.content.get(name)
            for name in known.content.keys() | there.content.keys()
            if here.get(name) != there.content.get(name)
            and (here.get(name) == known.content.get(name) or there.content.get(name) != known.content.get(name))
        }
        self._files.fetch(self._folder, {name: sha256 for name, sha256 in theirs.items() if sha256 is not None})
        for name in (name for name, sha256 in theirs.items() if sha256 is None):
            (self._folder / name).unlink(missing_ok=True)
        self._remember(there)

    def _here(self) -> dict[str, str]:
        """SHA-256 by name of every file here; those that have not changed are not read again."""
        found: dict[str, str] = {}
        for path, facts in files_below(self._folder):
            inside = path.relative_to(self._folder)
            if inside.parts[0] in PASSED_OVER or any(part.startswith(".") for part in inside.parts):
                continue
            name, state = inside.as_posix(), (facts.st_size, facts.st_mtime_ns)
            if self._hashed.get(name, (None, ""))[0] != state:
                try:
                    self._hashed[name] = (state, hash_file(path))
                except FileNotFoundError:  # another process has removed it since
                    continue
            found[name] = self._hashed[name][1]
        return found

    def _known(self) -> Version:
        try:
            content = json.loads(read_checked(self._memory))
            return Version(int(content["number"]), dict(content["files"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return NONE

    def _remember(self, version: Version) -> None:
        write_checked(self._memory, {"number": version.number, "files": dict(version.content)})
