"""A study that is named, and not given as a file: what its records hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.cli.options import find_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.kept_study import KeptStudy


def find_kept(file: Path, overrides: tuple[str, ...], workspace: str | None) -> KeptStudy | None:
    """The study of that name as it is recorded; None where a file is meant."""
    if overrides or file.exists() or file.suffix in (".yaml", ".yml"):
        return None
    from adloc.kept_study import read_study

    return read_study(str(file), find_workspace(workspace))
