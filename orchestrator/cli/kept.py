"""What the verbs say of a study that is named, and not given as a file: what its records hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from adloc.cli.options import find_workspace
from adloc.errors import in_one_line

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.kept_study import KeptStudy


def find_kept(file: Path, overrides: tuple[str, ...], workspace: str | None) -> KeptStudy | None:
    """The study of that name as it is recorded; None where a file is meant."""
    if overrides or file.exists() or file.suffix in (".yaml", ".yml"):
        return None
    from adloc.kept_study import read_study

    return read_study(str(file), find_workspace(workspace))


def print_kept_status(kept: KeptStudy, *, as_json: bool) -> None:
    """How many of the runs that were last planned are done."""
    n_planned, n_failed = len(kept.planned), len(kept.failed)
    n_pending = n_planned - kept.n_done - n_failed
    name = kept.spec.study
    if as_json:
        counts = {"runs": n_planned, "done": kept.n_done, "failed": n_failed, "pending": n_pending}
        facts = {"study": name, **counts, "running": kept.is_running, "failed_runs": list(kept.failed)}
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(f"{name}: {kept.n_done} of {n_planned} runs done, {n_failed} failed, {n_pending} to come")
    click.echo("a process is running it now" if kept.is_running else "no process is running it now")
    for run_id, error in kept.failed.items():
        click.echo(f"  {run_id}: {in_one_line(error)}")
