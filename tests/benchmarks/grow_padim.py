"""One size of item n: seconds and the peak memory of a process that fits PaDiM and keeps the model, as JSON."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from adloc.computing.store import Store
from adloc.methods.detector import StepContext
from adloc.methods.padim.detector import Padim
from adloc.methods.padim.params import PadimParams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LAYERS = {"layer1": (256, 56), "layer2": (512, 28), "layer3": (1024, 14)}  # of Wide-ResNet-50-2 at 224


@dataclass(frozen=True)
class DrawnFeatures:
    """Features of the shapes of Wide-ResNet-50-2, drawn anew at every pass: none are held."""

    n_images: int
    image_size: tuple[int, int] = (224, 224)

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, torch.Tensor]]:
        """Yield consecutive images, without negative values as after a ReLU."""
        for start in range(0, self.n_images, batch_size):
            generator = torch.Generator().manual_seed(start)
            n = min(batch_size, self.n_images - start)
            shapes = {layer: (n, channels, side, side) for layer, (channels, side) in LAYERS.items() if layer in layers}
            yield {layer: torch.randn(shape, generator=generator).relu_() for layer, shape in shapes.items()}


def main(n_images: int, n_features: int, covariance: str) -> None:
    """Fit, keep the model in a store, and score two images by it."""
    params = PadimParams.model_validate({"n_features": n_features, "covariance": covariance})
    cpu, detector = torch.device("cpu"), Padim()
    start, spent = time.perf_counter(), time.process_time()
    fitted = detector.gaussian(StepContext(params, DrawnFeatures(n_images), {}, 0, cpu))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - spent
    model_bytes = detector.model_bytes({"gaussian": fitted}, params)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.put("padim.gaussian", "0" * 64, fitted)
        fit_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        del fitted
        kept = store.get("padim.gaussian", "0" * 64)
        if kept is None:
            raise FileNotFoundError(folder)
        start = time.process_time()
        detector.scores(StepContext(params, DrawnFeatures(2), {"gaussian": kept}, 0, cpu))
        score_seconds = time.process_time() - start
    row = {
        "n_images": n_images,
        "n_features": n_features,
        "covariance": covariance,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "process_mb": round(fit_peak * 1024 / 1e6),
        "process_with_scoring_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
        "model_mb": round(model_bytes / 1e6),
        "score_cpu_seconds": round(score_seconds, 2),
    }
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
