"""Scores pictures by an exported model: the very steps that its study took, on images in memory."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.computing.features import BATCH_SIZE, share_out
from adloc.computing.tiling import pass_filled
from adloc.datasets.transform import resize_and_crop
from adloc.drift.statistics import PIXEL_STATISTICS, feature_names, feature_statistics, pixel_statistics
from adloc.errors import Complaint, UserError
from adloc.methods import MethodError, find_method, load_detector
from adloc.methods.detector import PATCH_MAPS, ImageContext, StepContext
from adloc.methods.workers import spread
from adloc.model.held import HeldFeatures, HeldImages, as_input
from adloc.model.network import find_weights, load_network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from adloc.methods.detector import Result
    from adloc.methods.engines.extractor import Extractor
    from adloc.model.folder import Model


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a model says of N images.

    Attributes:
        scores: float32 (N,), raw; higher is more anomalous.
        patch_maps: float32 (N, H, W); None of a method that does not say where a defect is.
        statistics: float64 (N, S), what the drift watch looks at beside the score, named as `Scorer.statistics`; None
            where it was not asked for.
    """

    scores: NDArray[np.float32]
    patch_maps: NDArray[np.float32] | None
    statistics: NDArray[np.float64] | None = None


class Scorer:
    """A model at work. Several threads may call it: they take turns.

    An image's score has the same bits alone and among others, and on any number of cores.

    Attributes:
        model: the model.
        device: where it computes.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        """Load the network and whatever scoring needs.

        Raises:
            UserError: the method or the weights are not there.
        """
        spec = model.spec
        self.model, self.device = model, device
        self._turn, self._kept = Lock(), dict[str, object]()
        try:
            self._method = find_method(spec.method)
            self._detector = load_detector(self._method)
        except MethodError as error:
            raise UserError(Complaint(error.found, error.rule, error.remedy)) from None
        self._params = spec.method_params(self._method)
        self._weights: Path | None = None
        self._network: Extractor | None = None
        self._fills: bool | None = None  # not known before the first pass
        if spec.backbone is not None:
            if self._method.reads == "features":
                self._network = load_network(model.path, spec.backbone, spec.engine, device)
            else:
                self._weights = find_weights(model.path, spec.backbone).path

    @property
    def method_code(self) -> str:
        """Identity of the method's source here; where it is not that of the export, scores may be others."""
        return self._method.code

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture (height, width, 3) of any size as the model sees it: uint8 at the input size."""
        return np.ascontiguousarray(resize_and_crop(image, self.model.spec.image))

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of what is measured of each image beside its score."""
        layers = () if self._network is None else self._network.layers
        return (*PIXEL_STATISTICS, *feature_names(layers))

    def score(self, pixels: NDArray[np.uint8], *, measure: bool = False) -> Scored:
        """Score prepared pictures.

        Args:
            pixels: uint8 (N, height, width, 3) from `prepare`; N at least 1.
            measure: whether `statistics` are wanted.

        Raises:
            MethodError: the method refuses them.
        """
        with self._turn:
            source = HeldImages(pixels) if self._network is None else self._features(self._network, pixels)
            results: dict[str, Result] = dict(self.model.fit)
            steps = [step for step in self._method.steps if step.part == "score"]
            for step in steps:
                function: Callable[[StepContext | ImageContext], Result] = getattr(self._detector, step.name)
                results[step.name] = function(self._context(source, results))
        last = results[steps[-1].name].arrays
        maps = last.get(PATCH_MAPS)
        return Scored(
            np.asarray(last["image_scores"], np.float32),
            None if maps is None else np.asarray(maps),
            _measure(pixels, source) if measure else None,
        )

    def maps(self, patch_maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """Expand patch maps (N, H, W) to anomaly maps (N, height, width) of `size`."""
        with self._turn:
            return self._detector.anomaly_maps(patch_maps, size, self._params)

    def _context(self, source: HeldFeatures | HeldImages, results: dict[str, Result]) -> StepContext | ImageContext:
        seed = self.model.spec.seed
        if isinstance(source, HeldFeatures):
            return StepContext(self._params, source, results, seed, self.device, kept=self._kept)
        return ImageContext(self._params, source, results, seed, self.device, self._weights, kept=self._kept)

    def _features(self, network: Extractor, pixels: NDArray[np.uint8]) -> HeldFeatures:
        """As `adloc.computing.features` computes them: on the CPU a pass of one thread for each few images."""
        image, n_together = self.model.spec.image, BATCH_SIZE[network.device.type]
        if image.tiles is not None:
            n_together = max(1, n_together // image.tiles.count)
        n_passed = n_together if self._fills_up(network, n_together) else 1
        chunks = [pixels[start : start + n_together] for start in range(0, len(pixels), n_together)]
        workers = share_out(self.model.spec.engine, self._backbone, network.device, len(chunks))

        def extract(chunk: NDArray[np.uint8]) -> dict[str, Tensor]:
            images = as_input(chunk)
            with workers.turn:
                return pass_filled(network, images, image, n_passed, BATCH_SIZE[network.device.type])

        found = list(spread(extract, chunks, workers.count, workers.n_threads))
        maps = {layer: torch.cat([each[layer].cpu() for each in found]) for layer in network.layers}
        if self.model.spec.dtype == "float16":  # as the study kept what the fit has read
            maps = {layer: each.half().float() for layer, each in maps.items()}
        return HeldFeatures(maps, image.input_size)

    def _fills_up(self, network: Extractor, n_together: int) -> bool:
        """Whether an image alone would get other bits than among as many as the study passed together."""
        if self._fills is None:
            config = self.model.spec.image
            noise = torch.rand(1, 3, *config.input_size, generator=torch.Generator().manual_seed(0))
            alone, among = (pass_filled(network, noise, config, n, n_together) for n in (1, n_together))
            differs = any(not torch.equal(alone[layer], among[layer]) for layer in network.layers)
            self._fills = differs and network.device.type == "cpu"
        return self._fills

    @property
    def _backbone(self) -> str:
        backbone = self.model.spec.backbone
        return "" if backbone is None else backbone.backbone


def _measure(pixels: NDArray[np.uint8], source: HeldFeatures | HeldImages) -> NDArray[np.float64]:
    """float64 (N, S): of the pixels, then of the features where there are some."""
    found = pixel_statistics(pixels)
    if isinstance(source, HeldImages):
        return found
    maps = {layer: each.numpy() for layer, each in source.maps.items()}
    return np.concatenate([found, feature_statistics(maps)], axis=1)
