"""`adloc store`: the results of stages that are kept for reuse."""

from __future__ import annotations

import json
import sys

import click

from adloc.cli.options import AS_JSON, FAILED, OK, WORKSPACE, find_workspace, user_errors
from adloc.cli.say import say

SHARED = click.option("--shared", is_flag=True, help="What is behind the workspace's URL, not this machine's copies.")


@click.group()
def store() -> None:
    """The results of stages that are kept for reuse."""


@store.command("ls")
@WORKSPACE
@AS_JSON
@user_errors
def list_store(workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Count files and bytes by kind of stage: of this machine, and behind the workspace's URL where it has one."""
    from adloc.kept.results import count_results

    found = find_workspace(workspace)
    totals = count_results(found)
    if as_json:
        click.echo(json.dumps(totals, indent=1))
        return
    for kind, total in totals.items():
        line = f"{kind:24}{total['files']:8} files {total['bytes'] / 1e6:10.1f} MB"
        if found.shared is not None:
            n_files, n_bytes = total["shared_files"], total["shared_bytes"]
            line = f"{line} here{n_files:10} objects {n_bytes / 1e6:10.1f} MB in {found.location}"
        say(line)


@store.command()
@WORKSPACE
@SHARED
@click.option("--max-gb", type=click.FloatRange(min=0), help="Keep at most this; default: $ADLOC_STORE_GB, else 100.")
@user_errors
def gc(workspace: str | None, shared: bool, max_gb: float | None) -> None:  # noqa: FBT001
    """Delete what was not used for longest, until the store fits its cap; never what a running study will read.

    Behind a URL it is what was written longest ago, and nothing is deleted while a study runs on any machine.
    """
    from adloc.kept.results import collect_results, shared_of

    found = find_workspace(workspace)
    if shared:
        if max_gb is None:
            raise click.UsageError("--shared needs --max-gb: what others keep there has no default")
        n_gone, n_bytes = shared_of(found).collect(max_gb * 1e9)
    else:
        n_gone, n_bytes = collect_results(found, max_gb)
    say(f"deleted {n_gone} files, {n_bytes / 1e6:.1f} MB")


@store.command()
@WORKSPACE
@SHARED
@user_errors
def verify(workspace: str | None, shared: bool) -> None:  # noqa: FBT001
    """Read every file against its checksums; damaged ones are set aside and computed again when needed.

    Behind a URL a damaged result is deleted; damaged files of records and weights are named, and left.
    """
    from adloc.kept.results import verify_results

    found = find_workspace(workspace)
    damaged = verify_results(found, shared=shared)
    for path in damaged:
        say(f"damaged, {'in ' + found.location if shared else 'set aside'}: {path}")
    say(f"{len(damaged)} damaged")
    sys.exit(FAILED if damaged else OK)
