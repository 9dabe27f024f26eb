"""One size of item g: seconds and the peak memory of this process, as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from adloc.methods.patchcore.coreset import pick_greedily
from adloc.methods.patchcore.possible import count_picks


def memory_mb(name: str) -> float:
    """Resident memory in 10^6 bytes: VmRSS now, VmHWM at most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6


def forget_peak() -> None:
    """Let VmHWM begin again: making the points took more memory than they have."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main(n_points: int) -> None:
    """Points of 128 values that lie near 12 dimensions, as patches do."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n_points, 12, generator=generator) @ torch.randn(12, 128, generator=generator)
    points += 0.1 * torch.randn(n_points, 128, generator=generator)
    pick_greedily(points[:2000], 100)  # libraries are loaded
    forget_peak()
    before = memory_mb("VmRSS")
    start = time.perf_counter()
    n_picks = count_picks(0.05, n_points)
    pick_greedily(points, n_picks)
    seconds = round(time.perf_counter() - start, 2)
    row = {"n_points": n_points, "n_picks": n_picks, "seconds": seconds, "points_mb": round(4 * points.numel() / 1e6)}
    peak = memory_mb("VmHWM")
    sys.stdout.write(json.dumps(row | {"beyond_them_mb": round(peak - before), "process_mb": round(peak)}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
