"""Images that arrive in a folder, scored as they do. By looking again and again: it works on network drives too."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adloc.predict.images import Asked, below, place_of
from adloc.predict.pipeline import predict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event

    from adloc.predict.pipeline import Predicted, Scoring

N_TRIES = 3  # readings of a file that does not decode, before that is what is said of it
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched.

    Attributes:
        folder: searched through each time.
        settle_s: a file is taken when its size and time of change have stood still for so long.
        known: paths, as they are shown, that are not scored again, by whatever name the folder goes now.
        measure: whether statistics of each image are wanted.
    """

    folder: str
    settle_s: float
    known: frozenset[str]
    measure: bool = False


def watch(
    watched: Watched, scorer: Scoring, stop: Event, tell: Callable[[str], None]
) -> Iterator[tuple[Predicted, ...]]:
    """Score what arrives, the oldest first, until `stop` is set.

    A file that is broken is read again when it has stood still once more; at the third time its error is its row. A
    path is scored once, whatever is written to it later.

    Args:
        watched: where, and what is left out.
        scorer: the model.
        stop: ends it after the images in work.
        tell: told once when the folder cannot be read, and once when it can be again.
    """
    done, tries = {_whole(path) for path in watched.known}, dict[str, int]()
    waiting = _Waiting(watched, tell)
    while not stop.is_set():
        ready = waiting.ready(done)
        for batch in predict(scorer, ready, stop, measure=watched.measure) if ready else ():
            final = []
            for each in batch:
                path = each.asked.path
                tries[path] = tries.get(path, 0) + 1
                if each.error is None or tries[path] == N_TRIES:
                    final.append(each)
                    done.add(_whole(each.asked.shown))
                    del tries[path]
                else:
                    waiting.again(path)
            if final:
                yield tuple(final)
        stop.wait(_POLL_S)


class _Waiting:
    """Files that have been seen and are not scored yet."""

    def __init__(self, watched: Watched, tell: Callable[[str], None]) -> None:
        self._folder, self._settle_s, self._tell = watched.folder, watched.settle_s, tell
        self._common = Path(watched.folder).absolute()
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}
        self._is_lost = False

    def ready(self, done: set[str]) -> list[Asked]:
        """Those that have stood still, by their time of change."""
        now, still, seen = time.monotonic(), list[tuple[int, Asked]](), {}
        for path in self._listed():
            asked = Asked(path, place_of(path, self._common))
            if _whole(asked.shown) in done:
                continue
            try:
                status = Path(path).stat()
            except OSError:  # gone again, or not readable yet
                continue
            state = (status.st_size, status.st_mtime_ns)
            before, since = self._seen.get(path, (None, now))
            seen[path] = (state, since if state == before else now)
            if now - seen[path][1] >= self._settle_s:
                still.append((status.st_mtime_ns, asked))
        self._seen = seen
        return [asked for _, asked in sorted(still, key=lambda each: each[0])]

    def again(self, path: str) -> None:
        """Have a file stand still once more before it is taken."""
        self._seen.pop(path, None)

    def _listed(self) -> list[str]:
        try:
            found = list(below(Path(self._folder)))
        except OSError as error:
            if not self._is_lost:
                self._tell(f"{self._folder}: cannot be read now ({error.strerror}); looking again until it can")
            self._is_lost = True
            return []
        if self._is_lost:
            self._tell(f"{self._folder}: can be read again")
        self._is_lost = False
        return found


def _whole(path: str) -> str:
    """The path from the root on: "in", "./in" and "/data/in" are one folder."""
    return os.path.abspath(path)  # noqa: PTH100  of the name as it is, links not followed
