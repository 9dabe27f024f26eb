"""Networks that another engine than torch runs: converted once for a size and layers, and kept by the store.

What is kept is an ONNX file in an array of bytes, so that it has what every result of the store has: it is whole or
absent, has a checksum, and goes when the store is full and nobody has used it for longest.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from adloc.computing.tiling import pass_size
from adloc.keys import content_key
from adloc.methods.detector import Result
from adloc.methods.engines.engine import CONVERTS, versions
from adloc.methods.engines.extractor import open_file
from adloc.methods.engines.onnx_file import convert, hold_against

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adloc.computing.store import Store
    from adloc.methods.engines.extractor import Extractor
    from adloc.methods.network import FeatureExtractor
    from adloc.planning.sources import FeatureStage

KIND = "networks"
CONVERTED_VERSION = 1  # raised when the conversion changes what it writes


def open_converted(
    store: Store, stage: FeatureStage, layers: Sequence[str], passes: int, load: Callable[[], FeatureExtractor]
) -> Extractor:
    """The network of a stage by the stage's engine, converted now if the store has it not.

    Args:
        store: where it is kept.
        stage: network, input size and engine, which is not torch.
        layers: that are read of it.
        passes: made at the same time, of one thread each.
        load: gives the same network by torch, on the CPU.

    Raises:
        MethodError: the network does not load, cannot be converted, or gives other features then.
    """
    size = pass_size(stage.image)
    key = content_key(
        [
            "converted",
            CONVERTED_VERSION,
            [stage.network.backbone, stage.network.sha256],
            list(layers),
            list(size),
            [stage.engine.name, stage.engine.version],
            list(versions(CONVERTS)),
        ]
    )
    kept = store.get(KIND, key)
    if kept is not None:
        return open_file(stage.engine.name, kept.arrays["onnx"].tobytes(), layers, 1, passes)
    start = time.perf_counter()
    extractor = load()
    file = convert(extractor, size)
    network = open_file(stage.engine.name, file, layers, 1, passes)
    hold_against(network, extractor, size)
    store.put(KIND, key, Result({"onnx": np.frombuffer(file, np.uint8)}, {}, time.perf_counter() - start))
    return network
