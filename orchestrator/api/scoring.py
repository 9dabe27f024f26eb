"""A program as the one who asks a model: rows and drawings are kept in memory."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from adloc.predict.output import open_output
from adloc.progress.lines import plain_console
from adloc.progress.scoring import ScoringProgress
from adloc.record.png import encode_png

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from numpy.typing import NDArray

    from adloc.model.folder import Model
    from adloc.model.scorer import Scorer
    from adloc.predict.boundary import Listener
    from adloc.predict.output import Output
    from adloc.predict.overlays import Overlays
    from adloc.predict.pipeline import Predicted
    from adloc.predict.request import Request, Showing
    from adloc.predict.row import Row
    from adloc.predict.threshold import Chosen


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """An image that was scored, with its map.

    Attributes:
        name: as it was given.
        score: raw.
        image: uint8 (height, width, 3), as the model saw it.
        anomaly_map: float32 (height, width), raw.
        png: the image, and the map over it.
    """

    name: str
    score: float
    image: NDArray[np.uint8]
    anomaly_map: NDArray[np.float32]
    png: bytes


class Asking:
    """One question; see `adloc.predict.request.Caller`.

    Attributes:
        rows: of all images.
        drawn: of those that were scored, where drawings are asked for.
        threshold: that was used.
    """

    def __init__(
        self, request: Request, model: Model, scorer: Callable[[], Scorer], *, quiet: bool, draws: bool
    ) -> None:
        """Ask it of a model that is read."""
        self.rows: list[dict[str, Any]] = []
        self.drawn: list[Drawn] = []
        self.threshold: float | None = None
        self._request, self._model, self._scorer = request, model, scorer
        self._quiet, self._draws = quiet, draws

    @property
    def stdin(self) -> BinaryIO:
        """Never read: no image is named -."""
        return sys.stdin.buffer

    def model(self) -> Model:
        """As it was read."""
        return self._model

    def scorer(self, model: Model) -> Scorer:
        """Made once for many questions."""
        del model
        return self._scorer()

    def listeners(self, scorer: Scorer, chosen: Chosen) -> list[Listener]:
        """Who draws, where drawings are asked for."""
        self.threshold = chosen.value
        if not self._draws:
            return []
        from adloc.predict.overlays import Overlays

        return [_Drawing(Overlays(scorer, chosen.value), self.drawn)]

    def progress(self, total: int | None) -> AbstractContextManager[Showing]:
        """Plain lines."""
        return ScoringProgress(total, live=False, console=plain_console(quiet=self._quiet))

    def output(self) -> Output:
        """The rows, and the file where one is asked for."""
        path = self._request.output
        return _Rows(self.rows, None if path is None else open_output(path, append=False))


class _Rows:
    """Keeps rows, and hands them on; see `adloc.predict.output.Output`."""

    def __init__(self, rows: list[dict[str, Any]], file: Output | None) -> None:
        self._rows, self._file = rows, file

    def __enter__(self) -> Self:
        if self._file is not None:
            self._file.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._file is not None:
            self._file.__exit__(*raised)

    def write(self, rows: Sequence[Row]) -> None:
        """Some more."""
        self._rows += [asdict(row) for row in rows]
        if self._file is not None:
            self._file.write(rows)

    def finish(self) -> None:
        """All are there."""
        if self._file is not None:
            self._file.finish()


class _Drawing:
    """Draws every image that was scored; see `adloc.predict.boundary.Listener`."""

    def __init__(self, overlays: Overlays, drawn: list[Drawn]) -> None:
        self._overlays, self._drawn = overlays, drawn

    def add(self, batch: Sequence[Predicted]) -> None:
        """Some more."""
        scored = [each for each in batch if each.score is not None]
        for each, found in zip(scored, self._overlays.draw(scored), strict=True):
            if each.pixels is not None and each.score is not None:
                name = each.asked.name.rpartition("/")[2]
                strip = self._overlays.strip(name, each.score, each.pixels, found.anomaly_map)
                png = encode_png(np.asarray(strip), {})
                self._drawn.append(Drawn(each.asked.shown, each.score, each.pixels, found.anomaly_map, png))

    def finish(self) -> None:
        """Nothing is left to do."""
