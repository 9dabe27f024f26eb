"""What a machine has and lacks for running studies."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.environment import environment
from adloc.methods.backbone import BACKBONES, resolve_weights
from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: "weights of resnet50".
        ok: whether it is there.
        found: what was found.
        remedy: what to do if it is needed; "" when all is well.
        optional: whether studies run without it.
    """

    what: str
    ok: bool
    found: str
    remedy: str = ""
    optional: bool = False


def examine(workspace: Workspace) -> list[Finding]:
    """Look at versions, devices, FAISS, weights, the data set variable and the workspace."""
    return [*_versions(), *_devices(), *_weights(), _data(), _workspace(workspace)]


def _versions() -> Iterator[Finding]:
    facts = environment()
    for name in ("adloc", "python", "torch", "torchvision", "anomalib", "mlflow", "optuna", "pydantic"):
        found = facts.get(name)
        yield Finding(name, found is not None, found or "not installed", "" if found else "pip install -e .")
    faiss = next((f"{name} {facts[name]}" for name in ("faiss-gpu", "faiss-cpu") if name in facts), None)
    yield Finding("faiss", faiss is not None, faiss or "not installed", "" if faiss else "pip install -e .")


def _devices() -> Iterator[Finding]:
    import faiss
    import torch

    yield Finding("cpu", True, f"{environment()['cpu']}, {environment()['cores']} cores")
    if torch.cuda.is_available():
        yield Finding("cuda", True, torch.cuda.get_device_name())
        n_gpus = faiss.get_num_gpus()
        yield Finding(
            "faiss on the GPU",
            n_gpus > 0,
            f"{n_gpus} GPUs seen",
            "" if n_gpus else "install faiss-gpu; the search runs on the CPU until then",
            optional=True,
        )
    else:
        yield Finding("cuda", False, "no device; everything runs on the CPU", optional=True)


def _weights() -> Iterator[Finding]:
    for name in BACKBONES:
        try:
            file = resolve_weights(name, "default")
        except MethodError as error:
            yield Finding(f"weights of {name}", False, error.found, error.remedy, optional=True)
        else:
            yield Finding(f"weights of {name}", True, f"{file.path}")


def _data() -> Finding:
    root = os.environ.get("MVTEC_AD_ROOT")
    if root is None:
        remedy = "export MVTEC_AD_ROOT=/path/to/mvtec_ad for the studies on MVTec AD"
        return Finding("MVTEC_AD_ROOT", False, "not set", remedy, optional=True)
    return Finding("MVTEC_AD_ROOT", os.path.isdir(root), root, "" if os.path.isdir(root) else "no such folder", True)  # noqa: PTH112, FBT003


def _workspace(workspace: Workspace) -> Finding:
    folder = workspace.root
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    writable = os.access(folder, os.W_OK)
    return Finding(
        "workspace",
        writable,
        f"{workspace.root}, {free:.0f} GB free",
        "" if writable else "choose another with --workspace or $ADLOC_WORKSPACE",
    )
