"""What torch's network and the converted ones have in common, and how a file is opened by an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from torch import Tensor

    from adloc.methods.engines.engine import EngineName


class Extractor(Protocol):
    """A frozen network that gives the feature maps of some of its layers; see `adloc.methods.network`."""

    @property
    def layers(self) -> tuple[str, ...]:
        """In the order asked for."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The feature maps {layer: float32 (N, C, H, W)} of images float32 (N, 3, height, width) in [0, 1]."""


def open_file(engine: EngineName, file: Path | bytes, layers: Sequence[str], threads: int, passes: int) -> Extractor:
    """The network of a file of `write_onnx`, by an engine other than torch.

    Args:
        engine: "onnx" or "openvino".
        file: its path, or its bytes.
        layers: some or all of those that it was written with.
        threads: of one pass.
        passes: made at the same time, each by a thread of the caller's.

    Raises:
        MethodError: the engine is not installed, the file does not load, or it lacks a layer.
    """
    if engine == "openvino":
        from adloc.methods.engines.open_vino import OpenVinoExtractor

        return OpenVinoExtractor(file, layers, threads, passes)
    from adloc.methods.engines.onnx_runtime import OnnxExtractor

    return OnnxExtractor(file, layers, threads)
