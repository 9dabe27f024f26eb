"""A converted network run by ONNX Runtime, on the CPU: the one importer of onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.engines.engine import find_engine
from adloc.methods.engines.refused import damaged, require_layers, require_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor


class OnnxExtractor:
    """A frozen network that gives the feature maps of some of its layers, as `FeatureExtractor` does.

    Several threads may make passes at the same time.

    Attributes:
        layers: in the order asked for.
        device: the CPU.
        size: (height, width) of the images that it takes.
    """

    def __init__(self, file: Path | bytes, layers: Sequence[str], threads: int = 1) -> None:
        """Open a file of `write_onnx`, or its bytes; a pass uses that many threads.

        Raises:
            MethodError: ONNX Runtime is not installed, the file does not load, or it lacks a layer.
        """
        find_engine("onnx")
        import onnxruntime

        self.layers = tuple(layers)
        self.device = torch.device("cpu")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # cores may be others' too
        options.log_severity_level = 3
        try:
            source = file if isinstance(file, bytes) else str(file)
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            height, width = self._session.get_inputs()[0].shape[2:]
        except Exception as error:  # its exceptions share no class of their own
            raise damaged(error, "ONNX Runtime") from error
        self.size = (int(height), int(width))
        require_layers(self.layers, [output.name for output in self._session.get_outputs()])

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The feature maps of a batch of images.

        Args:
            images: float32 (N, 3, height, width) in [0, 1], of `size`.

        Returns:
            {layer: float32 (N, C, H, W)} in the order of `layers`.

        Raises:
            MethodError: images of another size.
        """
        require_size(images, self.size)
        pixels = np.ascontiguousarray(images.cpu().numpy())
        maps = self._session.run(list(self.layers), {"images": pixels})
        return {layer: torch.from_numpy(array) for layer, array in zip(self.layers, maps, strict=True)}
