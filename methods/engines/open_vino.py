"""A converted network run by OpenVINO, on the CPU, in float32: the one importer of openvino."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.engines.engine import find_engine
from adloc.methods.engines.refused import damaged, require_layers, require_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from openvino import InferRequest
    from torch import Tensor


class OpenVinoExtractor:
    """A frozen network that gives the feature maps of some of its layers, as `FeatureExtractor` does.

    As many threads as it was opened for make passes at the same time; more of them wait. Images pass one by one: the
    network is compiled for a batch of one, which is as fast as any other.

    Attributes:
        layers: in the order asked for.
        device: the CPU.
        size: (height, width) of the images that it takes.
    """

    def __init__(self, file: Path | bytes, layers: Sequence[str], threads: int = 1, passes: int = 1) -> None:
        """Open a file of `write_onnx`, or its bytes, for passes of so many threads each, so many at the same time.

        Raises:
            MethodError: OpenVINO is not installed, the file does not load, or it lacks a layer.
        """
        find_engine("openvino")
        import openvino

        self.layers = tuple(layers)
        self.device = torch.device("cpu")
        core = openvino.Core()
        try:
            model = core.read_model(file)
            height, width = (int(side.get_length()) for side in list(model.input(0).partial_shape)[2:])
        except Exception as error:  # RuntimeError for most of what it refuses, but not for all
            raise damaged(error, "OpenVINO") from error
        require_layers(self.layers, [output.any_name for output in model.outputs])
        self.size = (height, width)
        model.reshape([1, 3, height, width])
        self._compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # else a CPU with bfloat16 or float16 rounds to it
                "INFERENCE_NUM_THREADS": threads * passes,
                "NUM_STREAMS": passes,
                "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same cores
            },
        )
        self._outputs = [self._compiled.output(layer) for layer in self.layers]
        self._own = threading.local()

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
        request = self._request()
        maps = [np.empty((len(pixels), *output.shape[1:]), np.float32) for output in self._outputs]
        for index in range(len(pixels)):
            found = request.infer([pixels[index : index + 1]], share_inputs=True, share_outputs=True)
            for kept, output in zip(maps, self._outputs, strict=True):
                kept[index] = found[output][0]
        return {layer: torch.from_numpy(array) for layer, array in zip(self.layers, maps, strict=True)}

    def _request(self) -> InferRequest:
        """The calling thread's own: one bears one pass at a time."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        request: InferRequest = self._own.request
        return request
