"""What work costs where nothing was measured yet: figures of one machine, scaled by the speed of this one.

They are for the first plan in a workspace alone: every stage that is computed replaces them by its own.
"""

from __future__ import annotations

import time
from functools import cache

from adloc.cost.phases import EXPLAIN, MODELS, RECORDS, REPORT, START, TABLES, TRACKING

# By kind: 1e9 multiply-adds of `speed` that a unit of the kind's law takes. Measured on the quick start with one thread
# of an AMD EPYC, whose speed is 17, in processor time. Kinds that are not here are unknown until they are measured.
TYPICAL: dict[str, float] = {
    "features": 1.6,
    "patchcore.coreset": 4.6,
    "patchcore.index": 0.8,  # of ivf, with 20,000 entries of 1536 values
    "patchcore.search": 1.25,
    "patchcore.scores": 18.5,
    "softpatch.coreset": 4.6,
    "softpatch.index": 0.8,
    "softpatch.search": 1.25,
    "padim.gaussian": 8.6,
    "padim.scores": 19.0,
    "threshold": 3e-4,
    "truth": 2.9e-6,
    "evaluation": 5.5e-6,
    "segmentation": 3.9e-6,
    "saturation": 3.9e-6,
    "diagnosis": 7.4e-6,
    START: 120.0,
    RECORDS: 3.4,
    TRACKING: 1.7,
    TABLES: 0.3,
    EXPLAIN: 1.5,
    REPORT: 3.6,
    MODELS: 41.0,
}

_SIDE = 640  # of the matrices: some 15 ms a product on one core
_LONG_S = 1.0  # a moment's measurement is served by others' cores; this one has its share of a machine that is in use


@cache
def speed() -> float:
    """1e9 multiply-adds a second of float32 matrix products, with the threads that this process has now."""
    import numpy as np

    matrix = np.full((_SIDE, _SIDE), 0.5, np.float32)
    n_products, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < _LONG_S:
        matrix @ matrix
        n_products += 1
    return n_products * _SIDE**3 / 1e9 / seconds
