"""Progress for people: a live block on a terminal, plain lines elsewhere, both with an estimate of what is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live

from adloc.cost.words import duration, expectation
from adloc.errors import in_one_line
from adloc.printed import printable
from adloc.progress.live import Board, LiveBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adloc.cost.outlook import Outlook
    from adloc.cost.phases import Phase
    from adloc.planning.plan import Plan, Run
    from adloc.planning.stages import Stage
    from adloc.record.records import RunRecord
    from adloc.tuning.search import Search
    from adloc.tuning.trial_records import TrialRecord

FIGURES = ("image_auroc", "pixel_auroc", "pixel_aupro")
PLAIN_EVERY_S = 30.0
PHASES = {
    "start": "getting ready",
    "tables": "tables",
    "explain": "explaining what was missed",
    "report": "writing the report",
    "models": "models for MLflow",
}


class Progress:
    """Writes to stderr, so that what a program reads from stdout stays clean. See `adloc.run.reporter.Reporter`."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        """Say nothing when `quiet`; else on the standard error, or where `console` writes."""
        self.n_images = 0
        self._board = Board()
        self._outlook: Outlook | None = None
        self._console = console or Console(stderr=True, quiet=quiet, highlight=False)
        self._live: Live | None = None
        self._here = 0
        self._started = time.monotonic()
        self._mean_left, self._mean_at = 0.0, self._started
        self._told = self._started

    def __enter__(self) -> Self:
        """Show the live block, on a terminal."""
        if self._console.is_terminal and not self._console.quiet:
            block = LiveBlock(self._board, self._words_left)
            self._live = Live(block, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the live block away, and say what other machines have done."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        for line in self._board.machines():
            self._say(line)

    @property
    def n_stages(self) -> int:
        """Stages computed so far."""
        return self._board.n_stages

    def publish(self, sink: Callable[[int, Mapping[str, float]], None]) -> None:
        """People read the terminal."""

    def phase_started(self, phase: Phase) -> None:
        """Show it."""
        self._board.now = PHASES.get(phase, self._board.now)

    def study_started(self, plan: Plan, todo: Sequence[Run]) -> None:
        """Say how much there is to do."""
        n_known = len(plan.runs) - len(todo)
        self._begin(len(plan.runs), n_known)
        known = f", {n_known} of them done already" if n_known else ""
        self._say(f"{plan.spec.study}: {len(plan.runs)} runs{known}, {len(plan.stages)} stages shared between them")

    def expect(self, outlook: Outlook) -> None:
        """Say what it will take."""
        self._outlook, self._board.n_planned = outlook, len(outlook.estimate.by_stage) + self._board.n_stages
        self._say(expectation(outlook.estimate))

    def run_started(self, run: Run) -> None:
        """Remember it for the live block."""
        self._board.now = _name(run)

    def run_done(self, run: Run, record: RunRecord) -> None:
        """One line a run."""
        self._count()
        if record.status == "failed":
            self._board.gave_up(run.stages())
            what = f"FAILED: {in_one_line(record.error or '')}"
        else:
            figures = ((name, record.metrics.get(name)) for name in FIGURES)
            what = "  ".join(f"{name} {value:.4f}" for name, value in figures if value is not None)
        self._say(f"{self._where()} {_name(run)}: {what}  ({record.seconds:.1f} s{self._left()})")

    def model_started(self, run: Run, number: int, total: int) -> None:
        """One line a model: each scores its validation images once more."""
        self._board.now = f"model {number} of {total} for MLflow: {_name(run)}"
        self._say(f"[{number}/{total}] model for MLflow: {_name(run)}")

    def search_started(self, search: Search, records: Sequence[TrialRecord]) -> None:
        """Say how many trials there are to do."""
        self._begin(search.config.trials, len(records))
        self._board.now = search.name
        known = f", {len(records)} of them done already" if records else ""
        self._say(f"{search.study}: tuning {search.name} on the validation part: {search.config.trials} trials{known}")

    def trial_done(self, search: Search, record: TrialRecord, best: Sequence[TrialRecord]) -> None:
        """One line a trial."""
        self._count()
        values = " ".join(f"{k}={_short(v)}" for k, v in record.params.items())
        names = search.config.objectives
        figures = "  ".join(f"{n} {record.figures[n]:.4f}" for n in names if record.figures.get(n) is not None)
        if record.state == "failed":
            self._board.gave_up(())
            figures = f"refused: {in_one_line(record.error or '')}"
        if len(names) == 1 and best:
            figures += f"  best {best[0].figures[names[0]]:.4f} (trial {best[0].number})"
        state = "" if record.state == "complete" else f" {record.state}"
        self._say(
            f"{self._where()} trial {record.number}{state} {values}: {figures}  ({record.seconds:.1f} s{self._left()})"
        )

    def stage_started(self, stage: Stage) -> None:
        """Show which stage is being computed."""
        self._told = time.monotonic()
        self._board.began(stage)

    def stage_progress(self, stage: Stage, done: int, total: int) -> None:
        """Show how many images have passed the backbone, or how much is done of what a step counts: epochs, images.

        Where no line can be written over, features are told of once, and a long step every half minute.
        """
        self._board.went_on(stage, f"{done}/{total} images" if stage.is_by_image else f"{done}/{total}")
        if self._live is not None:
            return
        category, now = stage.parts[0].category, time.monotonic()
        if stage.is_by_image:
            if done == total:
                self._say(f"  {category}: backbone features of {total} images")
        elif now - self._told >= PLAIN_EVERY_S:
            self._told = now
            self._say(f"  {category}: {stage.kind} {done} of {total}")

    def stage_done(self, stage: Stage, seconds: float, n_images: int) -> None:
        """Count it."""
        self._board.ended(stage, seconds, n_images)
        self.n_images += n_images

    def worker_done(self, worker: str, stage: Stage, seconds: float, n_images: int) -> None:
        """Show what it has done."""
        del n_images
        self._board.heard(worker, stage, seconds)

    def _begin(self, total: int, n_known: int) -> None:
        """A study or a search begins."""
        self._outlook = None
        self._board.total, self._board.done, self._board.n_failed, self._board.now = total, n_known, 0, ""
        self._here, self._started = 0, time.monotonic()

    def _count(self) -> None:
        """One more run or trial is done; the others take as long on the average, where nothing better is known."""
        self._board.done += 1
        self._here += 1
        self._mean_at = time.monotonic()
        self._mean_left = (self._mean_at - self._started) / self._here * (self._board.total - self._board.done)

    def _left_s(self) -> float:
        """Seconds that are left, which count down until something is done; 0 where nothing is known of them."""
        if self._outlook is not None:
            return self._outlook.left_s
        return max(0.0, self._mean_left - (time.monotonic() - self._mean_at)) if self._here else 0.0

    def _words_left(self) -> str:
        left = self._left_s()
        return f"about {duration(left)} left" if left >= 1 else ""

    def _left(self) -> str:
        words = self._words_left()
        return f", {words}" if words else ""

    def _where(self) -> str:
        return f"[{self._board.done}/{self._board.total}]"

    def _say(self, line: str) -> None:
        self._console.print(printable(line), markup=False, soft_wrap=True)


def _name(run: Run) -> str:
    values = run.variant.hyperparameters()
    varied = " ".join(f"{k}={_short(values.get(k, v))}" for k, v in run.variant.varied.items())
    scope = "" if run.scope == "category" else f" {run.scope} ({run.threshold_scope} threshold)"
    repeat = f" repeat {run.repeat}" if run.repeat else ""
    return f"{run.category} {run.variant.method.name} {varied}{' ' if varied else ''}{run.regime}{scope}{repeat}"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
