"""How fast this machine is now, under whatever else runs on it: what typical figures are scaled by."""

from __future__ import annotations

import json
import time
from functools import cache
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOWS, _LONG_S = 5, 0.1  # the middle one counts: a moment's measurement is served by others' cores, or by none
_SIDE = 64  # of the matrices: up to here OpenBLAS takes one thread
_N_MATRICES = 64
_N_SORTED = 1 << 17
_N_ENTRIES = 1500


@cache
def products() -> float:
    """1e9 multiply-adds a second of float32 matrix products, on one thread."""
    matrices = np.full((_N_MATRICES, _SIDE, _SIDE), 0.5, np.float32)
    return _rate(lambda: matrices @ matrices) * _N_MATRICES * _SIDE**3 / 1e9


@cache
def rounds() -> float:
    """Rounds a second, on a thread, of what is no arithmetic: sorting 131,072 numbers, writing 1,500 lists as JSON."""
    numbers = np.random.default_rng(0).random(_N_SORTED)
    entries = {f"entry {index}": [index, "text"] for index in range(_N_ENTRIES)}

    def once() -> None:
        np.sort(numbers)
        json.dumps(entries)
        json.dumps(entries)  # and not read: what is made would be the garbage collector's, which looks at all there is

    return _rate(once)


def _rate(once: Callable[[], object]) -> float:
    """How often a second it is done."""
    once()
    return median(_once_more(once) for _ in range(_WINDOWS))


def _once_more(once: Callable[[], object]) -> float:
    """How often a second it is done in one window."""
    n_done, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < _LONG_S:
        once()
        n_done += 1
    return n_done / seconds
