"""Images read ahead in a few threads, scored together and handed on in their order; of each no more than is needed.

What is held at once: at most `_AHEAD` images at the model's size, and one of full size a thread.
"""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Protocol

import numpy as np

from adloc.datasets.errors import DatasetError
from adloc.model.pictures import problem_of, read_picture_file
from adloc.predict.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from adloc.model.scorer import Scored
    from adloc.predict.images import Asked

BATCH = 16  # images scored together
_AHEAD = 3 * BATCH
_READERS = 4
_GLANCE_S = 0.2  # how long a thread waits before it looks whether all has ended
_LINGER_S = 0.05  # how long images that are there wait for another: what comes one by one is scored one by one


class Scoring(Protocol):
    """What is needed of a model: see `adloc.model.scorer.Scorer`."""

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture as the model sees it."""

    def score(self, pixels: NDArray[np.uint8], *, measure: bool = False) -> Scored:
        """Score prepared pictures; with `measure`, their statistics too."""


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What became of an image.

    Attributes:
        asked: the image.
        score: raw; None of a broken one.
        error: what is wrong with it, in a line; None of one that was scored.
        pixels: uint8 (height, width, 3), as the model saw it; None of a broken one.
        patch_map: float32 (H, W); None of a broken one, and of a method that does not say where a defect is.
        statistics: float64 (S,), what else the model measured of it, for the watch on drift; None where nothing was.
    """

    asked: Asked
    score: float | None
    error: str | None
    pixels: NDArray[np.uint8] | None = None
    patch_map: NDArray[np.float32] | None = None
    statistics: NDArray[np.float64] | None = None

    def row(self, threshold: float | None) -> Row:
        """The row that is written of it."""
        anomalous = None if self.score is None or threshold is None else self.score >= threshold
        return Row(self.asked.shown, self.score, anomalous, threshold, self.error)


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """An image read and prepared, or why it was not."""

    asked: Asked
    pixels: NDArray[np.uint8] | None
    error: str | None


def predict(
    scorer: Scoring, images: Iterable[Asked], stop: Event, *, measure: bool = False
) -> Iterator[tuple[Predicted, ...]]:
    """Score images, up to 16 together; a broken one is among them with its error.

    Args:
        scorer: the model.
        images: read in a thread, not further ahead than is scored.
        stop: once it is set, what is not scored yet is left.
        measure: whether the watch on drift wants their statistics.

    Raises:
        MethodError: the method refuses an image.
        UserError: `images` does.
    """
    queue: Queue[Future[_Taken] | Exception | None] = Queue(_AHEAD)
    ended = Event()

    def take(asked: Asked) -> _Taken:
        if asked.problem is not None:
            return _Taken(asked, None, asked.problem)
        path = Path(asked.path)
        try:
            return _Taken(asked, scorer.prepare(read_picture_file(path)), None)
        except DatasetError as error:
            return _Taken(asked, None, problem_of(error).removeprefix(f"{path}: "))

    readers = ThreadPoolExecutor(_READERS, thread_name_prefix="adloc-read")

    def feed() -> None:
        try:
            for asked in images:
                if not _hand_on(queue, readers.submit(take, asked), ended):
                    return
            _hand_on(queue, None, ended)
        except Exception as error:  # noqa: BLE001  raised again where the images are awaited
            _hand_on(queue, error, ended)

    try:
        Thread(target=feed, name="adloc-list", daemon=True).start()
        more = True
        while more and not stop.is_set():
            batch, more = _gather(queue, stop)
            if batch:
                yield _scored(scorer, [future.result() for future in batch], measure=measure)
    finally:
        ended.set()
        readers.shutdown(cancel_futures=True)


def _hand_on(
    queue: Queue[Future[_Taken] | Exception | None], item: Future[_Taken] | Exception | None, ended: Event
) -> bool:
    """Put it into the queue when there is room; False where nobody waits any more."""
    while not ended.is_set():
        try:
            queue.put(item, timeout=_GLANCE_S)
        except Full:
            continue
        return True
    return False


def _gather(queue: Queue[Future[_Taken] | Exception | None], stop: Event) -> tuple[list[Future[_Taken]], bool]:
    """The next images, as many as are there; and whether more may come."""
    batch: list[Future[_Taken]] = []
    while len(batch) < BATCH:
        try:
            item = queue.get(timeout=_LINGER_S if batch else _GLANCE_S)
        except Empty:
            if batch or stop.is_set():
                break
            continue
        if isinstance(item, Exception):
            raise item
        if item is None:
            return batch, False
        batch.append(item)
    return batch, True


def _scored(scorer: Scoring, taken: Sequence[_Taken], *, measure: bool) -> tuple[Predicted, ...]:
    pixels = [each.pixels for each in taken if each.pixels is not None]
    scored = iter(_each(scorer.score(np.stack(pixels), measure=measure))) if pixels else iter(())
    found = []
    for each in taken:
        if each.pixels is None:
            found.append(Predicted(each.asked, None, each.error))
            continue
        score, patch_map, statistics = next(scored)
        if math.isfinite(score):
            found.append(Predicted(each.asked, score, None, each.pixels, patch_map, statistics))
        else:
            found.append(Predicted(each.asked, None, f"the model gives the score {score}, which says nothing"))
    return tuple(found)


def _each(scored: Scored) -> list[tuple[float, NDArray[np.float32] | None, NDArray[np.float64] | None]]:
    """Score, patch map and statistics of each image."""
    none = [None] * len(scored.scores)
    maps = none if scored.patch_maps is None else list(scored.patch_maps)
    statistics = none if scored.statistics is None else list(scored.statistics)
    return list(zip(scored.scores.tolist(), maps, statistics, strict=True))
