"""Shared fixtures: the real data beside the project (when it is there) and small datasets made on the spot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# At the repository root our folder `datasets/` would shadow the package of the same name.
sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]

SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def industrial_root() -> Path:
    """Folder of the real categories bottle and commutator."""
    path = SHARED / "data" / "industrial"
    if not path.is_dir():
        pytest.skip("the real images of ../shared/data are not here")
    return path


@pytest.fixture(scope="session")
def trunk_weights() -> Path:
    """Weights of ResNet-18 up to layer3, published ImageNet values."""
    path = SHARED / "weights" / "resnet18_imagenet1k_v1_trunk.safetensors"
    if not path.is_file():
        pytest.skip("the weights of ../shared/weights are not here")
    return path
