"""One size of item k: seconds and peak memory of the pixel metrics of 20 large maps, as JSON."""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from grow import forget_peak, memory_mb

from adloc.computing.localisation import localise
from adloc.methods import find_method, load_detector
from adloc.methods.detector import Result
from adloc.metrics.registry import CHOICES
from adloc.planning.parts import TestPart

N_IMAGES = 20


def given(height: int, width: int) -> tuple[Result, Result]:
    """Patch maps of 28 x 28 and masks: half of the images have a defect of 2 % of their pixels, which scores higher."""
    rng = np.random.default_rng(0)
    patch_maps = rng.gamma(4.0, 1.0, (N_IMAGES, 28, 28)).astype(np.float32)
    masks = np.zeros((N_IMAGES, height, width), dtype=bool)
    for index in range(0, N_IMAGES, 2):
        top, left = (int(v) for v in rng.integers(0, 20, 2))
        rows, columns = (
            slice(top * height // 28, (top + 4) * height // 28),
            slice(left * width // 28, (left + 4) * width // 28),
        )
        masks[index, rows, columns] = True
        patch_maps[index, top : top + 4, left : left + 4] += 2
    labels = masks.any(axis=(1, 2))
    return Result({"image_scores": patch_maps.max(axis=(1, 2)), "patch_maps": patch_maps}), Result(
        {"labels": labels, "masks": masks}
    )


def main(mode: str, height: int, width: int) -> None:
    """Measure a test part's evaluation, beyond its patch maps and masks."""
    method = find_method("patchcore")
    detector, part = load_detector(method), TestPart("a", "clean", (), (), None)

    def stage(size: tuple[int, int]) -> Any:
        return SimpleNamespace(
            mode=mode,
            metrics=CHOICES,
            truth=SimpleNamespace(size=size, part=part),
            scores=SimpleNamespace(params=method.params()),
        )

    localise(stage((64, 64)), *given(64, 64), detector)  # libraries are loaded
    scores, truth = given(height, width)
    forget_peak()
    before, start = memory_mb("VmRSS"), time.process_time()
    found = localise(stage((height, width)), scores, truth, detector)
    row = {"mode": mode, "height": height, "width": width, "processor_s": round(time.process_time() - start, 2)}
    row |= {
        "maps_mb": round(4 * truth.arrays["masks"].size / 1e6),
        "beyond_inputs_mb": round(memory_mb("VmHWM") - before),
    }
    figures = {name: value for name, value in found.figures().items() if name in ("pixel_auroc", "pixel_aupro")}
    sys.stdout.write(json.dumps(row | figures))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
