"""What is asked of a model: which images, judged how, written where; checked as a whole, then done."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from adloc.errors import Complaint, UserError
from adloc.model.folder import read_spec
from adloc.predict.boundary import Progressing, write_all
from adloc.predict.images import Asking, find_images
from adloc.predict.output import TEXT_SUFFIXES, check_output
from adloc.predict.places import is_folder
from adloc.predict.resumed import resume
from adloc.predict.threshold import choose_threshold

if TYPE_CHECKING:
    from contextlib import AbstractContextManager, ExitStack
    from threading import Event
    from typing import BinaryIO

    from adloc.model.folder import Model
    from adloc.model.scorer import Scorer
    from adloc.predict.boundary import Listener, Tally
    from adloc.predict.monitoring import Level, Monitoring
    from adloc.predict.output import Output
    from adloc.predict.threshold import Chosen


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        model_path: folder of the model.
        images: files, folders, patterns, or - for a list on the standard input.
        level: of the watch on drift.
        output: file of the rows; None for wherever rows go without one.
        heatmaps: folder of heatmaps; None for none.
        report: the page of the images by score; None for none.
        threshold: anomalous from this score upwards; None for the model's own.
        fpr: the largest share of good parts that may be flagged; None for the threshold.
        watch: `images` is a folder in which what arrives is scored.
        settle_s: how long a file of a watched folder stands still before it is taken.
        monitor: whether drift is watched for.
    """

    model_path: Path
    images: tuple[str, ...]
    level: Level
    output: Path | None = None
    heatmaps: Path | None = None
    report: Path | None = None
    threshold: float | None = None
    fpr: float | None = None
    watch: bool = False
    settle_s: float = 1.0
    monitor: bool = False


class ArgumentError(UserError):
    """Arguments that no call can have, or that do not go together."""

    def __init__(self, found: str, rule: str, remedy: str) -> None:
        super().__init__(Complaint(found, rule, remedy))


class Showing(Progressing, Protocol):
    """Who tells people how scoring goes on."""

    def say(self, line: str) -> None:
        """A line of its own."""

    def end(self, tally: Tally, *, interrupted: bool) -> None:
        """Say what was done."""


class Caller(Protocol):
    """Whoever asks: the command line, or a program."""

    @property
    def stdin(self) -> BinaryIO:
        """Where a list of images comes from."""
        ...

    def model(self) -> Model:
        """The model, whole."""
        ...

    def scorer(self, model: Model) -> Scorer:
        """The model at work."""
        ...

    def listeners(self, scorer: Scorer, chosen: Chosen) -> list[Listener]:
        """Who else wants to hear of every image."""
        ...

    def progress(self, total: int | None) -> AbstractContextManager[Showing]:
        """For so many images; None where that is not known."""
        ...

    def output(self) -> Output:
        """Where rows go."""
        ...


def check_request(request: Request) -> None:
    """Refuse arguments that do not go together.

    Raises:
        ArgumentError: two do not, or one can never be.
    """
    if request.threshold is not None and request.fpr is not None:
        raise ArgumentError("--threshold and --fpr both set the threshold", "give one", "leave one of them out")
    if request.threshold is not None and not math.isfinite(request.threshold):
        rule = "it must be a number that scores can reach"
        raise ArgumentError(f"--threshold is {request.threshold}", rule, "leave it out for the model's own")
    if request.fpr is not None and not 0 < request.fpr < 1:
        rule = "it must be above 0 and below 1, a share of good parts"
        raise ArgumentError(f"--fpr is {request.fpr}", rule, "use 0.01 for one good part in a hundred")
    if request.report is not None and request.output is not None and request.report == request.output:
        raise ArgumentError(f"--report and --output are both {request.report}", "name two files", "rename one of them")
    if request.watch:
        _check_watch(request)


def _check_watch(request: Request) -> None:
    """Refuse what cannot be watched, or not with a report.

    Raises:
        ArgumentError: it is no folder, or a report is asked for.
    """
    if len(request.images) != 1 or not Path(request.images[0]).is_dir():
        rule, remedy = "adloc predict MODEL FOLDER --watch", "make the folder first"
        raise ArgumentError("--watch takes one folder that is there", rule, remedy)
    if request.report is not None:
        found = "--report shows what was scored, and --watch never ends"
        raise ArgumentError(found, "write it from the folder after", "leave one of them out")


def score_asked(request: Request, caller: Caller, stop: Event, files: ExitStack) -> Tally:
    """Score what is asked, and hand it to whoever wants it.

    Args:
        request: see `check_request`.
        caller: gives the model, and takes rows and words.
        stop: once it is set, what is not scored yet is left.
        files: closes what is opened here.

    Raises:
        UserError: something is not there, or cannot be written; nothing was done.
    """
    asking = _find(request, caller.stdin)
    known = _check_outputs(request, asking)
    spec = read_spec(request.model_path)
    if request.heatmaps is not None:
        from adloc.predict.overlays import check_maps

        check_maps(spec)

    model = caller.model()
    chosen = choose_threshold(model, request.threshold, request.fpr)

    from adloc.predict.pipeline import predict
    from adloc.predict.watching import Watched, watch

    scorer = caller.scorer(model)
    listeners = [*_listeners(request, scorer, model, chosen), *caller.listeners(scorer, chosen)]
    progress = files.enter_context(caller.progress(None if request.watch else asking.total))
    progress.say(chosen.words)
    if scorer.method_code != model.spec.method_code:
        progress.say(
            f"WARNING: {model.spec.method} is not the code that the model was exported with; "
            "`adloc model check` tells whether it scores as it did"
        )
    monitoring = _monitoring(request, scorer, model, chosen, progress) if request.monitor else None
    if monitoring is not None:
        listeners.append(monitoring)
    output = files.enter_context(caller.output())  # the last: what is refused before leaves earlier rows alone
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


def _find(request: Request, stdin: BinaryIO) -> Asking:
    if request.watch:
        folder = Path(request.images[0])
        return Asking((), None, (folder,), (folder,))
    return find_images(request.images, stdin)


def _check_outputs(request: Request, asking: Asking) -> frozenset[str]:
    """Refuse what cannot be written; of a watched folder, the paths whose rows are there already."""
    if request.heatmaps is not None:
        from adloc.predict.heatmaps import check_folder

        check_folder(request.heatmaps, asking.roots, asking.searched)
    if request.report is not None and (is_folder(request.report) or not is_folder(request.report.parent)):
        rule = "it must be a file in a folder that is there"
        raise ArgumentError(f"--report is {request.report}", rule, "make the folder, or name another")
    if request.output is None:
        return frozenset()
    check_output(request.output, append=request.watch)
    return frozenset(resume(request.output)) if request.watch else frozenset()


def _listeners(request: Request, scorer: Scorer, model: Model, chosen: Chosen) -> list[Listener]:
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


def _monitoring(request: Request, scorer: Scorer, model: Model, chosen: Chosen, progress: Showing) -> Monitoring:
    from adloc.predict.monitoring import Monitoring, state_path

    names = scorer.statistics if model.spec.reference.statistics == scorer.statistics else ()
    if not names:
        progress.say(
            "monitor: the reference images have other statistics than these, or none: the scores alone are watched"
        )
    kept = state_path(request.output) if request.watch and request.output is not None else None
    return Monitoring(model, names, chosen.value, request.level, progress.say, kept)
