"""What a machine has and lacks for running studies."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adloc.computing.environment import environment
from adloc.datasets.errors import DatasetError
from adloc.errors import UserError
from adloc.methods.backbone import BACKBONES, resolve_weights
from adloc.methods.errors import MethodError
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.datasets.errors import Problem
    from adloc.errors import Complaint


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        what: "weights of resnet50".
        found: what was found.
        ok: whether it is there.
        remedy: what to do if it is needed; "" when all is well.
        optional: whether studies run without it.
    """

    what: str
    found: str
    ok: bool = True
    remedy: str = ""
    optional: bool = False


def examine(workspace: str | None) -> list[Finding]:
    """Look at versions, devices, FAISS, weights, the data set variable and the workspace, see `Workspace.find`."""
    return [*_versions(), *_devices(), *_weights(), _data(), _workspace(workspace)]


def _versions() -> Iterator[Finding]:
    facts = environment()
    for name in ("adloc", "python", "torch", "torchvision", "anomalib", "mlflow", "optuna", "pydantic"):
        yield _package(name, facts.get(name))
    yield _package("faiss", facts.get("faiss-gpu") or facts.get("faiss-cpu"))
    ray = facts.get("ray")
    remedy = "" if ray else "pip install -e '.[ray]' for --executor ray"
    yield Finding("ray", ray or "not installed", ok=ray is not None, remedy=remedy, optional=True)
    for engine, package in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        found = facts.get(package)
        remedy = "" if found else f"pip install -e '.[engines]' for features.engine: {engine}"
        yield Finding(package, found or "not installed", ok=found is not None, remedy=remedy, optional=True)


def _package(name: str, version: str | None) -> Finding:
    if version is None:
        return Finding(name, "not installed", ok=False, remedy="pip install -e .")
    return Finding(name, version)


def _devices() -> Iterator[Finding]:
    import faiss
    import torch

    yield Finding("cpu", f"{environment()['cpu']}, {environment()['cores']} cores")
    if not torch.cuda.is_available():
        yield Finding("cuda", "no device; everything runs on the CPU", ok=False, optional=True)
        return
    yield Finding("cuda", torch.cuda.get_device_name())
    n_gpus = faiss.get_num_gpus()
    remedy = "" if n_gpus else "install faiss-gpu; the search runs on the CPU until then"
    yield Finding("faiss on the GPU", f"{n_gpus} GPUs seen", ok=n_gpus > 0, remedy=remedy, optional=True)


def _weights() -> Iterator[Finding]:
    for name in BACKBONES:
        try:
            file = resolve_weights(name, "default")
        except MethodError as error:
            yield Finding(f"weights of {name}", error.found, ok=False, remedy=error.remedy, optional=True)
        else:
            yield Finding(f"weights of {name}", f"{file.path}")


def _data() -> Finding:
    root = os.environ.get("MVTEC_AD_ROOT")
    if root is not None and Path(root).is_dir():
        return Finding("MVTEC_AD_ROOT", root)
    found = "not set" if root is None else f"{root}: no such folder"
    remedy = "export MVTEC_AD_ROOT=/path/to/mvtec_ad for the studies on MVTec AD"
    return Finding("MVTEC_AD_ROOT", found, ok=False, remedy=remedy, optional=True)


def _workspace(given: str | None) -> Finding:
    """Whether it is there, or can be made, and may be written to: behind a URL by an object that is removed again."""
    try:
        workspace = Workspace.find(given)
        if workspace.shared is not None:
            workspace.shared.require_writable()
    except UserError as error:
        return _refused(error.complaints[0])
    except DatasetError as error:
        return _refused(error.problems[0])
    folder = workspace.root
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    writable = os.access(folder, os.W_OK)
    remedy = "" if writable else "choose another with --workspace or $ADLOC_WORKSPACE"
    copy = "" if workspace.shared is None else f"{workspace.location}, its copy here: "
    return Finding("workspace", f"{copy}{workspace.root}, {free:.0f} GB free", ok=writable, remedy=remedy)


def _refused(told: Complaint | Problem) -> Finding:
    return Finding("workspace", told.found, ok=False, remedy=told.remedy)
