"""How much memory is free, so that what will not fit is refused instead of killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Version 2 and version 1 of control groups; "max", or a number beyond any machine, where there is no limit.
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can still be allocated on a device; None where the system does not say.

    On the CPU: what Linux calls available (it counts the file cache, which it can give up), and at most the
    limit of the container. On a CUDA device: what no process uses, and what torch holds without using it.
    """
    if device.type == "cuda":
        import torch

        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    if device.type != "cpu":
        return None
    limits = [int(text) for text in map(_read_text, _CONTAINER_LIMITS) if text.strip().isdigit()]
    available = [
        int(line.split()[1]) * 1024
        for line in _read_text("/proc/meminfo").splitlines()
        if line.startswith("MemAvailable:")
    ]
    return min(limits + available) if available else None


def _read_text(path: str) -> str:
    """Read a file of the system; empty where it does not exist."""
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""
