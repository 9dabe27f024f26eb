"""What the machine is and how fast it multiplies matrices; timing of competitors in turn."""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from adloc.computing.environment import environment

if TYPE_CHECKING:
    from collections.abc import Callable


def machine_facts() -> dict[str, Any]:
    """Versions, processor, cores, load when asked, and matrix rates."""
    return {
        **environment(),
        "threads": torch.get_num_threads(),
        "load": [round(each, 1) for each in os.getloadavg()],
        "gflops_float32": round(matrix_rate(torch.float32) / 1e9),
        "gflops_float64": round(matrix_rate(torch.float64) / 1e9),
    }


def matrix_rate(dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product: the best of five."""
    n = 2048
    left, right = torch.rand(n, n, dtype=dtype), torch.rand(n, n, dtype=dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - start)
    return 2 * n**3 / min(times)


def alternate(rounds: int, **functions: Callable[[], object]) -> dict[str, dict[str, Any]]:
    """Call each in turn, `rounds` times over; the median of its wall seconds and all of them."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {
        name: {"median_s": round(statistics.median(each), 4), "all_s": [round(t, 4) for t in each]}
        for name, each in times.items()
    }


def ratio(times: dict[str, dict[str, Any]], slow: str, fast: str) -> float:
    """The median over rounds of slow / fast: neighbours in time see the same load."""
    pairs = zip(times[slow]["all_s"], times[fast]["all_s"], strict=True)
    return round(float(np.median([s / f for s, f in pairs])), 2)
