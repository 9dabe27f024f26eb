"""One run that is done, as its record has it: the setting, the images with their scores, and resampled figures."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.operating import error_rates
from adloc.record.arrays import read_arrays
from adloc.record.epochs import read_epochs
from adloc.uncertainty.image_bootstrap import image_replicates
from adloc.uncertainty.jackknife import without_each
from adloc.uncertainty.pixel_bootstrap import PixelCounts, pixel_replicates
from adloc.uncertainty.resampling import N_RESAMPLES, Interval, draw_weights, percentile_interval, seed_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.record.epochs import Epochs
    from adloc.record.records import RunRecord
    from adloc.uncertainty.resampling import Weights

ERROR_RATES = ("image_fpr", "image_fnr")


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """The images of a part with their scores.

    Attributes:
        names: identities.
        defects: "good", or the defect type.
        labels: (N,) True = anomalous.
        scores: (N,) raw.
    """

    names: tuple[str, ...]
    defects: tuple[str, ...]
    labels: NDArray[np.bool_]
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Setting:
    """A method with its parameters, scope and kind of threshold.

    Attributes:
        key: identity.
        method: name.
        label: what tells it from the study's other settings: "patchcore, coreset_ratio 0.05".
        params: every parameter.
        scope: "category" or "unified".
        threshold_scope: "category" or "global".
        index: number, for its colour.
    """

    key: str
    method: str
    label: str
    params: Mapping[str, object] = field(hash=False)
    scope: str
    threshold_scope: str
    index: int

    def alike(self, params: Mapping[str, object]) -> str:
        """Identity of the setting of the same method, scope and kind of threshold that has these parameters."""
        numbers = {k: float(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v in params.items()}
        return json.dumps([self.method, self.scope, self.threshold_scope, numbers], sort_keys=True)


@dataclass(frozen=True, eq=False)
class Finding:
    """One run that is done.

    Attributes:
        record: of the run.
        setting: of the run.
        path: folder of the record.
        n_resamples: for its intervals.
        seed: of the study.
    """

    record: RunRecord
    setting: Setting
    path: Path
    n_resamples: int
    seed: int
    draws: dict[tuple[int, int], NDArray[np.float32]]

    @cached_property
    def images(self) -> dict[str, Images]:
        """By part: "test", and "validation" where there is one."""
        return read_images(self.path / "images.csv")

    @property
    def test(self) -> Images:
        """The test part."""
        return self.images["test"]

    @cached_property
    def curves(self) -> dict[str, dict[str, list[float]]]:
        """ROC, precision-recall, pixel ROC and PRO curves: {"roc": {"x": [...], "y": [...]}}."""
        found: dict[str, dict[str, list[float]]] = json.loads((self.path / "curves.json").read_text(encoding="utf-8"))
        return found

    @cached_property
    def epochs(self) -> dict[str, Epochs]:
        """By part: how scores changed while the model was trained; empty where the method does not say."""
        return read_epochs(self.path / "epochs.json")

    @property
    def replicates(self) -> dict[str, NDArray[np.float32]]:
        """Each metric of the test part in every resample; pixel metrics are moved to centre on the exact figure."""
        return self._under_weights[0]

    def left_out(self, metric: str) -> NDArray[np.float32] | None:
        """The metric without each test image, and of all in the last place => (N + 1,); None where not defined."""
        found = self._under_weights[1].get(metric)
        return None if found is None or np.isnan(found[-1]) else found

    def signature(self, metric: str) -> str:
        """Equal for runs whose figures of this metric are the same by construction: of one model on one test part."""
        if metric not in self._signatures:
            found = self.left_out(metric)
            figures = b"" if found is None else found.tobytes()
            names = "\n".join(self.test.names).encode()
            self._signatures[metric] = hashlib.sha256(self.test.scores.tobytes() + figures + names).hexdigest()
        return self._signatures[metric]

    @cached_property
    def _signatures(self) -> dict[str, str]:
        return {}

    @cached_property
    def _under_weights(self) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        """`replicates`, and what `left_out` is of: both at once, so that the counts of pixels are read once."""
        test, threshold, counts = self.test, self.record.threshold, self._pixel_counts()

        def measure(weights: Weights) -> dict[str, NDArray[np.float32]]:
            of_images = image_replicates(test.scores, test.labels, threshold, weights)
            return of_images if counts is None else of_images | pixel_replicates(counts, weights)

        left_out = without_each(test.labels, measure)
        found = image_replicates(test.scores, test.labels, threshold, self._weights(N_RESAMPLES))
        if counts is not None:
            for name, values in pixel_replicates(counts, self._weights(self.n_resamples)).items():
                exact, of_all = self.record.metrics.get(name), left_out[name][-1]
                if exact is not None:
                    found[name] = np.minimum(values + np.float32(exact - of_all), 1)
        return found, left_out

    def _pixel_counts(self) -> PixelCounts | None:
        """None where they were recorded by an earlier version, are not defined, or are of other images."""
        try:
            counts = PixelCounts.of(read_arrays(self.path / "pixels.npz"))
        except (FileNotFoundError, ValueError):
            return None
        return counts if counts is not None and len(counts.regions) == len(self.test.scores) else None

    @property
    def n_images(self) -> int:
        """Test images of the rarer class."""
        labels = self.test.labels
        return int(min(labels.sum(), (~labels).sum()))

    def interval(self, metric: str) -> Interval:
        """Of a metric, by resampling the test images; nan where there is none.

        Of an error rate the exact one (Clopper and Pearson): none of 10 images flagged is not none for ever.
        """
        if metric in ERROR_RATES and self.record.threshold is not None:
            rates = error_rates(self.test.scores, self.test.labels, self.record.threshold)
            return (rates.false_alarms if metric == "image_fpr" else rates.misses).interval
        if metric not in self.replicates or self.record.metrics.get(metric) is None:
            return Interval(math.nan, math.nan)
        return percentile_interval(self.replicates[metric], self.n_images)

    def _weights(self, n_resamples: int) -> NDArray[np.float32]:
        key = (seed_of(self.seed, [*self.test.names, *self.test.defects]), n_resamples)
        if key not in self.draws:
            self.draws[key] = draw_weights(self.test.labels, *key)
        return self.draws[key]


def read_images(path: Path) -> dict[str, Images]:
    """Scores by part, as `adloc.record.recorder` writes them."""
    rows: dict[str, list[list[str]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        next(reader)  # part, category, name, label, defect, score, anomalous
        for row in reader:
            rows.setdefault(row[0], []).append(row)
    found = {}
    for part, of_part in rows.items():
        _, categories, names, labels, defects, scores, *_ = zip(*of_part, strict=True)
        found[part] = Images(
            tuple(map("/".join, zip(categories, names, strict=True))),
            defects,
            np.array([label == "1" for label in labels]),
            np.array(list(map(float, scores))),
        )
    return found
