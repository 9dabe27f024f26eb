"""`adloc model`: take a run's model out of its study, and have it prove itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from adloc.cli.options import AS_JSON, FAILED, OK, SET, WORKSPACE, fields, find_workspace, prepared_study, user_errors
from adloc.cli.say import say, say_text

if TYPE_CHECKING:
    from adloc.study import Study

DEVICE = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
MODEL = click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
ALPHA = click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Of the watch on drift: the largest probability of ever a false alarm.",
)
PREVALENCE = click.option(
    "--prevalence",
    type=click.FloatRange(0, 0.2),
    default=0.01,
    show_default=True,
    help="Of the watch on drift: the largest share of defective parts that is no change.",
)


@click.group()
def model() -> None:
    """Take a run's model out of its study; have it prove itself, calibrate it, and see whether it still holds."""


@model.command("export")
@click.argument("run_id", required=False)
@click.option("--study", "file", type=click.Path(path_type=Path), help="The study file; else found by the run's id.")
@click.option(
    "--best",
    metavar="METRIC",
    help="Export the best setting by this metric of the validation part, for example image_auroc; without it, and "
    "without RUN_ID, the study's own choice.",
)
@click.option("--category", help="Of the best setting, this category's model alone.")
@SET
@WORKSPACE
@AS_JSON
@click.option("--output", type=click.Path(path_type=Path), help="The folder, new or empty; of several, one in it each.")
@click.option(
    "--with-backbone", is_flag=True, help="Put the backbone's weights into the folder, else their hash alone."
)
@click.option(
    "--engine",
    type=click.Choice(["torch", "onnx", "openvino", "fastest"]),
    help="What runs the backbone on a CPU; default: the study's own, which gives every bit of the record. fastest: the "
    "quickest here of those that keep image AUROC and the flagged share of the validation images within .0005.",
)
@DEVICE
@user_errors
def export_command(
    run_id: str | None,
    file: Path | None,
    best: str | None,
    category: str | None,
    overrides: tuple[str, ...],
    workspace: str | None,
    as_json: bool,  # noqa: FBT001
    output: Path | None,
    with_backbone: bool,  # noqa: FBT001
    engine: Literal["torch", "onnx", "openvino", "fastest"] | None,
    device: str,
) -> None:
    """Write the model of a recorded run as a folder that scores images without its study.

    Name a run by RUN_ID, or a study by --study for the best of its settings, chosen on validation images. The model has
    scored every validation image as its record says before the folder is there.
    """
    from adloc.executors.computing import Computing
    from adloc.executors.on_demand import OnDemand
    from adloc.model.boundary import chosen_runs, export

    if run_id is None and file is None:
        raise click.UsageError("name a run by RUN_ID, or a study by --study FILE")
    if run_id is not None and (best or category):
        raise click.UsageError("--best and --category choose a run, and RUN_ID names one")
    study = _study_of(run_id, file, overrides, workspace)
    runs = chosen_runs(study, run_id, best, category)
    with study.workspace.lock(study.spec.study), OnDemand(Computing(device=device)) as computes:
        found = []
        for each in export(study, runs, computes, output, with_backbone=with_backbone, engine=engine):
            found.append(fields(each) | {"path": str(each.path)})
            if not as_json:
                threshold = "none" if each.threshold is None else f"{each.threshold:.6g}"
                checked = (
                    f"{each.n_checked} validation images scored as recorded"
                    if each.n_checked
                    else "not held against its record, which has no scores of validation images"
                )
                largest = f", largest difference {each.largest_difference:.3g}" if each.largest_difference else ""
                told = f"{each.run_id}: {each.path} ({each.n_bytes / 1e6:.1f} MB), threshold {threshold}"
                say(told)
                say(f"  {checked}{largest}")
    if as_json:
        click.echo(json.dumps(found, indent=1))


@model.command()
@MODEL
@AS_JSON
@DEVICE
@user_errors
def check(model_path: Path, as_json: bool, device: str) -> None:  # noqa: FBT001
    """Verify a model's files and replay its self-test: bit for bit on the same machine, within a tolerance elsewhere.

    Exit code 0: it scores as it did; 2: it cannot be used; 3: it gives other scores.
    """
    from adloc.model.folder import read_model

    read = read_model(model_path)  # what is wrong with it is said before torch is imported

    from adloc.computing.environment import pick_device
    from adloc.model.scorer import Scorer
    from adloc.model.selftest import describe_replay, replay

    found = replay(Scorer(read, pick_device(device)))
    if as_json:
        click.echo(json.dumps(fields(found) | {"passed": found.passed}, indent=1))
    else:
        say_text(describe_replay(found))
    sys.exit(OK if found.passed else FAILED)


@model.command()
@MODEL
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--fpr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="R",
    help="The largest share of good parts that may be flagged; without it none of these images is.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="With which the rate is kept.",
)
@click.option(
    "--promise",
    "kept",
    type=click.Choice(["confident", "expected"]),
    default="confident",
    show_default=True,
    help="Whether the rate is kept with that confidence, or on the average of calibrations, which takes fewer images.",
)
@AS_JSON
@DEVICE
@user_errors
def calibrate(
    model_path: Path,
    images: tuple[str, ...],
    fpr: float | None,
    confidence: float,
    kept: Literal["confident", "expected"],
    as_json: bool,  # noqa: FBT001
    device: str,
) -> None:
    """Set a model's threshold from new IMAGES of good parts alone, and say what it promises.

    The images also become what later ones are compared with by `adloc predict --monitor`. A broken one is an error, and
    nothing is changed: a promise rests on every image.
    """
    from adloc.predict.calibrating import calibrate_on

    found = calibrate_on(model_path, images, fpr, confidence, kept, device)
    if as_json:
        click.echo(json.dumps(fields(found), indent=1))
    else:
        say_text("\n".join(found.sentences))


@model.command()
@MODEL
@click.argument("rows", metavar="SCORES", type=click.Path(path_type=Path))
@ALPHA
@PREVALENCE
@AS_JSON
@user_errors
def drift(model_path: Path, rows: Path, alpha: float, prevalence: float, as_json: bool) -> None:  # noqa: FBT001
    """Say from the SCORES that `adloc predict` wrote, in their order, whether the model still holds.

    Only the column score is read; `adloc predict --monitor` looks at the images as well and sees more. Exit code 0:
    fine; 3: recalibrate or refit.
    """
    from adloc.model.folder import read_model
    from adloc.predict.monitoring import Level
    from adloc.predict.scores import read_scores, watch_scores

    found = watch_scores(read_model(model_path), read_scores(rows), Level(alpha, prevalence))
    if as_json:
        told = {"verdict": found.advice.verdict, "reasons": list(found.advice.reasons)} | fields(found.state)
        click.echo(json.dumps(told, indent=1))
    else:
        say_text("\n".join(found.said))
    sys.exit(OK if found.advice.verdict == "fine" else FAILED)


def _study_of(run_id: str | None, file: Path | None, overrides: tuple[str, ...], workspace: str | None) -> Study:
    from adloc.model.choosing import find_study

    place = find_study(find_workspace(workspace), run_id) if file is None and run_id is not None else file
    if place is None:
        raise click.UsageError("name a run by RUN_ID, or a study by --study FILE")
    return prepared_study(place, overrides, workspace)
