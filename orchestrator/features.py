"""Backbone features, image by image: each image passes a network once, for all the layers that a study reads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.datasets.transform import prepare_image
from adloc.methods.backbone import resolve_weights
from adloc.methods.detector import Result
from adloc.methods.errors import MethodError
from adloc.methods.network import load_backbone

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from adloc.methods.network import FeatureExtractor
    from adloc.stages import FeatureStage, Network
    from adloc.store import Store

KIND = "features"
# Images a forward pass: 4 to 8 are fastest on two cores (10 ms an image, ResNet-18; 33 ms at 16). The result
# does not depend on it: torch's convolutions give an image the same bits in any batch on the CPU.
BATCH_SIZE = {"cpu": 4, "cuda": 32}


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """The features of a part, read from the store batch by batch; see `adloc.methods.detector.Features`."""

    store: Store
    keys: tuple[str, ...]
    image_size: tuple[int, int]

    @property
    def n_images(self) -> int:
        """How many images."""
        return len(self.keys)

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, torch.Tensor]]:
        """Yield {layer: float32 (n, C, H, W)} for consecutive images, n <= batch_size."""
        for start in range(0, len(self.keys), batch_size):
            keys = self.keys[start : start + batch_size]
            results = [self.store.get(KIND, key) for key in keys]
            if any(result is None for result in results):  # the store was cleared under our feet
                raise FileNotFoundError(self.store.path(KIND, keys[0]))
            found = [result.arrays for result in results if result is not None]
            stacked = {layer: np.stack([arrays[layer] for arrays in found]) for layer in layers}
            yield {layer: torch.from_numpy(maps.astype(np.float32, copy=False)) for layer, maps in stacked.items()}

    def seconds(self) -> float:
        """Wall time that all the images took: reading, preprocessing and the backbone."""
        results = (self.store.get(KIND, key) for key in self.keys)
        return sum(result.seconds for result in results if result is not None)


class FeatureExtraction:
    """Computes what the store lacks; keeps the last network loaded."""

    def __init__(self, store: Store, device: torch.device, batch_size: int | None = None) -> None:
        """Compute on `device`, `batch_size` images at a time (default: what is fastest there)."""
        self._store = store
        self._device = device
        self._batch_size = batch_size or BATCH_SIZE[device.type]
        self._loaded: tuple[tuple[object, ...], FeatureExtractor] | None = None

    def is_done(self, stage: FeatureStage, layers: Sequence[str]) -> bool:
        """Whether the store has every image with these layers."""
        return not self.missing(stage, layers)

    def missing(self, stage: FeatureStage, layers: Sequence[str]) -> dict[int, set[str]]:
        """By number of the image: the layers to compute, those that the store has of it included."""
        found: dict[int, set[str]] = {}
        for index, key in enumerate(stage.image_keys):
            result = self._store.get(KIND, key)
            kept = set(result.arrays) if result else set()
            if not kept.issuperset(layers):
                found[index] = kept | set(layers)
        return found

    def run(
        self,
        stage: FeatureStage,
        layers: Sequence[str],
        progress: Callable[[int, int], None],
        only: Collection[int] | None = None,
    ) -> int:
        """Compute and keep what is missing; return how many images passed the backbone.

        Args:
            stage: the part, network and size.
            layers: all that the study reads of this network.
            progress: called with (images done, images to do).
            only: numbers of the images to look at; None for all.
        """
        missing = self.missing(stage, layers)
        if only is not None:
            missing = {index: wanted for index, wanted in missing.items() if index in only}
        wanted = tuple(sorted(set().union(*missing.values()))) if missing else ()
        if not missing:
            return 0
        network = self.network(stage.network, wanted)
        done = 0
        for indices, images, read_s in _read_ahead(stage, list(missing), self._batch_size):
            start = time.perf_counter()
            maps = network(torch.from_numpy(images).to(self._device))
            arrays = {layer: self._kept(array, stage) for layer, array in maps.items()}
            seconds = (time.perf_counter() - start + read_s) / len(indices)
            for row, index in enumerate(indices):
                result = Result({layer: array[row] for layer, array in arrays.items()}, {}, seconds)
                self._store.put(KIND, stage.image_keys[index], result)
            done += len(indices)
            progress(done, len(missing))
        return done

    @staticmethod
    def _kept(maps: torch.Tensor, stage: FeatureStage) -> NDArray[np.floating]:
        """The maps as the store keeps them.

        Raises:
            MethodError: a value is too large for float16.
        """
        array = maps.cpu().numpy()
        if stage.dtype == "float32":
            return array
        with np.errstate(over="ignore"):
            small = array.astype(np.float16)
        if np.isinf(small).any() and np.isfinite(array).all():
            raise MethodError(
                f"{stage.network.backbone} gives features of up to {np.abs(array).max():.3g}",
                "float16 holds values up to 65504",
                "use features.dtype: float32",
            )
        return small

    def network(self, network: Network, layers: Sequence[str]) -> FeatureExtractor:
        """The network, loaded.

        Raises:
            MethodError: the weights do not fit, or there is no such layer.
        """
        identity = (network, tuple(layers))
        if self._loaded is None or self._loaded[0] != identity:
            self._loaded = None  # let go of the old one before the new one is loaded
            file = resolve_weights(network.backbone, network.weights, seed=network.seed)
            self._loaded = (
                identity,
                load_backbone(network.backbone, file, layers, network.seed, self._device),
            )
        return self._loaded[1]


def _read_ahead(
    stage: FeatureStage, indices: Sequence[int], batch_size: int
) -> Iterator[tuple[Sequence[int], NDArray[np.float32], float]]:
    """Yield (indices, images float32 (n, 3, H, W), seconds of reading), the next batch read meanwhile.

    Decoding and resizing let go of the interpreter, so they overlap the backbone; order is kept.
    """
    chunks = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]

    def read(chunk: Sequence[int]) -> tuple[NDArray[np.float32], float]:
        start = time.perf_counter()
        images = [prepare_image(stage.part.read(index).image, stage.image) for index in chunk]
        return np.stack(images), time.perf_counter() - start

    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(read, chunk) for chunk in chunks[:2]]
        for number, chunk in enumerate(chunks):
            images, seconds = ahead.pop(0).result()
            if number + 2 < len(chunks):
                ahead.append(reader.submit(read, chunks[number + 2]))
            yield chunk, images, seconds
