"""What torch's network and the converted ones have in common, and how a file is opened by an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from adloc.methods.errors import MethodError

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


def require_layers(layers: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse layers that a file does not give.

    Raises:
        MethodError: it does not give one of them.
    """
    lacking = [layer for layer in layers if layer not in outputs]
    if lacking:
        raise MethodError(
            f"the converted network has no layer {lacking[0]}",
            f"it gives the layers that it was converted with: {', '.join(outputs)}",
            "convert it again with the layers that are needed",
        )


def require_size(images: Tensor, size: tuple[int, int]) -> None:
    """Refuse images of another size than the network was converted for.

    Raises:
        MethodError: they are.
    """
    if images.shape[1:] != (3, *size):
        raise MethodError(
            f"images of shape {tuple(images.shape)} for a network that was converted for {size[0]} x {size[1]} pixels",
            "a converted network takes batches (N, 3, height, width) of any length, of the one size it was made for",
            "convert it again for the size of these images",
        )


def damaged(error: Exception, package: str) -> MethodError:
    """What to say of a file that an engine does not load."""
    first_line = next(iter(str(error).splitlines()), type(error).__name__)
    return MethodError(
        f"the converted network does not load in {package} ({first_line[:200]})",
        "it must be a whole ONNX file that write_onnx has written",
        "convert it again",
    )
