"""`adloc study export-private`: the private test parts of MVTec AD 2, for the benchmark's server."""

from __future__ import annotations

import json
from pathlib import Path

import click

from adloc.cli.options import AS_JSON, FILE, SET, WORKSPACE, fields, prepared_study, user_errors
from adloc.cli.say import say


@click.command("export-private")
@FILE
@SET
@WORKSPACE
@AS_JSON
@click.option(
    "--run", "run_id", required=True, metavar="RUN_ID", help="A run of any category; the others of its setting follow."
)
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="Folder of the submission; new, or empty."
)
@click.option(
    "--pixel-fpr",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.001,
    show_default=True,
    help="Share of the normal validation pixels that the pixel threshold flags, at most.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@user_errors
def export_private_command(
    file: Path,
    overrides: tuple[str, ...],
    workspace: str | None,
    as_json: bool,  # noqa: FBT001
    run_id: str,
    output: Path,
    pixel_fpr: float,
    device: str,
) -> None:
    """Score MVTec AD 2's private test images and write them in the form that its benchmark server takes.

    The folder has float16 anomaly maps and binary masks of every category of the study; the pixel threshold of each is
    of the normal images of its validation part. A server takes all eight categories.
    """
    from adloc.executors.computing import Computing
    from adloc.executors.on_demand import OnDemand
    from adloc.private import export_private

    study = prepared_study(file, overrides, workspace)
    with study.workspace.lock(study.spec.study), OnDemand(Computing(device=device)) as computes:
        written = []
        for each in export_private(study, run_id, computes, output, pixel_fpr):
            written.append(fields(each))
            if not as_json:
                said = f"{each.category}: {each.n_images} images of {each.run_id}, threshold {each.threshold:.6g}"
                say(said)
    if as_json:
        click.echo(json.dumps(written, indent=1))
    else:
        say(str(output))
