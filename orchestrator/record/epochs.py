"""How a run's image scores changed while its model was trained: figures for the report's curves, and for nothing else.

Notation: S states of the training, the last of them the fitted model.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from adloc.metrics.ranking import auroc

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.computing.compute import Workbench
    from adloc.planning.plan import Run


@dataclass(frozen=True, slots=True)
class Epochs:
    """A part's image scores over the training; nan where a class has no image.

    Attributes:
        epochs: (S,) after which the states were kept, ascending.
        normal: (S,) mean score of the normal images.
        anomalous: (S,) mean score of the anomalous ones.
        image_auroc: (S,)
    """

    epochs: tuple[int, ...]
    normal: tuple[float, ...]
    anomalous: tuple[float, ...]
    image_auroc: tuple[float, ...]

    @classmethod
    def of(cls, epochs: NDArray[np.integer], scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> Epochs:
        """What these scores (S, N) of images with these labels (N,) amount to."""
        means = [
            tuple(float(row[here].mean(dtype=np.float64)) if here.any() else math.nan for row in scores)
            for here in (~labels, labels)
        ]
        areas = tuple(float(auroc(row, labels)) for row in scores)
        return cls(tuple(int(epoch) for epoch in epochs), means[0], means[1], areas)

    @property
    def ratio(self) -> tuple[float, ...]:
        """(S,) how many times as high anomalous images score as normal ones, on average; nan where that is undefined.

        Example:
            >>> Epochs((1, 2), (2.0, 0.5), (3.0, 1.0), (0.5, 0.6)).ratio
            (1.5, 2.0)
        """
        pairs = zip(self.normal, self.anomalous, strict=True)
        return tuple(anomalous / normal if normal > 0 else math.nan for normal, anomalous in pairs)


def write_epochs(path: Path, run: Run, bench: Workbench) -> None:
    """Write the figures of both parts; no file where the method does not say."""
    found = {}
    for name, stage in run.over_epochs.items():
        arrays = bench.result(stage).arrays
        labels = np.array([sample.label for sample in stage.source.part.samples], dtype=bool)
        values = asdict(Epochs.of(arrays["epochs"], np.asarray(arrays["image_scores"]), labels))
        found[name] = {key: [_or_null(value) for value in row] for key, row in values.items()}
    if found:
        path.write_text(json.dumps(found, allow_nan=False), encoding="utf-8")


def read_epochs(path: Path) -> dict[str, Epochs]:
    """By part, as `write_epochs` has written them; empty where there is no file."""
    if not path.is_file():
        return {}
    found: dict[str, dict[str, list[float | None]]] = json.loads(path.read_text(encoding="utf-8"))
    read: dict[str, Epochs] = {}
    for part, values in found.items():
        epochs = tuple(int(epoch or 0) for epoch in values.pop("epochs"))
        rows = {name: tuple(math.nan if value is None else value for value in row) for name, row in values.items()}
        read[part] = Epochs(epochs, **rows)
    return read


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None
