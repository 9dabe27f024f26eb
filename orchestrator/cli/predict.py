"""`adloc predict`: new images by an exported model."""

from __future__ import annotations

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
    from collections.abc import Iterator
    from typing import BinaryIO

    from adloc.model.folder import Model
    from adloc.model.scorer import Scorer
    from adloc.predict.boundary import Listener
    from adloc.predict.output import Output, TextFormat
    from adloc.predict.request import Request
    from adloc.predict.threshold import Chosen
    from adloc.progress.scoring import ScoringProgress


@dataclass(frozen=True, slots=True)
class _Terminal:
    """The command line as the caller; see `adloc.predict.request.Caller`."""

    request: Request
    kind: TextFormat
    device: str

    @property
    def stdin(self) -> BinaryIO:
        """The list of images."""
        return sys.stdin.buffer

    def model(self) -> Model:
        """Read before torch is imported."""
        from adloc.model.folder import read_model

        return read_model(self.request.model_path)

    def scorer(self, model: Model) -> Scorer:
        """On the device that was asked for."""
        from adloc.computing.environment import pick_device
        from adloc.model.scorer import Scorer

        return Scorer(model, pick_device(self.device))

    def listeners(self, scorer: Scorer, chosen: Chosen) -> list[Listener]:
        """Files hear of every image; nobody else."""
        del scorer, chosen
        return []

    def progress(self, total: int | None) -> ScoringProgress:
        """On the standard error."""
        from adloc.progress.scoring import ScoringProgress

        return ScoringProgress(total, live=self.request.output is not None or not sys.stdout.isatty())

    def output(self) -> Output:
        """A file, else the standard output."""
        from adloc.predict.output import TextOutput, open_output

        if self.request.output is not None:
            return open_output(self.request.output, append=self.request.watch)
        shown = sys.stdout.isatty()
        return TextOutput(sys.stdout.buffer, self.kind, "standard output", begun=False, closes=False, is_seen=shown)


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
    from adloc.predict.monitoring import Level
    from adloc.predict.request import ArgumentError, Request, check_request, score_asked

    request = Request(
        model_path, images, Level(alpha, prevalence), output, heatmaps, report, threshold, fpr, watch, settle_s, monitor
    )
    try:
        check_request(request)
        with _interruptible() as stop, ExitStack() as files:
            tally = score_asked(request, _Terminal(request, kind, device), stop, files)
            stopped = stop.is_set()
    except ArgumentError as error:
        (complaint,) = error.complaints
        raise click.UsageError(f"{complaint.found}: {complaint.rule}") from None
    sys.exit(INTERRUPTED if stopped else FAILED if tally.n_broken else OK)


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
