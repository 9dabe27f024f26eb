"""What the records of a study hold: of one that is named, and of a file whose images or weights are not there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from adloc.cli.options import find_workspace
from adloc.cli.say import say

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.kept.study import KeptStudy
    from adloc.study import Study


def find_kept(file: Path, overrides: tuple[str, ...], workspace: str | None) -> KeptStudy | None:
    """The study of that name as it is recorded, also where a folder is called so; None where a file is meant."""
    if overrides or file.is_file() or file.suffix in (".yaml", ".yml"):
        return None
    from adloc.kept.study import read_study

    return read_study(str(file), find_workspace(workspace))


def file_of(file: Path, overrides: tuple[str, ...], workspace: str | None) -> Path:
    """The study file; of a study that is named, as it was last run."""
    kept = find_kept(file, overrides, workspace)
    return file if kept is None else kept.folder / "study.yaml"


def prepared_or_kept(file: Path, overrides: tuple[str, ...], workspace: str | None) -> Study | KeptStudy:
    """The study of a file, prepared; as it is recorded where it is named, or where images or weights are not there.

    Raises:
        UserError: the file is wrong, or nothing is recorded of what it asks for.
    """
    if (kept := find_kept(file, overrides, workspace)) is not None:
        return kept
    from adloc.kept import study

    return study.prepared_or_kept(file, overrides, find_workspace(workspace), partial(say, err=True))
