"""The door to predicting: batches as they are scored, to all who want to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from threading import Event

    from adloc.predict.output import Output
    from adloc.predict.pipeline import Predicted


class Listener(Protocol):
    """Who is told of every image: heatmaps, the page, the watch on drift."""

    def add(self, batch: Sequence[Predicted]) -> None:
        """Some more images, in their order."""

    def finish(self) -> None:
        """Called when all are done; not when they were interrupted."""


@dataclass(slots=True)
class Tally:
    """What has been done so far.

    Attributes:
        n_scored: images with a score.
        n_anomalous: of them, those at or above the threshold.
        n_broken: images that are a row with an error.
    """

    n_scored: int = 0
    n_anomalous: int = 0
    n_broken: int = 0

    @property
    def n_done(self) -> int:
        """Rows written."""
        return self.n_scored + self.n_broken


class Progressing(Protocol):
    """Who shows how far it is."""

    def show(self, tally: Tally) -> None:
        """Called after each batch."""


def write_all(
    batches: Iterable[Sequence[Predicted]],
    threshold: float | None,
    output: Output,
    listeners: Sequence[Listener],
    progress: Progressing,
    stop: Event,
) -> Tally:
    """Hand every batch to its row file, and to whoever listens, as soon as it is there.

    Args:
        batches: from `adloc.predict.pipeline.predict` or `adloc.predict.watching.watch`.
        threshold: None where there is none.
        output: of the rows.
        listeners: told before the rows are written: what has a row has its heatmap.
        progress: shown after each.
        stop: when it is set, nothing is finished that is whole or absent.

    Raises:
        UserError: something cannot be written.
    """
    tally = Tally()
    for batch in batches:
        rows = [each.row(threshold) for each in batch]
        for listener in listeners:
            listener.add(batch)
        output.write(rows)
        tally.n_scored += sum(row.error is None for row in rows)
        tally.n_anomalous += sum(row.anomalous is True for row in rows)
        tally.n_broken += sum(row.error is not None for row in rows)
        progress.show(tally)
    if not stop.is_set():
        for listener in listeners:
            listener.finish()
        output.finish()
    return tally
