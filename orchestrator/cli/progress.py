"""Progress for people: a live line on a terminal, plain lines elsewhere, both with an estimate of what is left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from adloc.stages import FeatureStage, StepStage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.plan import Plan, Run
    from adloc.record.records import RunRecord
    from adloc.stages import Stage
    from adloc.tuning.search import Search
    from adloc.tuning.trial_records import TrialRecord

FIGURES = ("image_auroc", "pixel_auroc", "pixel_aupro")


PLAIN_EVERY_S = 30.0


class Progress:
    """Writes to stderr, so that what a program reads from stdout stays clean. See `adloc.runner.Reporter`."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Say nothing when `quiet`."""
        self.n_stages = 0
        self.n_images = 0
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._live: Live | None = None
        self._done = 0
        self._total = 0
        self._here = 0
        self._started = time.monotonic()
        self._now = ""
        self._told = self._started

    def __enter__(self) -> Self:
        """Show the live line, on a terminal."""
        if self._console.is_terminal and not self._console.quiet:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def study_started(self, plan: Plan, n_known: int) -> None:
        """Say how much there is to do."""
        self._total, self._done, self._here = len(plan.runs), n_known, 0
        self._started = time.monotonic()
        known = f", {n_known} of them done already" if n_known else ""
        self._say(f"{plan.spec.study}: {len(plan.runs)} runs{known}, {len(plan.stages)} stages shared between them")

    def run_started(self, run: Run) -> None:
        """Remember it for the live line."""
        self._now = _name(run)
        self._refresh("")

    def run_done(self, run: Run, record: RunRecord) -> None:
        """One line a run."""
        self._done += 1
        self._here += 1
        if record.status == "failed":
            what = "FAILED: " + (record.error or "").strip().splitlines()[-1]
        else:
            figures = ((name, record.metrics.get(name)) for name in FIGURES)
            what = "  ".join(f"{name} {value:.4f}" for name, value in figures if value is not None)
        self._say(f"[{self._done}/{self._total}] {_name(run)}: {what}  ({record.seconds:.1f} s{self._left()})")

    def model_started(self, run: Run, number: int, total: int) -> None:
        """One line a model: each scores its validation images once more."""
        self._now = _name(run)
        self._say(f"[{number}/{total}] model for MLflow: {_name(run)}")
        self._refresh("model")

    def search_started(self, search: Search, records: Sequence[TrialRecord]) -> None:
        """Say how many trials there are to do."""
        self._total, self._done, self._here = search.config.trials, len(records), 0
        self._started = time.monotonic()
        self._now = search.name
        known = f", {len(records)} of them done already" if records else ""
        self._say(f"{search.study}: tuning {search.name} on the validation part: {search.config.trials} trials{known}")

    def trial_done(self, search: Search, record: TrialRecord, best: Sequence[TrialRecord]) -> None:
        """One line a trial."""
        self._done, self._here = record.number + 1, self._here + 1
        values = " ".join(f"{k}={_short(v)}" for k, v in record.params.items())
        names = search.config.objectives
        figures = "  ".join(f"{n} {record.figures[n]:.4f}" for n in names if record.figures.get(n) is not None)
        if record.state == "failed":
            figures = "refused: " + (record.error or "").strip().splitlines()[-1]
        if len(names) == 1 and best:
            figures += f"  best {best[0].figures[names[0]]:.4f} (trial {best[0].number})"
        state = "" if record.state == "complete" else f" {record.state}"
        self._say(
            f"[{self._done}/{self._total}] trial {record.number}{state} {values}: {figures}"
            f"  ({record.seconds:.1f} s{self._left()})"
        )

    def stage_started(self, stage: Stage) -> None:
        """Show which stage is being computed."""
        self._told = time.monotonic()
        self._refresh(stage.kind)

    def stage_progress(self, stage: Stage, done: int, total: int) -> None:
        """Show how many images have passed the backbone, or how much is done of what a step counts: epochs, images.

        Where no line can be written over, features are told of once, and a long step every half minute.
        """
        if isinstance(stage, FeatureStage):
            self._refresh(f"{stage.kind} {done}/{total} images")
            if self._live is None and done == total:
                self._say(f"  {stage.part.category}: backbone features of {total} images")
        elif isinstance(stage, StepStage):
            self._refresh(f"{stage.kind} {done}/{total}")
            now = time.monotonic()
            if self._live is None and now - self._told >= PLAIN_EVERY_S:
                self._told = now
                self._say(f"  {stage.source.part.category}: {stage.kind} {done} of {total}")

    def stage_done(self, stage: Stage, seconds: float, n_images: int) -> None:
        """Count it."""
        del stage, seconds
        self.n_stages += 1
        self.n_images += n_images

    def _left(self) -> str:
        """The mean time of the runs of this session, times the runs to come."""
        remaining = self._total - self._done
        if not remaining or not self._here:
            return ""
        return f", about {duration((time.monotonic() - self._started) / self._here * remaining)} left"

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def _refresh(self, stage: str) -> None:
        if self._live is not None:
            left = self._left().removeprefix(", ")
            self._live.update(Text(f"[{self._done}/{self._total}] {self._now}  {stage}  {left}", overflow="ellipsis"))


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


def duration(seconds: float) -> str:
    """Seconds for people: "12 s", "3.5 min"."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
