"""`adloc predict`: new images by an exported model."""

from __future__ import annotations

import math
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adloc.cli.model import ALPHA, DEVICE, MODEL, PREVALENCE
from adloc.cli.options import FAILED, INTERRUPTED, OK, user_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adloc.model.folder import Model
    from adloc.model.scorer import Scorer
    from adloc.predict.boundary import Listener, Tally
    from adloc.predict.images import Asking
    from adloc.predict.monitoring import Monitoring
    from adloc.predict.output import Output, TextFormat
    from adloc.predict.threshold import Chosen


@dataclass(frozen=True, slots=True)
class _Request:
    """The command's arguments; see its help."""

    model_path: Path
    images: tuple[str, ...]
    output: Path | None
    kind: TextFormat
    heatmaps: Path | None
    report: Path | None
    threshold: float | None
    fpr: float | None
    watch: bool
    settle_s: float
    monitor: bool
    alpha: float
    prevalence: float
    device: str


@click.command("predict")
@MODEL
@click.argument("images", nargs=-1)
@click.option(
    "--output", type=click.Path(path_type=Path), help="A .csv, .jsonl or .parquet file; without it, standard output."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="On standard output.",
)
@click.option("--threshold", type=float, metavar="T", help="Anomalous from this score upwards; else the model's own.")
@click.option(
    "--fpr",
    type=float,
    metavar="R",
    help="A threshold that flags at most this share of good parts, by the model's normal reference images.",
)
@click.option(
    "--heatmaps",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Of each image its anomaly map: over it (.png, the contour at the threshold of pixels), and raw (.tiff).",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="PAGE.html",
    help="A page of the images by score, with a threshold to move and its false alarms.",
)
@click.option(
    "--watch", is_flag=True, help="IMAGES is a folder: score what arrives in it; --output goes on where it ended."
)
@click.option(
    "--settle",
    "settle_s",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="A file of a watched folder is taken when it has stood still for so long.",
)
@click.option(
    "--monitor",
    is_flag=True,
    help="Compare what arrives with the model's normal reference images, and say when to recalibrate or refit; with "
    "--watch and --output it goes on where it ended (OUTPUT.monitor.json).",
)
@ALPHA
@PREVALENCE
@DEVICE
@user_errors
def predict_command(
    model_path: Path,
    images: tuple[str, ...],
    output: Path | None,
    kind: TextFormat,
    threshold: float | None,
    fpr: float | None,
    heatmaps: Path | None,
    report: Path | None,
    watch: bool,  # noqa: FBT001
    settle_s: float,
    monitor: bool,  # noqa: FBT001
    alpha: float,
    prevalence: float,
    device: str,
) -> None:
    """Score IMAGES by the exported MODEL: files, folders, quoted patterns, or - for a list on standard input.

    A row an image: path, score, anomalous, threshold, error. Exit code 0: all are scored; 2: nothing was done; 3: some
    are broken, each a row with its error; 130: interrupted by Ctrl-C or SIGTERM, what is written is whole.
    """
    request = _Request(
        model_path, images, output, kind, heatmaps, report, threshold, fpr, watch, settle_s, monitor, alpha, prevalence,
        device,
    )  # fmt: skip
    _check(request)
    with _interruptible() as stop, ExitStack() as files:
        tally = _predict(request, stop, files)
        stopped = stop.is_set()
    sys.exit(INTERRUPTED if stopped else FAILED if tally.n_broken else OK)


def _predict(request: _Request, stop: threading.Event, files: ExitStack) -> Tally:
    from adloc.model.folder import read_model, read_spec
    from adloc.predict.threshold import choose_threshold
    from adloc.progress.scoring import ScoringProgress

    asking = _find(request)
    known = _check_outputs(request, asking)
    spec = read_spec(request.model_path)
    if request.heatmaps is not None:
        from adloc.predict.overlays import check_maps

        check_maps(spec)

    model = read_model(request.model_path)
    chosen = choose_threshold(model, request.threshold, request.fpr)

    from adloc.computing.environment import pick_device
    from adloc.model.scorer import Scorer
    from adloc.predict.boundary import write_all
    from adloc.predict.output import TEXT_SUFFIXES
    from adloc.predict.pipeline import predict
    from adloc.predict.watching import Watched, watch

    scorer = Scorer(model, pick_device(request.device))
    listeners = _listeners(request, scorer, model, chosen)
    is_apart = request.output is not None or not sys.stdout.isatty()
    progress = files.enter_context(ScoringProgress(None if request.watch else asking.total, live=is_apart))
    progress.say(chosen.words)
    if scorer.method_code != model.spec.method_code:
        progress.say(
            f"WARNING: {model.spec.method} is not the code that the model was exported with; "
            "`adloc model check` tells whether it scores as it did"
        )
    monitoring = _monitoring(request, scorer, model, chosen, progress.say) if request.monitor else None
    if monitoring is not None:
        listeners.append(monitoring)
    output = files.enter_context(_output(request))  # the last: what is refused before leaves earlier rows alone
    if request.watch:
        watched = Watched(request.images[0], request.settle_s, known, request.monitor)
        batches = watch(watched, scorer, stop, progress.say)
    else:
        batches = predict(scorer, asking.images, stop, measure=request.monitor)
    tally = write_all(batches, chosen.value, output, listeners, progress, stop)
    progress.end(tally, interrupted=stop.is_set())
    if stop.is_set():
        for path in (request.output, request.report):
            if path is not None and path.suffix.lower() not in TEXT_SUFFIXES:
                progress.say(f"{path} is not written: it would not be whole")
    if monitoring is not None:
        monitoring.end()
    return tally


def _check(request: _Request) -> None:
    """Refuse arguments that do not go together."""
    if request.threshold is not None and request.fpr is not None:
        raise click.UsageError("--threshold and --fpr both set the threshold: give one")
    if request.threshold is not None and not math.isfinite(request.threshold):
        raise click.UsageError(f"--threshold is {request.threshold}: it must be a number that scores can reach")
    if request.fpr is not None and not 0 < request.fpr < 1:
        raise click.UsageError(f"--fpr is {request.fpr}: it must be above 0 and below 1, a share of good parts")
    if request.report is not None and request.output is not None and request.report == request.output:
        raise click.UsageError(f"--report and --output are both {request.report}: name two files")
    if not request.watch:
        return
    if len(request.images) != 1 or not Path(request.images[0]).is_dir():
        raise click.UsageError("--watch takes one folder that is there: adloc predict MODEL FOLDER --watch")
    if request.report is not None:
        raise click.UsageError("--report shows what was scored, and --watch never ends: write it from the folder after")


def _find(request: _Request) -> Asking:
    from adloc.predict.images import Asking, find_images

    if request.watch:
        folder = Path(request.images[0])
        return Asking((), None, (folder,), (folder,))
    return find_images(request.images, sys.stdin.buffer)


def _check_outputs(request: _Request, asking: Asking) -> frozenset[str]:
    """Refuse what cannot be written; of a watched folder, the paths whose rows are there already."""
    from adloc.predict.output import check_output
    from adloc.predict.places import is_folder
    from adloc.predict.resumed import resume

    if request.heatmaps is not None:
        from adloc.predict.heatmaps import check_folder

        check_folder(request.heatmaps, asking.roots, asking.searched)
    if request.report is not None and (is_folder(request.report) or not is_folder(request.report.parent)):
        raise click.UsageError(f"--report is {request.report}: it must be a file in a folder that is there")
    if request.output is None:
        return frozenset()
    check_output(request.output, append=request.watch)
    return frozenset(resume(request.output)) if request.watch else frozenset()


def _output(request: _Request) -> Output:
    from adloc.predict.output import TextOutput, open_output

    if request.output is not None:
        return open_output(request.output, append=request.watch)
    return TextOutput(sys.stdout.buffer, request.kind, "standard output", begun=False, closes=False)


def _listeners(request: _Request, scorer: Scorer, model: Model, chosen: Chosen) -> list[Listener]:
    if request.heatmaps is None and request.report is None:
        return []
    from adloc.methods import find_method
    from adloc.predict.heatmaps import Heatmaps
    from adloc.predict.overlays import Overlays
    from adloc.predict.page import Page

    has_maps = find_method(model.spec.method).maps and model.spec.scale is not None
    overlays = Overlays(scorer, chosen.value) if has_maps else None
    found: list[Listener] = []
    if request.heatmaps is not None and overlays is not None:
        found.append(Heatmaps(request.heatmaps, overlays))
    if request.report is not None:
        found.append(Page(request.report, model, chosen, overlays))
    return found


def _monitoring(
    request: _Request, scorer: Scorer, model: Model, chosen: Chosen, say: Callable[[str], None]
) -> Monitoring:
    from adloc.predict.monitoring import Level, Monitoring, state_path

    names = scorer.statistics if model.spec.reference.statistics == scorer.statistics else ()
    if not names:
        say("monitor: the reference images have other statistics than these, or none: the scores alone are watched")
    kept = state_path(request.output) if request.watch and request.output is not None else None
    return Monitoring(model, names, chosen.value, Level(request.alpha, request.prevalence), say, kept)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that no row is torn; a second Ctrl-C ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, _frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
