"""Which engines there are, and the version that computes here; neither torch nor an engine is imported."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EngineName = Literal["torch", "onnx", "openvino"]
CONVERTS = ("torch", "onnx", "onnxscript")  # the packages that write the file
_COMPUTES: Mapping[EngineName, str] = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True, slots=True)
class Engine:
    """What computes the backbone's features.

    Attributes:
        name: as in a study file.
        version: of the package that computes; empty for torch, whose version is no part of any key.
    """

    name: EngineName
    version: str


TORCH = Engine("torch", "")


def find_engine(name: EngineName) -> Engine:
    """The engine of that name, with the version that is installed.

    Raises:
        MethodError: its package is not installed.
    """
    return TORCH if name == "torch" else Engine(name, versions([_COMPUTES[name]])[0])


def versions(packages: Sequence[str]) -> tuple[str, ...]:
    """The installed version of each.

    Raises:
        MethodError: one is not installed.
    """
    try:
        return tuple(version(package) for package in packages)
    except PackageNotFoundError as error:
        raise MethodError(
            f"the package {error.name} is not installed",
            "the engines onnx and openvino need packages that torch does not bring",
            "pip install 'adloc[engines]', or use engine: torch",
        ) from error
