"""What leaving out each test image does to a run's metrics, for paired tests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from adloc.uncertainty.image_bootstrap import image_replicates
from adloc.uncertainty.jackknife import without_each
from adloc.uncertainty.pixel_bootstrap import PixelCounts, pixel_replicates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.answer.finding import Finding
    from adloc.uncertainty.resampling import Weights


class LeftOut:
    """Metrics of runs without each of their test images, worked out once for each run."""

    def __init__(self) -> None:
        """Nothing is worked out before it is asked for."""
        self._found: dict[str, dict[str, NDArray[np.float32]]] = {}
        self._signatures: dict[tuple[str, str], str] = {}

    def replicates(self, finding: Finding, metric: str) -> NDArray[np.float32] | None:
        """The metric without each test image, and of all in the last place => (N + 1,); None where not defined."""
        run_id = finding.record.run_id
        if run_id not in self._found:
            self._found[run_id] = _leave_out(finding)
        found = self._found[run_id].get(metric)
        return None if found is None or np.isnan(found[-1]) else found

    def signature(self, finding: Finding, metric: str) -> str:
        """Equal for runs whose figures of this metric are the same by construction: of one model on one test part."""
        of = finding.record.run_id, metric
        if of not in self._signatures:
            found = self.replicates(finding, metric)
            figures = b"" if found is None else found.tobytes()
            names = "\n".join(finding.test.names).encode()
            self._signatures[of] = hashlib.sha256(finding.test.scores.tobytes() + figures + names).hexdigest()
        return self._signatures[of]


def _leave_out(finding: Finding) -> dict[str, NDArray[np.float32]]:
    test, counts = finding.test, _pixel_counts(finding)

    def measure(weights: Weights) -> dict[str, NDArray[np.float32]]:
        of_images = image_replicates(test.scores, test.labels, finding.record.threshold, weights)
        return of_images if counts is None else of_images | pixel_replicates(counts, weights)

    return without_each(test.labels, measure)


def _pixel_counts(finding: Finding) -> PixelCounts | None:
    try:
        with np.load(finding.path / "pixels.npz", allow_pickle=False) as arrays:
            counts = PixelCounts.of({name: arrays[name] for name in arrays.files})
    except (FileNotFoundError, ValueError):
        return None  # recorded by an earlier version, or not defined
    return counts if counts is not None and len(counts.regions) == len(finding.test.scores) else None
