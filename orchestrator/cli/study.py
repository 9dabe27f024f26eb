"""`adloc study`: validate, plan and run a study file; see how far it is and what it found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from adloc.cli.kept import file_of, prepared_or_kept
from adloc.cli.options import (
    AS_JSON,
    FAILED,
    FILE,
    OK,
    SET,
    STORAGE,
    TRACKING,
    WORKSPACE,
    fields,
    find_place,
    find_workspace,
    prepared_study,
    user_errors,
)
from adloc.cli.say import hand_out, say, say_text, warn

if TYPE_CHECKING:
    from adloc.study import Study

DEVICE = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)


@click.group()
def study() -> None:
    """Validate, plan and run a study file; see how far it is and what it found."""


@study.command()
@FILE
@SET
@AS_JSON
@user_errors
def validate(file: Path, overrides: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Check a study file, without looking at its images; print it resolved with --json."""
    from adloc.study_file.validation import load_study
    from adloc.study_file.variants import variants

    _, spec = load_study(file, overrides)
    if as_json:
        click.echo(json.dumps(spec.resolved(), indent=1))
        return
    n_variants = len(variants(spec))
    say(
        f"{file}: a valid study: {n_variants} variant{'s' * (n_variants != 1)} x {len(spec.regimes)}"
        f" regime{'s' * (len(spec.regimes) != 1)}, {spec.repeats} repeat{'s' * (spec.repeats != 1)}"
    )


@study.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@click.option("--jobs", type=click.IntRange(min=1), help="CPU threads to expect; default all cores.")
@DEVICE
@user_errors
def plan(
    file: Path,
    overrides: tuple[str, ...],
    workspace: str | None,
    as_json: bool,  # noqa: FBT001
    jobs: int | None,
    device: str,
) -> None:
    """Show the runs that a study expands into, the stages that they share and what they will cost; compute nothing.

    The cost is that of the local executor: time, disk and memory by kind of stage, by what was measured in this
    workspace; where nothing was yet, typical figures at the speed of this machine. Weights need not be there yet.
    """
    from adloc.executors.computing import Computing
    from adloc.expected import expect

    prepared = prepared_study(file, overrides, workspace, may_lack_weights=True)
    expected = expect(prepared, Computing(device=device, jobs=jobs))
    if as_json:
        click.echo(json.dumps(expected.as_json(), indent=1))
        return
    from adloc.answer.promises import small_part_warnings
    from adloc.cli.tables import print_plan

    warn(small_part_warnings(expected.study.plan))
    print_plan(expected)


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
@DEVICE
@click.option("--batch-size", type=click.IntRange(min=1), help="Images a backbone pass; figures do not depend on it.")
@click.option("--fresh", is_flag=True, help="Compute everything again; earlier records are set aside.")
@click.option("--new-revision", is_flag=True, help="Tune again beside the old trials where the search has changed.")
@STORAGE
@TRACKING
@user_errors
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
    tracking_uri: str | None,
) -> None:
    """Run a study: what has a record is not computed again, so an interrupted study goes on.

    Exit code 0: all runs are done; 2: the file or its data is wrong and nothing was run; 3: some runs failed,
    the others are recorded; 130: interrupted.
    """
    from adloc.answer.claim import read_claims
    from adloc.cost.words import account_json
    from adloc.executors.computing import Computing
    from adloc.progress.study import Progress
    from adloc.run.complete import complete_study
    from adloc.study import search_json
    from adloc.study_warnings import before_it_runs, what_failed

    place = find_place(workspace, tracking_uri)
    prepared = prepared_study(file, overrides, workspace, download=True)
    warn(before_it_runs(prepared, device))
    computing = Computing(executor, device, jobs, batch_size)
    with Progress(quiet=as_json) as progress:
        done = complete_study(
            prepared, computing, progress, fresh=fresh, new_revision=new_revision, storage=storage, place=place
        )
    prepared, answer = done.study, done.answer
    if as_json:
        cost = {"cost": account_json(done.account)} if done.account else {}
        found: dict[str, Any] = {"outcome": done.outcome.counts(), "results": answer.rows} | cost
        found |= search_json(prepared) | _seal_json(prepared)
        click.echo(json.dumps(found, indent=1))
    else:
        from adloc.cli.tables import print_answer, print_claims, print_promises, print_searches, print_where

        print_answer(answer)
        print_promises(prepared)
        print_claims(read_claims(prepared.workspace.study_path(prepared.spec.study)))
        print_searches(prepared)
        print_where(prepared, done.outcome, place, done.account)
        _print_seal(prepared)
    warn(what_failed(prepared, place))
    sys.exit(FAILED if done.outcome.n_failed else OK)


@study.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@user_errors
def status(file: Path, overrides: tuple[str, ...], workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Say how many runs of a study are done, failed and still to come; of a study's name, by its records alone."""
    from adloc.cli.tables import print_searches
    from adloc.kept.study import KeptStudy
    from adloc.status import status_of

    there = prepared_or_kept(file, overrides, workspace)
    found = status_of(there)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
        return
    say(found.headline)
    if not isinstance(there, KeptStudy):
        print_searches(there)
    say_text("\n".join(found.details))


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
@user_errors
def results(
    file: Path,
    overrides: tuple[str, ...],
    workspace: str | None,
    as_json: bool,  # noqa: FBT001
    form: str,
    output: Path | None,
) -> None:
    """Print one row a run, and a macro row for every average over categories.

    With a study's name for FILE, from its records alone: without its images, weights or options.
    """
    from adloc.answer.results import write, write_parquet
    from adloc.cli.tables import print_answer
    from adloc.kept.study import answer_of, lacking_in
    from adloc.record.reasons import told

    there = prepared_or_kept(file, overrides, workspace)
    answer = answer_of(there)
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
        if lack := told(lacking_in(there)):
            say(lack)
    else:
        hand_out(write(rows, form))


@study.command()
@FILE
@SET
@WORKSPACE
@AS_JSON
@click.option("--output", type=click.Path(path_type=Path), help="The page; default: report.html in the study's folder.")
@user_errors
def report(file: Path, overrides: tuple[str, ...], workspace: str | None, as_json: bool, output: Path | None) -> None:  # noqa: FBT001
    """Write the report of what is recorded so far: one HTML file, figures as PNG and SVG, tables as CSV and LaTeX.

    With a study's name for FILE, from its records alone: without its images, weights or options.
    """
    from adloc.kept.study import as_study
    from adloc.report.page import write_report

    there = prepared_or_kept(file, overrides, workspace)
    prepared = as_study(there, find_workspace(workspace))
    written = write_report(prepared, output, force=True)
    kept_back = "" if output is not None else prepared.workspace.offer(prepared.spec.study)
    warn([*written.damaged, *filter(None, [kept_back])])
    if as_json:
        places = {name: str(getattr(written, name)) for name in ("page", "figures", "tables")}
        click.echo(json.dumps(places | _seal_json(prepared) | {"damaged": written.damaged}, indent=1))
        return
    say(f"{written.page} ({written.page.stat().st_size / 1e6:.1f} MB)")
    _print_seal(prepared)


@study.command()
@FILE
@SET
@WORKSPACE
@TRACKING
@AS_JSON
@user_errors
def track(
    file: Path,
    overrides: tuple[str, ...],
    workspace: str | None,
    tracking_uri: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Bring MLflow up to date from a study's records alone, after a server was away or to show them on another.

    Nothing is computed, neither images nor weights are read. Models are not logged: `adloc study run` does that. FILE
    may be the name of a study.
    """
    from adloc.study_file.validation import load_study
    from adloc.tracking.index import views_at
    from adloc.tracking.track import track_study

    file = file_of(file, overrides, workspace)
    _, spec = load_study(file, overrides)
    place = find_place(workspace, tracking_uri)
    n_shown, views = track_study(spec, place, file), views_at(place, spec.study)
    if as_json:
        click.echo(json.dumps({"tracking_uri": place.address, "shown": n_shown, "views": views}, indent=1))
        return
    say(f"{place.address} shows the {n_shown} recorded runs of {spec.study}")
    for name, link in views.items():
        say(f"{name.capitalize() + ':':<10}{link}")


@study.command("compare")
@click.argument("a")
@click.argument("b")
@WORKSPACE
@AS_JSON
@user_errors
def compare_command(a: str, b: str, workspace: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Say what two studies or two runs differ in: spec, data, environment, metrics, images judged another way.

    A and B are study files, folders of studies in a workspace, or run_ids; all of it comes from the records.
    """
    from adloc.answer.difference_words import describe_differences
    from adloc.answer.differences import compare

    found = compare(a, b, find_workspace(workspace))
    if as_json:
        click.echo(json.dumps(fields(found), indent=1))
    else:
        say_text(describe_differences(found, (a, b)))


def _seal_json(prepared: Study) -> dict[str, Any]:
    from adloc.sealing.ledger import standing, standing_json

    return {"seal": standing_json(standing(prepared.plan, prepared.workspace))}


def _print_seal(prepared: Study) -> None:
    from adloc.sealing.ledger import sentences, standing

    for sentence in sentences(standing(prepared.plan, prepared.workspace)):
        say(sentence)
