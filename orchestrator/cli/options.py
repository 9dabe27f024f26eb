"""What the verbs of the command line share: arguments, exit codes, and how a user's mistake is shown."""

from __future__ import annotations

import errno
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adloc.cli.say import say, say_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from adloc.study import Study
    from adloc.tracking.place import Place

_SQLITE = ("database or disk is full", "disk I/O error", "attempt to write a readonly database", "unable to open")
OK, WRONG, FAILED, INTERRUPTED = 0, 2, 3, 130


def user_errors(verb: Callable[..., None]) -> Callable[..., None]:
    """Show a user's mistake in three lines and exit with 2; a bug keeps its traceback."""

    @wraps(verb)
    def wrapped(*args: object, **kwargs: object) -> None:
        from adloc.datasets.errors import DatasetError
        from adloc.errors import Complaint, UserError
        from adloc.methods.errors import MethodError
        from adloc.on_disk import require_on_disk

        try:
            for path in (given for given in kwargs.values() if isinstance(given, Path)):
                require_on_disk(path)
            verb(*args, **kwargs)
        except (UserError, DatasetError, MethodError) as error:
            say_text(str(error), err=True)
            sys.exit(WRONG)
        except KeyboardInterrupt:
            say("interrupted; everything recorded is safe, run again to go on", err=True)
            sys.exit(INTERRUPTED)
        except Exception as error:
            if not _is_of_the_disk(error):
                raise
            told = Complaint(
                f"the disk says: {str(error).splitlines()[0]}",
                "files must be readable, and there must be room and leave to write in the workspace",
                "make room or give leave, or name another folder by --workspace; what was recorded is safe: run again",
            )
            say_text(str(told), err=True)
            sys.exit(WRONG)

    return wrapped


def _is_of_the_disk(error: Exception) -> bool:
    """Whether there is no room or no leave, for a file or, in SQLite's words, for a database."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
    return any(f"(sqlite3.OperationalError) {words}" in str(error) for words in _SQLITE)


FILE = click.argument("file", type=click.Path(path_type=Path))
WORKSPACE = click.option(
    "--workspace", metavar="DIR", help="Where everything is kept, a folder or a URL: $ADLOC_WORKSPACE, else ./mlruns."
)
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a dotted key, the value in YAML."
)
STORAGE = click.option(
    "--storage",
    metavar="URL",
    envvar="ADLOC_OPTUNA_STORAGE",
    help="Optuna's database, for example sqlite:////data/optuna.db; default: a journal in the workspace.",
)
TRACKING = click.option(
    "--tracking-uri",
    metavar="URI",
    help="MLflow server that shows the study: $MLFLOW_TRACKING_URI, else the workspace's own database.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def find_workspace(given: str | None) -> Any:  # noqa: ANN401  # Workspace, not imported here
    """`--workspace`, or where else it is."""
    from adloc.workspace import Workspace

    return Workspace.find(given)


def find_place(workspace: str | None, given: str | None) -> Place:
    """`--tracking-uri`, or where else studies are tracked."""
    from adloc.tracking.place import Place

    return Place.find(find_workspace(workspace), given)


def prepared_study(
    file: Path,
    overrides: tuple[str, ...],
    workspace: str | None,
    *,
    download: bool = False,
    may_lack_weights: bool = False,
) -> Study:
    """The study file with its data, ready to run."""
    from adloc.study import prepare

    place = find_workspace(workspace)
    return prepare(file, overrides, place, download=download, may_lack_weights=may_lack_weights)


def fields(record: Any) -> dict[str, Any]:  # noqa: ANN401  # any dataclass
    """A dataclass as plain values."""
    from dataclasses import asdict

    return asdict(record)
