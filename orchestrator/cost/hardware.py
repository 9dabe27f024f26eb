"""Where stages are computed, as far as what they cost depends on it. No torch is imported for a CPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adloc.computing.environment import environment

if TYPE_CHECKING:
    from adloc.executors.computing import Computing

_NVIDIA = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True)
class Hardware:
    """What computes, and how much at a time.

    Attributes:
        device: the CPU's name, or the GPU's.
        n_threads: of the CPU, for each stage.
        n_tasks: stages at a time.
        executor: "local" or "ray", whose stages are measured in other processes.
        on_gpu: whether features and steps are computed on a GPU.
    """

    device: str
    n_threads: int
    n_tasks: int = 1
    executor: Literal["local", "ray"] = "local"
    on_gpu: bool = False

    @property
    def name(self) -> str:
        """What rates are kept under: "AMD EPYC, 2 threads"."""
        ray = ", ray" if self.executor == "ray" else ""
        return f"{self.device}, {self.n_threads} thread{'s' * (self.n_threads != 1)}{ray}"


def cpu_name() -> str:
    """The processor's name; "CPU" where the system does not say."""
    return environment()["cpu"] or "CPU"


def local_hardware(computing: Computing) -> Hardware:
    """This process, computing as it is told to.

    Raises:
        UserError: CUDA was asked for and there is none.
    """
    device, on_gpu = cpu_name(), False
    if computing.device == "cuda" or (computing.device == "auto" and _NVIDIA.exists()):
        from adloc.computing.environment import describe, pick_device

        found = pick_device(computing.device)
        on_gpu = found.type == "cuda"
        device = describe(found) if on_gpu else device
    return Hardware(device, computing.jobs or _threads(), on_gpu=on_gpu)


def _threads() -> int:
    """The threads that torch takes by itself: $OMP_NUM_THREADS, else every core of this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else len(os.sched_getaffinity(0))
