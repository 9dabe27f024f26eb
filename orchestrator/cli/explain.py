"""`adloc study explain`: why defects are missed and which training images are suspicious, of any run of a study."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  click looks at the annotation

import click

from adloc.cli.options import AS_JSON, FILE, SET, WORKSPACE, prepared_study, user_errors
from adloc.cli.say import say, say_text


@click.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@click.option("--run", "run_ids", multiple=True, metavar="RUN_ID", help="A run of the study; default: the leads.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@user_errors
def explain(
    file: Path,
    overrides: tuple[str, ...],
    workspace: str | None,
    as_json: bool,  # noqa: FBT001
    run_ids: tuple[str, ...],
    device: str,
) -> None:
    """Say why a run misses defects and which of its training images are suspicious; the run must be recorded.

    What is explained already is not computed again.
    """
    from adloc.executors.computing import Computing
    from adloc.executors.on_demand import OnDemand
    from adloc.explain import boundary
    from adloc.explain.words import describe_explanation

    study = prepared_study(file, overrides, workspace)
    runs = boundary.asked_runs(study, run_ids)
    with study.workspace.lock(study.spec.study), OnDemand(Computing(device=device)) as computes:
        found = list(boundary.explain(study, computes, runs))
    folder = boundary.explanations_of(study)
    if as_json:
        places = [e.model_dump(mode="json") | {"folder": str(folder.path(e.run_id))} for e in found]
        click.echo(json.dumps(places, indent=1))
        return
    for each in found:
        say_text(describe_explanation(each, folder.path(each.run_id)))
    if not found:
        say(f"no run is recorded yet: adloc study run {file}")
