"""`adloc store`: the results of stages that are kept for reuse."""

from __future__ import annotations

import json
import sys

import click

from adloc.cli.options import AS_JSON, FAILED, OK, WORKSPACE, find_workspace, user_errors


@click.group()
def store() -> None:
    """The results of stages that are kept for reuse."""


@store.command("ls")
@WORKSPACE
@AS_JSON
@user_errors
def list_store(workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Count files and bytes by kind of stage."""
    from adloc.store import Store

    totals: dict[str, dict[str, int]] = {}
    for entry in Store(find_workspace(workspace).store_path).entries():
        total = totals.setdefault(entry.kind, {"files": 0, "bytes": 0})
        total["files"] += 1
        total["bytes"] += entry.n_bytes
    if as_json:
        click.echo(json.dumps(totals, indent=1))
        return
    for kind, total in totals.items():
        click.echo(f"{kind:24}{total['files']:8} files {total['bytes'] / 1e6:10.1f} MB")


@store.command()
@WORKSPACE
@click.option("--max-gb", type=click.FloatRange(min=0), help="Keep at most this; default: $ADLOC_STORE_GB, else 100.")
@user_errors
def gc(workspace: str | None, max_gb: float | None) -> None:
    """Delete what was not used for longest, until the store fits its cap; never what a running study will read."""
    from adloc.store import Store, cap_bytes

    found, cap = find_workspace(workspace), cap_bytes() if max_gb is None else max_gb * 1e9
    gone = Store(found.store_path).collect(cap, in_use_since_s=found.in_use_since())
    click.echo(f"deleted {len(gone)} files, {sum(e.n_bytes for e in gone) / 1e6:.1f} MB")


@store.command()
@WORKSPACE
@user_errors
def verify(workspace: str | None) -> None:
    """Read every file against its checksums; damaged ones are set aside and computed again when needed."""
    from adloc.store import Store

    damaged = Store(find_workspace(workspace).store_path).verify()
    for path in damaged:
        click.echo(f"damaged, set aside: {path}")
    click.echo(f"{len(damaged)} damaged")
    sys.exit(FAILED if damaged else OK)
