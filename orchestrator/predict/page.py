"""A page for the person at the line: images by score, a threshold to move, and what it costs in false alarms.

One HTML file that needs nothing else. The rates hold for every position of the threshold at once, since it is chosen
with the scores in view: see `adloc.uncertainty.order_statistics`.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from adloc.errors import Complaint, UserError
from adloc.predict.shown import Kept, Shown
from adloc.uncertainty.order_statistics import promise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.model.folder import Model
    from adloc.predict.overlays import Overlays
    from adloc.predict.pipeline import Predicted
    from adloc.predict.threshold import Chosen

_SIDE = 360  # pixels, the longer side of a picture on the page
_QUALITY = 82
_MOST_STOPS = 2000  # positions of the threshold
_MOST_ERRORS = 500


@dataclass(frozen=True, slots=True)
class Broken:
    """An image that could not be scored."""

    name: str
    error: str


class Page:
    """Collects what is scored, and writes the page when all is."""

    def __init__(self, path: Path, model: Model, chosen: Chosen, overlays: Overlays | None) -> None:
        """Begin.

        Args:
            path: of the page.
            model: that scores.
            chosen: the threshold.
            overlays: draws maps; None where there are none: the images are shown alone.
        """
        self._path, self._model, self._chosen, self._overlays = path, model, chosen, overlays
        self._scores: list[float] = []
        self._broken: list[Broken] = []
        self._n_broken = 0
        self._kept = Kept(chosen.value)

    def add(self, batch: Sequence[Predicted]) -> None:
        """Remember every score, and pictures of the images that the page may show."""
        scored = [each for each in batch if each.score is not None]
        self._scores += [each.score for each in scored if each.score is not None]
        broken = [Broken(each.asked.shown, each.error or "") for each in batch if each.score is None]
        self._n_broken += len(broken)
        self._broken += broken[: _MOST_ERRORS - len(self._broken)]
        wanted = [each for each in scored if each.score is not None and self._kept.wants(each.score)]
        drawn = [None] * len(wanted) if self._overlays is None else self._overlays.draw(wanted)
        for each, found in zip(wanted, drawn, strict=True):
            if each.score is not None and each.pixels is not None:
                overlay = None if found is None else _picture(found.overlay)
                self._kept.add(Shown(each.asked.name, each.score, _picture(each.pixels), overlay))

    def finish(self) -> None:
        """Write the page, aside and renamed.

        Raises:
            UserError: it cannot be written.
        """
        aside = self._path.with_name(f".{self._path.name}.tmp")
        try:
            aside.write_text(self._render(), encoding="utf-8")
            aside.replace(self._path)
        except OSError as error:
            found = f"{self._path}: cannot be written ({error.strerror})"
            raise UserError(Complaint(found, "the page is a file", "name another place by --report")) from None

    def _render(self) -> str:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup

        spec = self._model.spec
        source = files("adloc.predict")
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        data = line_data(np.array(self._scores), self._model.reference.normal, self._chosen.value)
        text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
        return environment.from_string((source / "page.html").read_text(encoding="utf-8")).render(
            origin=spec.origin,
            method=spec.method,
            words=self._chosen.words,
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            shown=self._kept.by_score(),
            n_scored=len(self._scores),
            n_normal=self._model.reference.normal.size,
            broken=self._broken,
            n_broken=self._n_broken,
            has_maps=self._overlays is not None,
            data=Markup(text),  # noqa: S704  JSON that closes no element
            css=Markup((source / "page.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
            js=Markup((source / "page.js").read_text(encoding="utf-8")),  # noqa: S704  our own file
        )


def line_data(
    scores: NDArray[np.float64], normal: NDArray[np.float32], threshold: float | None
) -> dict[str, list[float] | float | int | None]:
    """What the page reckons with.

    Args:
        scores: (N,) of the images.
        normal: (n,) of the model's normal reference images.
        threshold: in use.

    Returns:
        `scores` and `normal` ascending; `expected` and `upper`, the bounds of the false-alarm rate by the number of
        normal images flagged, 0 to n; `stops`, the thresholds to choose from, ascending: each flags one image more or
        one normal image more than the next, the last none; `start`, the position of the threshold in use.
    """
    n = normal.size
    promises = [promise(n, k, chosen=True) for k in range(n + 1)] if n else []
    known = np.concatenate([scores, normal.astype(np.float64)])
    stops = np.unique(known)
    if stops.size > _MOST_STOPS:
        stops = np.unique(np.quantile(stops, np.linspace(0, 1, _MOST_STOPS), method="nearest"))
    ends = [] if not known.size else [float(np.nextafter(np.float32(known.max()), np.float32(np.inf)))]
    stops = np.unique([*stops, *ends, *([] if threshold is None else [threshold])])
    start = stops.size - 1 if threshold is None else int(np.searchsorted(stops, threshold))
    return {
        "scores": np.sort(scores).tolist(),
        "normal": np.sort(normal.astype(np.float64)).tolist(),
        "expected": [each.expected for each in promises],
        "upper": [each.upper for each in promises],
        "stops": stops.tolist(),
        "start": start,
    }


def _picture(pixels: NDArray[np.uint8]) -> str:
    """A JPEG as a data URI, made smaller where it is large."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SIDE, _SIDE))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
