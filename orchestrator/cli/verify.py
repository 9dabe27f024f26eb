"""`adloc study verify`: recorded runs computed again, and compared bit by bit."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003  click looks at the annotation
from typing import TYPE_CHECKING, Any

import click

from adloc.cli.kept import file_of
from adloc.cli.options import AS_JSON, FAILED, FILE, OK, SET, WORKSPACE, fields, find_workspace, user_errors
from adloc.cli.say import say

if TYPE_CHECKING:
    from adloc.verify.found import Verification, Verified

_RUNS = click.option(
    "--runs", "n_runs", type=click.IntRange(min=1), default=3, show_default=True, help="How many; or all there are."
)


@click.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@_RUNS
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw: another one draws other runs.")
@click.option("--jobs", type=click.IntRange(min=1), help="CPU threads, default all cores.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@user_errors
def verify(
    file: Path,
    overrides: tuple[str, ...],
    workspace: str | None,
    as_json: bool,  # noqa: FBT001
    n_runs: int,
    seed: int,
    jobs: int | None,
    device: str,
) -> None:
    """Compute some recorded runs again, in a scratch folder, and compare them bit by bit with what is kept.

    Names of each run the first stage that differs or is damaged, inputs before what needs them. Nothing in the
    workspace is written. FILE may be the name of a study, which is taken as it was last run.

    Exit code 0: all that could be compared is the same; 2: the file, its data or its weights are wrong, or no run is
    recorded; 3: something differs or is damaged.
    """
    from adloc.executors.computing import Computing
    from adloc.executors.on_demand import OnDemand
    from adloc.progress.study import Progress
    from adloc.verify.found import describe_verification
    from adloc.verify.verification import verify_study

    place = find_workspace(workspace)
    with OnDemand(Computing(device=device, jobs=jobs)) as computes, Progress(quiet=as_json) as progress:
        found = verify_study(
            file_of(file, overrides, workspace), overrides, place, computes, progress, n_runs=n_runs, seed=seed
        )
    if as_json:
        click.echo(json.dumps(_plain(found), indent=1))
    else:
        _print_runs(found)
        for line in describe_verification(found):
            say(line)
    sys.exit(OK if all(run.is_same for run in found.runs) else FAILED)


def _plain(found: Verification) -> dict[str, Any]:
    runs = [
        {
            "run_id": run.run_id,
            "same": run.is_same,
            "first": run.first and fields(run.first),
            **{name: value for name, value in fields(run).items() if name != "run_id"},
        }
        for run in found.runs
    ]
    return {"study": found.study, "n_recorded": found.n_recorded, "runs": runs}


def _print_runs(found: Verification) -> None:
    """One line a run."""
    from rich.console import Console

    from adloc.cli.fitting import plain_table, print_fitting

    heads = ["run", "compared", "not kept", "first that differs", "by at most"]
    lines = [_cells(run) for run in found.runs]
    console = Console(highlight=False, markup=False)
    if console.is_terminal:
        print_fitting(console, heads, lines, 1)
    else:
        click.echo(plain_table(heads, lines), nl=False)


def _cells(run: Verified) -> list[str]:
    n_absent = sum(each.outcome == "absent" for each in run.compared)
    first = run.first
    largest = "" if first is None or first.largest is None else f"{first.largest:.3g}"
    return [run.run_id, str(len(run.compared) - n_absent), str(n_absent), first.what if first else "-", largest or "-"]
