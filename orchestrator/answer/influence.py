"""What leaving out each test image does to a run's metrics, for paired tests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from adloc.uncertainty.image_bootstrap import image_replicates
from adloc.uncertainty.jackknife import leave_one_out
from adloc.uncertainty.pixel_bootstrap import PixelCounts, pixel_replicates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.answer.finding import Finding

_ROWS = 512  # images left out at a time: all of 10,000 would take 400 MB


class LeftOut:
    """Metrics of runs without each of their test images, worked out once for each run."""

    def __init__(self) -> None:
        """Nothing is worked out before it is asked for."""
        self._found: dict[str, dict[str, NDArray[np.float32]]] = {}

    def replicates(self, finding: Finding, metric: str) -> NDArray[np.float32] | None:
        """The metric without each test image, and of all in the last place => (N + 1,); None where not defined."""
        run_id = finding.record.run_id
        if run_id not in self._found:
            self._found[run_id] = _leave_out(finding)
        found = self._found[run_id].get(metric)
        return None if found is None or np.isnan(found[-1]) else found

    def signature(self, finding: Finding, metric: str) -> str:
        """Equal for runs whose figures of this metric are the same by construction: of one model on one test part."""
        found = self.replicates(finding, metric)
        figures = b"" if found is None else found.tobytes()
        names = "\n".join(finding.test.names).encode()
        return hashlib.sha256(finding.test.scores.tobytes() + figures + names).hexdigest()


def _leave_out(finding: Finding) -> dict[str, NDArray[np.float32]]:
    test, counts = finding.test, _pixel_counts(finding)
    found: dict[str, list[NDArray[np.float32]]] = {}
    for start in range(0, len(test.scores) + 1, _ROWS):
        weights = leave_one_out(test.labels, start, start + _ROWS)
        made = image_replicates(test.scores, test.labels, finding.record.threshold, weights)
        if counts is not None:
            made |= pixel_replicates(counts, weights)
        for metric, values in made.items():
            found.setdefault(metric, []).append(values)
    return {metric: np.concatenate(values) for metric, values in found.items()}


def _pixel_counts(finding: Finding) -> PixelCounts | None:
    try:
        with np.load(finding.path / "pixels.npz", allow_pickle=False) as arrays:
            counts = PixelCounts.of({name: arrays[name] for name in arrays.files})
    except (FileNotFoundError, ValueError):
        return None  # recorded by an earlier version, or not defined
    return counts if counts is not None and len(counts.regions) == len(finding.test.scores) else None
