"""How far scoring is: a bar on a terminal, a plain line each half minute elsewhere, and what was done at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from adloc.cost.words import duration
from adloc.printed import printable
from adloc.progress.study import PLAIN_EVERY_S

if TYPE_CHECKING:
    from adloc.predict.boundary import Tally


class ScoringProgress:
    """Writes to stderr; a job of less than half a minute says nothing before its end, unless on a terminal."""

    def __init__(self, total: int | None, *, live: bool, console: Console | None = None) -> None:
        """Begin.

        Args:
            total: images to score; None where that is not known.
            live: whether there may be a bar: not where rows go to the same terminal.
            console: where lines go; None for the standard error.
        """
        self._console = console or Console(stderr=True, highlight=False, emoji=False)
        self._total = total
        self._bar: Progress | None = None
        if live and self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn())
            self._bar = Progress(*columns, console=self._console, refresh_per_second=4, transient=True)
            self._task = self._bar.add_task("scoring", total=total)
        self._started = self._told = time.monotonic()

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, tally: Tally) -> None:
        """Say how far it is."""
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=tally.n_done, description=self._words(tally, now))
        elif now - self._told >= PLAIN_EVERY_S:
            self._told = now
            self.say(f"  {self._words(tally, now)}")

    def end(self, tally: Tally, *, interrupted: bool) -> None:
        """Say what was done."""
        rate = tally.n_done / max(time.monotonic() - self._started, 1e-9)
        begun = "interrupted: " if interrupted else ""
        counts = f"{tally.n_scored} scored, {tally.n_anomalous} anomalous, {tally.n_broken} broken"
        self.say(f"{begun}{counts}, {rate:.3g} images/s")

    def say(self, line: str) -> None:
        """A line of its own."""
        self._console.print(printable(line), markup=False, soft_wrap=True)

    def _words(self, tally: Tally, now: float) -> str:
        rate = tally.n_done / max(now - self._started, 1e-9)
        of = "" if self._total is None else f" of {self._total}"
        left = ""
        if self._total is not None and 0 < tally.n_done < self._total:
            left = f", about {duration((self._total - tally.n_done) / rate)} left"
        return f"{tally.n_done}{of} images, {rate:.3g} images/s{left}"
