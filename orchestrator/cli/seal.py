"""`adloc study seal`: write down what will be run before any of it is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from adloc.cli.options import AS_JSON, FILE, SET, WORKSPACE, prepared_study, user_errors
from adloc.cli.say import say


@click.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@click.option("--output", type=click.Path(path_type=Path), help="A copy of the seal, for a reviewer.")
@user_errors
def seal(file: Path, overrides: tuple[str, ...], workspace: str | None, as_json: bool, output: Path | None) -> None:  # noqa: FBT001
    """Seal a study's plan before it is run: study file, runs and images, hashed; compute nothing.

    `adloc study run` and `adloc study report` then say whether the plan that ran is the sealed one, or what changed.
    """
    from datetime import UTC, datetime

    from adloc.sealing.ledger import seal_path, seal_study
    from adloc.sealing.seal import write_seal

    prepared = prepared_study(file, overrides, workspace)
    sealed = seal_study(prepared.plan, prepared.workspace, datetime.now(UTC), prepared.records.count_figures())
    if output is not None:
        write_seal(output, sealed)
    if as_json:
        click.echo(json.dumps(sealed.model_dump(mode="json"), indent=1))
        return
    say(f"{prepared.spec.study}: sealed on {sealed.sealed}, plan {sealed.plan}")
    if sealed.n_figures:
        say(f"its test figures were not unseen: {sealed.n_figures} runs had some already")
    say(str(output or seal_path(prepared.workspace, prepared.spec.study)))
