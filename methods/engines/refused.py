"""What every engine refuses of a converted network: layers, sizes, files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


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
