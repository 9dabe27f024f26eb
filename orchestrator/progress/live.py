"""The live block of a study that runs: how far it is, what is computed now and where, how fast, and what is left."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from adloc.planning.sources import FeatureStage
from adloc.planning.stages import StepStage
from adloc.printed import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import RenderableType

    from adloc.planning.stages import Stage

MOST_WORKERS = 16  # lines, those heard of last
_RECENT = 0.8  # weight of the throughput so far against that of the features just done


@dataclass(slots=True)
class Worker:
    """What another process has done: stages, seconds of work, and the last of them."""

    n_stages: int = 0
    seconds: float = 0.0
    last: str = ""
    heard_at: float = 0.0


@dataclass(slots=True)
class Under:
    """A stage under way: what it is, and how much of it is done."""

    what: str
    share: str = ""
    since: float = 0.0


@dataclass(slots=True)
class Board:
    """What is known of a study that runs.

    Attributes:
        done: runs or trials.
        total: of them.
        n_failed: of those done.
        now: the run, search or phase of the driver that is under way.
        n_stages: computed so far.
        n_planned: stages that were to be computed; 0 where that is not known.
        images_per_s: through the backbone, of the last features.
        under_way: by key of the stage.
        workers: by "host:pid"; none where this process computes.
    """

    done: int = 0
    total: int = 0
    n_failed: int = 0
    now: str = ""
    n_stages: int = 0
    n_planned: int = 0
    images_per_s: float = 0.0
    under_way: dict[str, Under] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)

    def began(self, stage: Stage) -> None:
        """A stage is under way, or sent out to be."""
        self.under_way[stage.key] = Under(name_stage(stage), since=time.monotonic())

    def went_on(self, stage: Stage, share: str) -> None:
        """So much of it is done, in words."""
        self.under_way.setdefault(stage.key, Under(name_stage(stage), since=time.monotonic())).share = share

    def ended(self, stage: Stage, seconds: float, n_images: int) -> None:
        """It is done."""
        self.under_way.pop(stage.key, None)
        self.n_stages += 1
        if n_images and seconds:
            now = n_images / seconds
            self.images_per_s = _RECENT * self.images_per_s + (1 - _RECENT) * now if self.images_per_s else now

    def gave_up(self, stages: Iterable[Stage]) -> None:
        """A run or trial failed, and none of its stages goes on."""
        self.n_failed += 1
        for stage in stages:
            self.under_way.pop(stage.key, None)

    def heard(self, worker: str, stage: Stage, seconds: float) -> None:
        """A worker has done a stage, or some images of one."""
        known = self.workers.setdefault(worker, Worker())
        known.n_stages, known.seconds = known.n_stages + 1, known.seconds + seconds
        known.last, known.heard_at = f"{name_stage(stage)} ({seconds:.1f} s)", time.monotonic()

    def machines(self) -> list[str]:
        """A line for each machine that worked."""
        n_workers, n_stages, seconds = Counter[str](), Counter[str](), Counter[str]()
        for name, worker in self.workers.items():
            host = name.rpartition(":")[0]
            n_workers[host] += 1
            n_stages[host] += worker.n_stages
            seconds[host] += int(worker.seconds)
        return [
            f"{host}: {n} worker{'s' * (n != 1)}, {n_stages[host]} tasks, {seconds[host]} s of work"
            for host, n in sorted(n_workers.items())
        ]


class LiveBlock:
    """Renders a board anew whenever it is looked at, so that what is left counts down."""

    def __init__(self, board: Board, left: Callable[[], str]) -> None:
        """Show `board`, with what is left in words."""
        self._board = board
        self._left = left

    def __rich__(self) -> RenderableType:
        """One line for the study, one for what is computed, one a worker; none longer than the terminal."""
        board = self._board
        failed = f", {board.n_failed} failed" if board.n_failed else ""
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(justify="right", no_wrap=True)
        count = f"[{board.done}/{board.total}] " if board.total else ""
        grid.add_row(Text(printable(f"{count}{board.now}")), Text(f"{self._left()}{failed}".lstrip(", ")))
        planned = f" of {board.n_planned}" if board.n_planned >= board.n_stages > 0 else ""
        pace = f", {board.images_per_s:.1f} images/s" if board.images_per_s else ""
        grid.add_row(Text(printable(f"  {self._under_way()}")), Text(f"{board.n_stages}{planned} stages{pace}"))
        latest = sorted(board.workers.items(), key=lambda each: -each[1].heard_at)[:MOST_WORKERS]
        for name, worker in sorted(latest):
            count = f"{worker.n_stages} tasks, {worker.seconds:.0f} s"
            grid.add_row(Text(printable(f"  {name}  last {worker.last}")), Text(count))
        return grid

    def _under_way(self) -> str:
        """What is computed: the stage with its time, or so many of each kind where several are."""
        stages = list(self._board.under_way.values())
        if len(stages) == 1:
            return f"{stages[0].what} {stages[0].share}  {time.monotonic() - stages[0].since:.0f} s"
        kinds = Counter(stage.what.partition(" ")[0] for stage in stages)
        return ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())


def name_stage(stage: Stage) -> str:
    """ "patchcore.search brick": the kind, and whose images; where they are shifted or of a real domain, which."""
    if not isinstance(stage, FeatureStage | StepStage):
        return stage.kind
    (part,) = stage.parts
    domain = "" if part.domain == "clean" else f" {part.domain}"
    return f"{stage.kind} {part.category}{domain}"
