"""Backbone features, image by image: each image passes a network once, for all the layers that a study reads."""

from __future__ import annotations

import time
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.computing.converted import open_converted
from adloc.computing.tiling import pass_filled, pass_size
from adloc.datasets.transform import prepare_image
from adloc.methods.backbone import find_backbone
from adloc.methods.detector import Result
from adloc.methods.engines.engine import TORCH
from adloc.methods.errors import MethodError
from adloc.methods.network import load_backbone
from adloc.methods.workers import spread
from adloc.planning.parts import in_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from adloc.computing.store import Store
    from adloc.methods.engines.engine import EngineName
    from adloc.methods.engines.extractor import Extractor
    from adloc.methods.network import FeatureExtractor
    from adloc.planning.sources import FeatureStage, Network

KIND = "features"
PASSED = "features_passed"  # of a part: what its passes took, where the features themselves are not kept
# Images (or tiles of them) a forward pass. On a CPU each worker has a pass of its own: larger ones only cost memory.
# On the CPU always so many, filled up where there are fewer: see `adloc.computing.tiling.pass_filled`.
BATCH_SIZE = {"cpu": 2, "cuda": 32}
MOST_WORKERS = 16  # each holds the activations of a batch
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """The features of a part, read from the store batch by batch; see `adloc.methods.detector.Features`."""

    _store: Store
    _keys: tuple[str, ...]
    image_size: tuple[int, int]
    _sha256: tuple[str, ...] = field(default=(), repr=False)  # of the images, to note which were read
    _read: set[str] = field(default_factory=set, repr=False)

    @property
    def n_images(self) -> int:
        """How many images."""
        return len(self._keys)

    def images_read(self) -> frozenset[str]:
        """SHA-256 of the images whose features were handed out so far."""
        return frozenset(self._read)

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, torch.Tensor]]:
        """Yield {layer: float32 (n, C, H, W)} for consecutive images, n <= batch_size."""
        for start in range(0, len(self._keys), batch_size):
            keys = self._keys[start : start + batch_size]
            results = [self._store.get(KIND, key, partial(_has, set(layers))) for key in keys]
            if any(result is None for result in results):  # the store was cleared under our feet
                raise FileNotFoundError(self._store.path(KIND, keys[0]))
            self._read.update(self._sha256[start : start + len(keys)])
            yield _stack([result for result in results if result is not None], layers)

    @property
    def passing_s(self) -> float:
        """None of the reading's time is a pass through the backbone."""
        return 0.0

    def seconds(self) -> float:
        """Wall time that all the images took: reading, preprocessing and the backbone; not simulating the shift.

        Features that an earlier version kept hold the simulation too: they are as good, and FEATURES_VERSION, which
        is part of their keys, stays. `adloc study run FILE --fresh` measures them anew.
        """
        results = [self._store.get(KIND, key) for key in self._keys]
        if any(result is None for result in results):
            raise FileNotFoundError(self._store.path(KIND, self._keys[0]))
        return sum(result.seconds for result in results if result is not None)


@dataclass(slots=True)
class PassingFeatures:
    """The features of a part that are not kept: images pass the backbone whenever they are read, to the same bits.

    Those that another study or part has kept are read. See `adloc.methods.detector.Features`.

    Attributes:
        passing_s: wall time of the passes so far, which is no time of the step that reads.
    """

    _store: Store
    _extraction: FeatureExtraction
    _stage: FeatureStage
    _layers: tuple[str, ...]  # all that the study reads: with others the network would be loaded again
    passing_s: float = 0.0
    _seconds: dict[int, float] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set, repr=False)

    @property
    def n_images(self) -> int:
        """How many images."""
        return len(self._stage.image_keys)

    def images_read(self) -> frozenset[str]:
        """SHA-256 of the images whose features were handed out so far."""
        return frozenset(self._read)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the backbone's input."""
        return self._stage.image.input_size

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, torch.Tensor]]:
        """Yield {layer: float32 (n, C, H, W)} for consecutive images, n <= batch_size."""
        for start in range(0, self.n_images, batch_size):
            indices = range(start, min(start + batch_size, self.n_images))
            begun = time.perf_counter()
            found = self._extraction.compute(self._stage, self._layers, indices)
            self.passing_s += time.perf_counter() - begun
            for index, result in found.items():
                self._seconds.setdefault(index, result.seconds)
            self._read.update(self._stage.part.fingerprints[index].sha256 for index in indices)
            yield _stack([found[index] for index in indices], layers)

    def seconds(self) -> float:
        """Wall time that all the images took in their first pass, as `StoredFeatures.seconds`; kept for the part."""
        known = self._store.get(PASSED, self._stage.key)
        if known is not None:
            return known.seconds
        if len(self._seconds) < self.n_images:  # the step reads none, or not all
            deque(self.batches(self._layers), maxlen=0)
        total = sum(self._seconds.values())
        self._store.put(PASSED, self._stage.key, Result({}, {}, total))
        return total


PartFeatures = StoredFeatures | PassingFeatures


@dataclass(frozen=True, slots=True)
class Workers:
    """Threads that read, pass and keep images at the same time.

    Attributes:
        count: how many.
        n_threads: of torch, in each of them.
        turn: held during a pass through the network.
    """

    count: int
    n_threads: int
    turn: AbstractContextManager[object]


class FeatureExtraction:
    """Computes what the store lacks; keeps the last network loaded.

    Engines other than torch compute on the CPU, whatever the device is.
    """

    def __init__(
        self, store: Store, device: torch.device, batch_size: int | None = None, *, reads: bool = True
    ) -> None:
        """Compute on `device`, `batch_size` images at a time (default: what is fastest there).

        Features that this process `reads` are brought here; of others it is enough to know that they are kept.
        """
        self._store = store
        self._reads = reads
        self._device = device
        self._batch_size = batch_size
        self._loaded: tuple[tuple[object, ...], Extractor] | None = None

    def is_done(self, stage: FeatureStage, layers: Sequence[str]) -> bool:
        """Whether the store has every image with these layers."""
        return not self.missing(stage, layers)

    def missing(self, stage: FeatureStage, layers: Sequence[str], only: Collection[int] | None = None) -> list[int]:
        """Numbers of the images of which the store lacks a layer.

        Args:
            stage: the part, network and size.
            layers: that are needed.
            only: numbers of the images to look at; None for all.
        """
        indices = range(len(stage.image_keys)) if only is None else sorted(only)
        enough = partial(_has, set(layers))
        if not self._reads:
            return [index for index in indices if not self._store.has(KIND, stage.image_keys[index], layers)]
        self._store.fetch(KIND, [stage.image_keys[index] for index in indices], enough)
        return [index for index in indices if self._store.get(KIND, stage.image_keys[index], enough) is None]

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
        indices = self.missing(stage, layers, only)

        def keep(index: int, result: Result) -> None:
            self._store.add(KIND, stage.image_keys[index], result)

        done = 0
        # Looked for once more before each pass: another process may keep the same images meanwhile.
        for n_images in self._pass(stage, layers, indices, keep, partial(self.missing, stage, layers)):
            done += n_images
            progress(done, len(indices))
        return done

    def compute(self, stage: FeatureStage, layers: Sequence[str], images: Sequence[int]) -> dict[int, Result]:
        """The features of these images by number: read where the store has them, else computed and not kept."""
        missing = self.missing(stage, layers, images)
        found: dict[int, Result] = {}
        for index in set(images).difference(missing):
            result = self._store.get(KIND, stage.image_keys[index])
            if result is None:  # collected since
                missing.append(index)
            else:
                found[index] = result
        deque(self._pass(stage, layers, sorted(missing), found.__setitem__, list), maxlen=0)
        return found

    def image_bytes(self, stage: FeatureStage, layers: Sequence[str]) -> int:
        """Bytes of one image's features as the store keeps them, found by passing a grey one."""
        network = self.network(stage, tuple(sorted(layers)))
        grey = torch.full((1, 3, *stage.image.input_size), 0.5)
        maps = pass_filled(network, grey, stage.image, 1, self._batch_size or BATCH_SIZE[network.device.type])
        return sum(self._kept(each, stage).nbytes for each in maps.values())

    def _pass(
        self,
        stage: FeatureStage,
        layers: Sequence[str],
        indices: Sequence[int],
        keep: Callable[[int, Result], None],
        lacking: Callable[[Sequence[int]], list[int]],
    ) -> Iterator[int]:
        """Pass images through the backbone and `keep` the features of each; yield how many have passed together.

        Of those that pass together the ones that are `lacking` by then.
        """
        if not indices:
            return
        network = self.network(stage, tuple(sorted(layers)))
        batch_size = self._batch_size or BATCH_SIZE[network.device.type]
        # As many tiles at a time as images without tiles, so that memory stays bounded.
        tiles = stage.image.tiles
        n_together = batch_size if tiles is None else max(1, batch_size // tiles.count)
        chunks = [indices[start : start + n_together] for start in range(0, len(indices), n_together)]
        workers = share_out(stage.engine.name, stage.network.backbone, network.device, len(chunks))

        def extract(chunk: Sequence[int]) -> int:
            chunk = lacking(chunk)
            if not chunk:
                return 0
            start = time.perf_counter()
            images, simulating = _read(stage, chunk)
            n_passed = n_together if network.device.type == "cpu" else len(chunk)
            with workers.turn:
                maps = pass_filled(network, torch.from_numpy(images), stage.image, n_passed, batch_size)
            arrays = {layer: self._kept(array, stage) for layer, array in maps.items()}
            spent = time.perf_counter() - start - simulating
            seconds = spent / len(chunk) / workers.count  # all work at the same time
            for row, index in enumerate(chunk):
                result = Result({layer: array[row] for layer, array in arrays.items()}, {}, seconds)
                keep(index, result)
            return len(chunk)

        yield from spread(extract, chunks, workers.count, workers.n_threads)

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

    def network(self, stage: FeatureStage, layers: Sequence[str]) -> Extractor:
        """The network of a stage by the stage's engine, with these layers, loaded.

        Raises:
            MethodError: the weights do not fit, there is no such layer, or the engine cannot run the network.
        """
        passes = min(torch.get_num_threads(), MOST_WORKERS)
        converted = () if stage.engine == TORCH else (stage.engine, pass_size(stage.image), passes)
        identity = (stage.network, tuple(layers), *converted)
        if self._loaded is None or self._loaded[0] != identity:
            self._loaded = None  # let go of the old one before the new one is loaded
            if converted:
                network: Extractor = open_converted(
                    self._store, stage, layers, passes, lambda: self._load(stage.network, layers, CPU)
                )
            else:
                network = self._load(stage.network, layers, self._device)
            self._loaded = (identity, network)
        return self._loaded[1]

    def _load(self, network: Network, layers: Sequence[str], device: torch.device) -> FeatureExtractor:
        """The network by torch."""
        return load_backbone(network.backbone, self._store.weights(network), layers, network.seed, device)


def _has(layers: set[str], result: Result) -> bool:
    return result.arrays.keys() >= layers


def _stack(results: Sequence[Result], layers: Sequence[str]) -> dict[str, torch.Tensor]:
    """{layer: float32 (n, C, H, W)} of n images."""
    stacked = {layer: np.stack([result.arrays[layer] for result in results]) for layer in layers}
    return {layer: torch.from_numpy(maps.astype(np.float32, copy=False)) for layer, maps in stacked.items()}


def share_out(engine: EngineName, backbone: str, device: torch.device, n_chunks: int) -> Workers:
    """How images are shared out: passes of their own on a CPU, one pass at a time on a GPU.

    A network that somebody's function returns may not bear two passes at a time either, unless it is converted.

    Args:
        engine: what runs the network.
        backbone: its name.
        device: where it computes.
        n_chunks: of images.
    """
    n_threads = torch.get_num_threads()
    own = engine == TORCH.name and find_backbone(backbone).source == "function"
    if device.type == "cpu" and not own:
        return Workers(min(n_threads, n_chunks, MOST_WORKERS), 1, nullcontext())
    return Workers(min(max(n_threads, 2), n_chunks, 4), n_threads, Lock())


def _read(stage: FeatureStage, indices: Sequence[int]) -> tuple[NDArray[np.float32], float]:
    """The images (n, 3, height, width) at the input size, and the seconds that simulating the shift took of it."""
    images, simulating = [], 0.0
    for index in indices:
        sample = stage.part.samples[index]
        read = stage.part.decoded(index)
        start = time.perf_counter()
        picture = in_domain(read, sample, stage.part.shift, stage.image)
        simulating += time.perf_counter() - start
        images.append(prepare_image(picture.image, stage.image))
    return np.stack(images), simulating
