"""What may be asked for, and what this machine has for it."""

from __future__ import annotations

from dataclasses import asdict
from os import fspath
from typing import TYPE_CHECKING, Any

from adloc.api.asked import user_errors
from adloc.api.frames import frame_of

if TYPE_CHECKING:
    import pandas as pd

    from adloc.api.asked import Place
    from adloc.catalogue import OfferedKind, OfferedMethod


@user_errors
def list_methods(*names: str) -> list[OfferedMethod]:
    """The methods that a study file may name, or those named, with their parameters; see `adloc methods`.

    Raises:
        UserError: there is none of that name.
    """
    from adloc.catalogue import offered_methods

    return offered_methods(names)


@user_errors
def list_datasets(*names: str) -> list[OfferedKind]:
    """The kinds of dataset that a study file may name, or those named, with their keys; see `adloc datasets`.

    Raises:
        UserError: there is none of that name.
    """
    from adloc.catalogue import offered_kinds

    return offered_kinds(names)


def schema() -> dict[str, Any]:
    """The JSON Schema of a study file, method parameters included."""
    from adloc.study_file.schema import study_schema

    return study_schema()


def examine(*, workspace: Place | None = None) -> pd.DataFrame:
    """What this machine has and lacks for running studies, a row each; see `adloc doctor`.

    Columns: what, found, ok, remedy, and optional: whether studies run without it.
    """
    from adloc.doctor import examine as find

    return frame_of([asdict(f) for f in find(None if workspace is None else fspath(workspace))])
