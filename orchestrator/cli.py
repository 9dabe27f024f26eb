"""The command line: a thin skin over the library. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import json
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

import adloc

if TYPE_CHECKING:
    from collections.abc import Callable

    from adloc.study import Study

OK, WRONG, FAILED, INTERRUPTED = 0, 2, 3, 130


def _user_errors(verb: Callable[..., None]) -> Callable[..., None]:
    """Show a user's mistake in three lines and exit with 2; a bug keeps its traceback."""

    @wraps(verb)
    def wrapped(*args: object, **kwargs: object) -> None:
        from adloc.datasets.errors import DatasetError
        from adloc.errors import UserError
        from adloc.methods.errors import MethodError

        try:
            verb(*args, **kwargs)
        except (UserError, DatasetError, MethodError) as error:
            click.echo(str(error), err=True)
            sys.exit(WRONG)
        except KeyboardInterrupt:
            click.echo("interrupted; everything recorded is safe, run again to go on", err=True)
            sys.exit(INTERRUPTED)

    return wrapped


FILE = click.argument("file", type=click.Path(path_type=Path))
WORKSPACE = click.option(
    "--workspace", metavar="DIR", help="Where everything is kept: $ADLOC_WORKSPACE, else ./mlruns."
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
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(adloc.__version__, prog_name="adloc")
def cli() -> None:
    r"""Studies of industrial anomaly detection: which method, which settings, which threshold, and do they hold?

    \b
    adloc study run studies/quickstart.yaml     a first study, in minutes
    adloc ui                                    its runs and trials, side by side
    """


@cli.group()
def study() -> None:
    """Validate, plan and run a study file; see how far it is and what it found."""


@study.command()
@FILE
@SET
@AS_JSON
@_user_errors
def validate(file: Path, overrides: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Check a study file, without looking at its images; print it resolved with --json."""
    from adloc.validation import load_study
    from adloc.variants import variants

    _, spec = load_study(file, overrides)
    if as_json:
        click.echo(json.dumps(spec.resolved(), indent=1))
        return
    n_variants = len(variants(spec))
    click.echo(
        f"{file}: a valid study: {n_variants} variant{'s' * (n_variants != 1)} x {len(spec.regimes)}"
        f" regime{'s' * (len(spec.regimes) != 1)}, {spec.repeats} repeat{'s' * (spec.repeats != 1)}"
    )


@study.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@_user_errors
def plan(file: Path, overrides: tuple[str, ...], workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the runs that a study expands into and the stages that they share; compute nothing."""
    from adloc.study import pending, plan_json, search_json

    prepared = _prepare(file, overrides, workspace)
    todo = [run.run_id for run in pending(prepared)]
    if as_json:
        click.echo(json.dumps(plan_json(prepared.plan) | {"pending": todo} | search_json(prepared), indent=1))
        return
    from adloc.tables import print_plan

    print_plan(prepared, todo)


@study.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where stages are computed: in this process, or on the Ray cluster of $RAY_ADDRESS, else one started here.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="local: CPU threads, default all cores. ray: stages at a time, default one for four cores, at least two.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), help="Images a backbone pass; figures do not depend on it.")
@click.option("--fresh", is_flag=True, help="Compute everything again; earlier records are set aside.")
@click.option("--new-revision", is_flag=True, help="Tune again beside the old trials where the search has changed.")
@STORAGE
@_user_errors
def run(
    file: Path,
    overrides: tuple[str, ...],
    workspace: str | None,
    as_json: bool,  # noqa: FBT001
    executor: Literal["local", "ray"],
    jobs: int | None,
    device: str,
    batch_size: int | None,
    fresh: bool,  # noqa: FBT001
    new_revision: bool,  # noqa: FBT001
    storage: str | None,
) -> None:
    """Run a study: what has a record is not computed again, so an interrupted study goes on.

    Exit code 0: all runs are done; 2: the file or its data is wrong and nothing was run; 3: some runs failed,
    the others are recorded; 130: interrupted.
    """
    from adloc.answer import find_answer
    from adloc.driver import run_study
    from adloc.executors.executor import Computing, OnDemand
    from adloc.progress import Progress
    from adloc.study import search_json

    prepared = _prepare(file, overrides, workspace, download=True)
    _warn_of_random_weights(prepared)
    computing = Computing(executor, device, jobs, batch_size)
    with OnDemand(computing) as computes, Progress(quiet=as_json) as progress:
        if prepared.searches:
            from adloc.tune import tune_study

            prepared = tune_study(prepared, computes, progress, fresh=fresh, new_revision=new_revision, storage=storage)
        outcome = run_study(prepared, computes, progress, fresh=fresh)
    answer = find_answer(prepared.plan, prepared.records)
    if as_json:
        found = {"outcome": _fields(outcome), "results": answer.rows} | search_json(prepared)
        click.echo(json.dumps(found, indent=1))
    else:
        from adloc.tables import print_answer, print_searches, print_where

        print_answer(answer)
        print_searches(prepared)
        print_where(prepared, outcome)
    sys.exit(FAILED if outcome.n_failed else OK)


@study.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@_user_errors
def status(file: Path, overrides: tuple[str, ...], workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Say how many runs of a study are done, failed and still to come."""
    from adloc.study import pending, search_json
    from adloc.tables import print_searches

    prepared = _prepare(file, overrides, workspace)
    todo = pending(prepared)
    records = [record for run in todo if (record := prepared.records.get(run.run_id)) and record.key == run.key]
    failed = {record.run_id: (record.error or "").strip() for record in records if record.status == "failed"}
    facts: dict[str, Any] = {
        "study": prepared.spec.study,
        "runs": len(prepared.plan.runs),
        "done": len(prepared.plan.runs) - len(todo),
        "failed": len(failed),
        "pending": len(todo) - len(failed),
        "running": prepared.workspace.is_locked(prepared.spec.study),
    }
    if as_json:
        click.echo(json.dumps(facts | {"failed_runs": list(failed)} | search_json(prepared), indent=1))
        return
    click.echo("{study}: {done} of {runs} runs done, {failed} failed, {pending} to come".format(**facts))
    print_searches(prepared)
    click.echo("a process is running it now" if facts["running"] else "no process is running it now")
    for run_id, error in failed.items():
        click.echo(f"  {run_id}: {error.splitlines()[-1]}")


@study.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet", "latex"]),
    default="table",
    show_default=True,
    help="parquet is written to --output.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write to this file and not to the terminal.")
@_user_errors
def results(
    file: Path,
    overrides: tuple[str, ...],
    workspace: str | None,
    as_json: bool,  # noqa: FBT001
    form: str,
    output: Path | None,
) -> None:
    """Print one row a run, and a macro row for every average over categories."""
    from adloc.answer import find_answer
    from adloc.results import write, write_parquet
    from adloc.tables import print_answer

    prepared = _prepare(file, overrides, workspace)
    answer = find_answer(prepared.plan, prepared.records)
    rows = answer.rows
    form = "json" if as_json else form
    if form == "parquet":
        if output is None:
            raise click.UsageError("--format parquet needs --output FILE")
        write_parquet(rows, output)
    elif output is not None:
        output.write_text(write(rows, "csv" if form == "table" else form), encoding="utf-8")
    elif form == "table":
        print_answer(answer)
    else:
        click.echo(write(rows, form), nl=False)


@study.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@click.option("--output", type=click.Path(path_type=Path), help="The page; default: report.html in the study's folder.")
@_user_errors
def report(file: Path, overrides: tuple[str, ...], workspace: str | None, as_json: bool, output: Path | None) -> None:  # noqa: FBT001
    """Write the report of what is recorded so far: one HTML file, figures as PNG and SVG, tables as CSV and LaTeX."""
    from adloc.report.page import write_report

    written = write_report(_prepare(file, overrides, workspace), output, force=True)
    if as_json:
        click.echo(json.dumps({name: str(getattr(written, name)) for name in ("page", "figures", "tables")}, indent=1))
        return
    click.echo(f"{written.page} ({written.page.stat().st_size / 1e6:.1f} MB)")


@study.command("compare")
@click.argument("a")
@click.argument("b")
@WORKSPACE
@AS_JSON
@_user_errors
def compare_command(a: str, b: str, workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Say what two studies or two runs differ in: spec, data, environment, metrics, images judged another way.

    A and B are study files, folders of studies in a workspace, or run_ids; all of it comes from the records.
    """
    from adloc.difference_tables import describe_differences
    from adloc.differences import compare

    found = compare(a, b, _workspace(workspace))
    if as_json:
        click.echo(json.dumps(_fields(found), indent=1))
    else:
        click.echo(describe_differences(found, (a, b)))


@cli.group()
def data() -> None:
    """Look at the images of a study before it is run."""


@data.command("check")
@FILE
@SET
@AS_JSON
@WORKSPACE
@_user_errors
def check_command(file: Path, overrides: tuple[str, ...], as_json: bool, workspace: str | None) -> None:  # noqa: FBT001
    """Read every image, name what is broken or missing, and count images per part."""
    from adloc.tables import print_check

    prepared_report = _check(file, overrides, workspace)
    print_check(prepared_report, as_json=as_json)
    sys.exit(WRONG if prepared_report.errors else OK)


@data.command()
@FILE
@SET
@WORKSPACE
@click.option(
    "--output", type=click.Path(path_type=Path), help="The sheet; default: preview.png in the study's folder."
)
@click.option("--images", type=click.IntRange(1, 20), default=6, show_default=True, help="Images of each category.")
@_user_errors
def preview(file: Path, overrides: tuple[str, ...], workspace: str | None, output: Path | None, images: int) -> None:
    """Write a contact sheet of the study's images with their masks, clean and shifted side by side."""
    from adloc.errors import UserError
    from adloc.preview import preview_sheet

    checked = _check(file, overrides, workspace)
    if checked.plan is None:
        raise UserError(*checked.errors)
    path = output or _workspace(workspace).study_path(checked.spec.study) / "preview.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    preview_sheet(checked.plan, images).save(path)
    click.echo(path)


@cli.command()
@_user_errors
def schema() -> None:
    """Print the JSON Schema of a study file, method parameters included."""
    from adloc.schema import study_schema

    click.echo(json.dumps(study_schema(), indent=1))


@cli.command()
@WORKSPACE
@STORAGE
@click.option("--study", "study_name", metavar="NAME", help="Only this study's dashboard; default: all that tuned.")
def ui(workspace: str | None, storage: str | None, study_name: str | None) -> None:
    """Open the MLflow UI and the Optuna dashboard on this workspace, until Ctrl-C."""
    from adloc.errors import UserError
    from adloc.ui import serve

    try:
        serve(_workspace(workspace), storage, study_name, click.echo)
    except UserError as error:
        click.echo(str(error), err=True)
        sys.exit(WRONG)


@cli.command()
@WORKSPACE
@AS_JSON
@_user_errors
def doctor(workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Check versions, devices, weights and the workspace; say what is missing and where to put it."""
    from adloc.doctor import examine

    findings = examine(_workspace(workspace))
    if as_json:
        click.echo(json.dumps([_fields(f) for f in findings], indent=1))
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'MISS'}  {finding.what}: {finding.found}")
            if finding.remedy:
                click.echo(f"      {finding.remedy}")
    sys.exit(OK if all(f.ok or f.optional for f in findings) else WRONG)


@cli.group()
def store() -> None:
    """The results of stages that are kept for reuse."""


@store.command("ls")
@WORKSPACE
@AS_JSON
@_user_errors
def list_store(workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Count files and bytes by kind of stage."""
    from adloc.store import Store

    totals: dict[str, dict[str, int]] = {}
    for entry in Store(_workspace(workspace).store_path).entries():
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
@_user_errors
def gc(workspace: str | None, max_gb: float | None) -> None:
    """Delete what was not used for longest, until the store fits its cap."""
    from adloc.store import Store, cap_bytes

    gone = Store(_workspace(workspace).store_path).collect(cap_bytes() if max_gb is None else max_gb * 1e9)
    click.echo(f"deleted {len(gone)} files, {sum(e.n_bytes for e in gone) / 1e6:.1f} MB")


@store.command()
@WORKSPACE
@_user_errors
def verify(workspace: str | None) -> None:
    """Read every file against its checksums; damaged ones are set aside and computed again when needed."""
    from adloc.store import Store

    damaged = Store(_workspace(workspace).store_path).verify()
    for path in damaged:
        click.echo(f"damaged, set aside: {path}")
    click.echo(f"{len(damaged)} damaged")
    sys.exit(FAILED if damaged else OK)


def _workspace(given: str | None) -> Any:  # noqa: ANN401  # Workspace, not imported here
    from adloc.workspace import Workspace

    return Workspace.find(given)


def _prepare(file: Path, overrides: tuple[str, ...], workspace: str | None, *, download: bool = False) -> Study:
    from adloc.study import prepare

    return prepare(file, overrides, _workspace(workspace), download=download)


def _check(file: Path, overrides: tuple[str, ...], workspace: str | None) -> Any:  # noqa: ANN401
    from adloc.study import check_data

    return check_data(file, overrides, _workspace(workspace))


def _fields(record: Any) -> dict[str, Any]:  # noqa: ANN401  # any dataclass
    from dataclasses import asdict

    return asdict(record)


def _warn_of_random_weights(prepared: Study) -> None:
    for (backbone, weights), place in prepared.weights.items():
        if weights == "random":
            click.echo(f"WARNING: {backbone} has {place} weights: its figures mean nothing", err=True)
