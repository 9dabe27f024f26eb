"""How much memory is free, so that what will not fit is refused instead of killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Version 2 and version 1 of control groups: the limit ("max", or a number beyond any machine, where there is none),
# what is used of it, and how much of that is file cache, which can be given up.
_CONTAINERS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", ""),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_",
    ),
)


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can still be allocated on a device; None where the system does not say.

    On the CPU: what Linux calls available (it counts the file cache, which it can give up), and at most what the
    container leaves of its limit. On a CUDA device: what no process uses, and what torch holds without using it.
    """
    if device.type == "cuda":
        import torch

        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    if device.type != "cpu":
        return None
    left = [bytes_left for paths in _CONTAINERS if (bytes_left := _left_in_container(*paths)) is not None]
    available = [
        int(line.split()[1]) * 1024
        for line in _read_text("/proc/meminfo").splitlines()
        if line.startswith("MemAvailable:")
    ]
    return min(left + available) if available else None


def _left_in_container(limit: str, used: str, stat: str, prefix: str) -> int | None:
    """Bytes until the limit; None where there is none."""
    numbers = [_read_text(path).strip() for path in (limit, used)]
    if not all(number.isdigit() for number in numbers):
        return None
    names = (f"{prefix}inactive_file", f"{prefix}active_file")
    lines = (line.split() for line in _read_text(stat).splitlines())
    cached = sum(int(words[1]) for words in lines if words[0] in names)
    return max(0, int(numbers[0]) - int(numbers[1]) + cached)


def _read_text(path: str) -> str:
    """Read a file of the system; empty where it does not exist."""
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""
