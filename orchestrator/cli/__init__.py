"""The command line: a thin skin over the library. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import json
import sys

import click

import adloc
from adloc.cli.catalogue import datasets_command, methods_command
from adloc.cli.data import data
from adloc.cli.explain import explain
from adloc.cli.init import init
from adloc.cli.model import model
from adloc.cli.options import AS_JSON, OK, STORAGE, WORKSPACE, WRONG, fields, find_workspace, user_errors
from adloc.cli.predict import predict_command
from adloc.cli.private import export_private_command
from adloc.cli.say import say, say_text
from adloc.cli.seal import seal
from adloc.cli.store import store
from adloc.cli.study import study
from adloc.cli.verify import verify

# \b, alone on its line, keeps click from filling the lines below it.
HELP = """Studies of industrial anomaly detection: which method, which settings, which threshold, and do they hold?

\b
adloc study run studies/quickstart.yaml     a first study, in minutes
adloc init FOLDER                           a study file for your own images
adloc ui                                    its runs and trials, side by side
"""


@click.group(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(adloc.__version__, prog_name="adloc")
def cli() -> None:
    """The command line."""


study.add_command(seal)
study.add_command(verify)
study.add_command(explain)
study.add_command(export_private_command)
cli.add_command(study)
cli.add_command(init)
cli.add_command(model)
cli.add_command(predict_command)
cli.add_command(data)
cli.add_command(methods_command)
cli.add_command(datasets_command)
cli.add_command(store)


@cli.command()
@user_errors
def schema() -> None:
    """Print the JSON Schema of a study file, method parameters included."""
    from adloc.study_file.schema import study_schema

    click.echo(json.dumps(study_schema(), indent=1))


@cli.command()
@WORKSPACE
@STORAGE
@click.option("--study", "study_name", metavar="NAME", help="Only this study's tables and dashboard; default: all.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Of the MLflow UI; default: the first free one from 5000 on."
)
def ui(workspace: str | None, storage: str | None, study_name: str | None, port: int | None) -> None:
    """Serve the MLflow UI and the Optuna dashboard of this workspace, until Ctrl-C; print the links to its tables."""
    from adloc.errors import UserError
    from adloc.ui import serve

    try:
        serve(find_workspace(workspace), storage, study_name, port, say)
    except UserError as error:
        say_text(str(error), err=True)
        sys.exit(WRONG)


@cli.command()
@WORKSPACE
@AS_JSON
@user_errors
def doctor(workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Check versions, devices, weights and the workspace; say what is missing and where to put it."""
    from adloc.doctor import examine

    findings = examine(workspace)
    if as_json:
        click.echo(json.dumps([fields(f) for f in findings], indent=1))
    else:
        for finding in findings:
            say(f"{'ok  ' if finding.ok else 'MISS'}  {finding.what}: {finding.found}")
            if finding.remedy:
                say(f"      {finding.remedy}")
    sys.exit(OK if all(f.ok or f.optional for f in findings) else WRONG)
