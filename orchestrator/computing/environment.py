"""What a figure was made with: versions, machine, device, commit."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import adloc
from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "faiss-gpu",
    "faiss-cpu",
    "anomalib",
    "mlflow",
    "optuna",
    "ray",
    "onnxruntime",
    "openvino",
    "numpy",
    "pydantic",
)


@cache
def environment() -> dict[str, str]:
    """Facts recorded with every run, as short strings."""
    facts = {"adloc": adloc.__version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    facts["commit"] = _commit()
    facts["cpu"] = _cpu()
    facts["cores"] = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    return facts


def pick_device(name: str) -> torch.device:
    """`auto` (CUDA where there is one), `cpu` or `cuda`.

    Raises:
        UserError: CUDA was asked for and there is none.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            Complaint(
                "--device cuda: torch sees no CUDA device",
                "the device must be there",
                "use --device cpu or auto",
            )
        )
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def limit_threads(n_threads: int) -> None:
    """Let torch and FAISS use at most this many CPU threads."""
    import faiss
    import torch

    torch.set_num_threads(n_threads)
    faiss.omp_set_num_threads(n_threads)


def processor() -> dict[str, str]:
    """What this process's CPU figures may depend on, beside the machine: torch's threads and its instructions."""
    import torch

    return {"threads": str(torch.get_num_threads()), "instructions": torch.backends.cpu.get_cpu_capability()}


def describe(device: torch.device) -> str:
    """ "cpu", or the name of the GPU."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _commit() -> str:
    """Commit of the source tree that this package runs from; "" outside one."""
    folder = Path(__file__).resolve().parent.parent.parent
    if not (folder / ".git").exists():
        return ""
    git = ["git", "-C", str(folder)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip()[:12] + ("+changes" if dirty.stdout.strip() else "")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)
