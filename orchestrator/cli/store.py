"""`adloc store`: the results of stages that are kept for reuse."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from adloc.cli.options import AS_JSON, FAILED, OK, WORKSPACE, find_workspace, user_errors

if TYPE_CHECKING:
    from adloc.remote.shared import Shared
    from adloc.workspace import Workspace

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
    from adloc.computing.store import Store

    found = find_workspace(workspace)
    totals: dict[str, dict[str, int]] = {}
    for entry in Store(found.store_path).entries():
        _count(totals, entry.kind, entry.n_bytes, "")
    if found.shared is not None:
        for kept in found.shared.results():
            _count(totals, kept.kind, kept.n_bytes, "shared_")
    if as_json:
        click.echo(json.dumps(totals, indent=1))
        return
    for kind, total in totals.items():
        line = f"{kind:24}{total.get('files', 0):8} files {total.get('bytes', 0) / 1e6:10.1f} MB"
        if found.shared is not None:
            n_files, n_bytes = total.get("shared_files", 0), total.get("shared_bytes", 0)
            line = f"{line} here{n_files:10} objects {n_bytes / 1e6:10.1f} MB in {found.location}"
        click.echo(line)


def _count(totals: dict[str, dict[str, int]], kind: str, n_bytes: int, where: str) -> None:
    total = totals.setdefault(kind, {})
    total[f"{where}files"] = total.get(f"{where}files", 0) + 1
    total[f"{where}bytes"] = total.get(f"{where}bytes", 0) + n_bytes


@store.command()
@WORKSPACE
@SHARED
@click.option("--max-gb", type=click.FloatRange(min=0), help="Keep at most this; default: $ADLOC_STORE_GB, else 100.")
@user_errors
def gc(workspace: str | None, shared: bool, max_gb: float | None) -> None:  # noqa: FBT001
    """Delete what was not used for longest, until the store fits its cap; never what a running study will read.

    Behind a URL it is what was written longest ago, and nothing is deleted while a study runs on any machine.
    """
    from adloc.computing.store import Store, cap_bytes

    found = find_workspace(workspace)
    if shared:
        if max_gb is None:
            raise click.UsageError("--shared needs --max-gb: what others keep there has no default")
        n_gone, n_bytes = _shared(found).collect(max_gb * 1e9)
    else:
        cap = cap_bytes() if max_gb is None else max_gb * 1e9
        gone = Store(found.store_path).collect(cap, in_use_since_s=found.in_use_since())
        n_gone, n_bytes = len(gone), sum(e.n_bytes for e in gone)
    click.echo(f"deleted {n_gone} files, {n_bytes / 1e6:.1f} MB")


@store.command()
@WORKSPACE
@SHARED
@user_errors
def verify(workspace: str | None, shared: bool) -> None:  # noqa: FBT001
    """Read every file against its checksums; damaged ones are set aside and computed again when needed.

    Behind a URL a damaged result is deleted; damaged files of records and weights are named, and left.
    """
    from adloc.computing.store import Store

    found = find_workspace(workspace)
    damaged = _shared(found).verify() if shared else Store(found.store_path).verify()
    for path in damaged:
        click.echo(f"damaged, {'in ' + found.location if shared else 'set aside'}: {path}")
    click.echo(f"{len(damaged)} damaged")
    sys.exit(FAILED if damaged else OK)


def _shared(workspace: Workspace) -> Shared:
    """What is behind the workspace's URL."""
    from adloc.errors import Complaint, UserError

    if workspace.shared is None:
        raise UserError(
            Complaint(
                f"--shared: the workspace {workspace.location} is a folder",
                "it is for a workspace behind a URL, beside this machine's copy of it",
                "leave it out, or name one: --workspace s3://bucket/prefix",
            )
        )
    return workspace.shared
