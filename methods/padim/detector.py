"""PaDiM (Defard et al. 2021, arXiv 2011.08785): a Gaussian at every patch position, by anomalib's own model.

Every formula is anomalib's: the choice of channels, mean and inverse covariance and the Mahalanobis distance are
calls to its `PadimModel`. Written here is only the order of the calls, so that features that are already there are
used and memory stays bounded. Its upsampling and blur are those of `expand_maps`, equal to 1e-5: it convolves with all
33 x 33 weights of its Gaussian at 224, which took 30 ms a map and 15 % of the quick start, three times a part (score,
evaluation, segmentation or diagnosis); along one axis after the other a map takes 0.5 ms, less than keeping it would.

Notation: N images, D channels of all layers, C of them kept (n_features), H x W the grid of the first layer.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn

from adloc.methods.anomalib.library import padim_module
from adloc.methods.anomaly_map import expand_maps
from adloc.methods.detector import Nearest, Patches, Result, once
from adloc.methods.errors import MethodError
from adloc.methods.padim.explaining import check_enough, leave_one_out_distances, nearest_images
from adloc.methods.padim.gaussian import fit_full, fit_low_rank, inverses_at, is_low_rank, low_rank_distance, observe
from adloc.methods.padim.memory import (
    BATCH,
    check_fit_memory,
    check_leave_one_out_memory,
    check_score_memory,
    read_shape,
)
from adloc.methods.padim.params import PadimParams
from adloc.methods.padim.possible import require_channels, require_room
from adloc.methods.params import narrow
from adloc.methods.workers import by_one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from adloc.methods.anomalib.library import PadimModel
    from adloc.methods.detector import Features, StepContext


class Padim:
    """The steps of PaDiM.

    The model takes 4 H W C^2 bytes, or 4 H W N C with a covariance of low rank: 125 MB at 224 with layer1 first
    (56 x 56) and 100 features, and 3.8 GB with 550. Beside it a fit holds the kept channels of some rows of the grid
    of all training images (see `adloc.methods.padim.gaussian`). The C channels are picked batch by batch: the D
    channels never exist for all images.
    """

    def __init__(self) -> None:
        """Import anomalib, which takes 5 to 17 s: here, so that no step's measured time contains it."""
        padim_module()

    def gaussian(self, context: StepContext) -> Result:
        """Fit mean and inverse covariance of every patch position.

        Returns:
            Arrays, as anomalib shapes them: `mean` float32 (C, H * W), `inverse_covariance` float32
            (H * W, C, C), `idx` int64 (C,), the kept channels. With a covariance of low rank, and N < C, `factors`
            float32 (H * W, N, C) in place of the inverse covariance. `idx` depends on the seed, D and C only: the
            first C of torch's random permutation of D. Facts: n_images, n_channels (D), height and width of
            the grid.

        Raises:
            MethodError: fewer than two images, more features asked for than there are channels, or too
                little memory (found before anything is allocated).
        """
        params = narrow(context.params, PadimParams)
        _check_images(context.features.n_images)
        shape = read_shape(context.features, params.layers)
        require_channels(sum(shape.channels), params)
        check_fit_memory(shape, params, context.device)

        model = _build_model(shape.channels, params.n_features, context.seed)
        embed = _Embedding(shape.channels, params.layers, model.idx, context.device)

        def embeddings() -> Iterator[torch.Tensor]:
            return (embedding for _, embedding in _numbered(context.features, params, embed))

        if is_low_rank(params.covariance, shape.n_images, params.n_features):
            fitted = fit_low_rank(embeddings, shape, params.n_features, context.device)
        else:
            fitted = fit_full(model, embeddings, shape, params.n_features, context.device)
        return Result(
            arrays={**fitted, "idx": model.idx.numpy()},
            facts={
                "n_images": shape.n_images,
                "n_channels": sum(shape.channels),
                "height": shape.height,
                "width": shape.width,
            },
        )

    def scores(self, context: StepContext) -> Result:
        """Score images by the Mahalanobis distance of their patches.

        Returns:
            `patch_maps` float32 (N, H, W): the distances on the grid, not blurred. `image_scores` float32
            (N,): of the map that is upsampled to the backbone's input size and blurred, its maximum
            (anomalib's pred_score) or the mean of its largest values.

        Raises:
            MethodError: the blur reaches over the image, or the device has too little memory.
        """
        params = narrow(context.params, PadimParams)
        features, device = context.features, context.device
        fitted = context.results["gaussian"].arrays
        shape = read_shape(features, params.layers)
        require_room(params.smoothing_sigma, features.image_size)
        n_fitted = fitted["factors"].shape[1] if "factors" in fitted else len(fitted["idx"])
        check_score_memory(shape, params, n_fitted, features.image_size, device)

        idx = torch.from_numpy(np.array(fitted["idx"]))
        embed = once(context, "embedding", lambda: _Embedding(shape.channels, params.layers, idx, device))
        low_rank = "factors" in fitted
        names = ("mean", "factors" if low_rank else "inverse_covariance")
        statistics = once(context, "statistics", lambda: [_share(fitted[name]).to(device) for name in names])
        find_distances = low_rank_distance if low_rank else padim_module().AnomalyMapGenerator.compute_distance
        patch_maps = np.empty((shape.n_images, shape.height, shape.width), np.float32)
        start = 0
        for batch in features.batches(params.layers, BATCH):
            embedding = embed(batch)
            n = len(embedding)
            distances = find_distances(_pad(embedding), statistics)  # (BATCH, 1, H, W)
            patch_maps[start : start + n] = distances[:n, 0].cpu().numpy()
            start += n
        return self._scored(patch_maps, features.image_size, params)

    def leave_one_out(self, context: StepContext) -> Result:
        """Score every training image by the Gaussians that are fitted to the others; see `leave_one_out_distances`.

        Takes about the time of a fit, whatever form of covariance was fitted.

        Returns:
            `patch_maps` and `image_scores` as `scores` gives them.

        Raises:
            MethodError: fewer than three images, a blur that reaches over the image, or too little memory.
        """
        params = narrow(context.params, PadimParams)
        features, device = context.features, context.device
        check_enough(features.n_images)
        shape = read_shape(features, params.layers)
        require_room(params.smoothing_sigma, features.image_size)
        check_leave_one_out_memory(shape, params, device)

        idx = torch.from_numpy(np.array(context.results["gaussian"].arrays["idx"]))
        embed = _Embedding(shape.channels, params.layers, idx, device)

        def embeddings() -> Iterator[torch.Tensor]:
            return (embedding for _, embedding in _numbered(features, params, embed))

        patch_maps = np.empty((shape.n_images, shape.height, shape.width), np.float32)
        for row, observations in enumerate(observe(embeddings, shape, params.n_features)):  # (N, C, W)
            distances = by_one_thread(leave_one_out_distances, observations.to(device).permute(2, 0, 1))
            patch_maps[:, row] = distances.T.cpu().numpy()
        return self._scored(patch_maps, features.image_size, params)

    def rescore(self, context: StepContext) -> Result:
        """Blur and reduce the distances that are already found in another way.

        Raises:
            MethodError: the blur reaches over the image.
        """
        patch_maps = np.asarray(context.results["scores"].arrays["patch_maps"])
        return self._scored(patch_maps, context.features.image_size, narrow(context.params, PadimParams))

    def _scored(self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: PadimParams) -> Result:
        """Image scores of distances (N, H, W), some images at a time."""
        image_scores = np.empty(len(patch_maps), np.float32)
        for start in range(0, len(patch_maps), BATCH):
            maps = self.anomaly_maps(patch_maps[start : start + BATCH], size, params)
            image_scores[start : start + BATCH] = _reduce(torch.from_numpy(maps).unsqueeze(1), params.image_score)
        return Result(arrays={"image_scores": image_scores, "patch_maps": patch_maps})

    def nearest_training(self, context: StepContext, train: Features, patches: Patches) -> Nearest:
        """The training image that is nearest to each patch at the patch's own position, the only one PaDiM looks at."""
        params = narrow(context.params, PadimParams)
        fitted = context.results["gaussian"].arrays
        shape = read_shape(train, params.layers)
        idx = torch.from_numpy(np.array(fitted["idx"]))
        embed = _Embedding(shape.channels, params.layers, idx, context.device)
        places = torch.from_numpy(patches.rows), torch.from_numpy(patches.columns)

        scored = torch.empty(len(patches.images), len(idx))
        for first, embedding in _numbered(context.features, params, embed):
            here = np.flatnonzero((patches.images >= first) & (patches.images < first + len(embedding)))
            own = torch.from_numpy(patches.images[here] - first)
            scored[here] = embedding[own, :, places[0][here], places[1][here]]
        everywhere = torch.cat([each[:, :, *places].transpose(1, 2) for _, each in _numbered(train, params, embed)])
        positions = patches.rows * shape.width + patches.columns
        images, distances = nearest_images(scored, everywhere, inverses_at(fitted, positions))
        meaning = "Mahalanobis distance to the nearest training image there; the score is that to their mean"
        found = Patches(images.numpy(), patches.rows, patches.columns)
        return Nearest(found, distances.numpy().astype(np.float32), meaning)

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: BaseModel
    ) -> NDArray[np.float32]:
        """Upsample (bilinear) and blur patch maps (N, H, W) to (N, height, width) of `size`, on the CPU.

        Raises:
            MethodError: the blur reaches over a map of this size.
        """
        sigma = narrow(params, PadimParams).smoothing_sigma
        require_room(sigma, size)
        return expand_maps(patch_maps, size, sigma, border="edge_once")

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:  # noqa: ARG002
        """Seconds of the Gaussian fit."""
        return results["gaussian"].seconds

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:  # noqa: ARG002
        """Bytes of mean, inverse covariance or factors, and channel indices."""
        return sum(array.nbytes for array in results["gaussian"].arrays.values())


class _ChannelCounts(nn.Module):
    """A backbone from which anomalib reads the number of channels of each layer: shapes without values."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        # Without values no initial weights are drawn from the generator from which anomalib draws `idx`.
        self.maps = nn.ModuleList(nn.Conv2d(3, n, 1, device="meta") for n in channels)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [layer(images) for layer in self.maps]


def _build_model(channels: Sequence[int], n_features: int, seed: int) -> PadimModel:
    """Build anomalib's model without a network; its layers are called maps.0, maps.1, ..."""
    torch_model = padim_module()
    # anomalib draws `idx` from the global CPU generator, which is given back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model: PadimModel = torch_model.PadimModel(
            backbone=_ChannelCounts(channels),
            layers=[f"maps.{i}" for i in range(len(channels))],
            pre_trained=False,
            n_features=n_features,
        )
    return model


class _Embedding:
    """anomalib's `generate_embedding`, given only the channels that it will keep.

    It brings all D channels to the grid before it keeps C of them. To leave the others out beforehand gives
    the same bits, and with a ResNet-50 (D = 1792, C = 100) takes an eighteenth of the memory.
    """

    def __init__(self, channels: Sequence[int], layers: Sequence[str], idx: torch.Tensor, device: torch.device) -> None:
        self._device = device
        self._picks: dict[str, torch.Tensor] = {}
        places = torch.empty(sum(channels), dtype=torch.int64)  # of the picked channels among each other
        first, n_picked = 0, 0
        for layer, n_channels in zip(layers, channels, strict=True):
            picks = torch.sort(idx[(idx >= first) & (idx < first + n_channels)] - first).values
            if len(picks) == 0:  # torch refuses to interpolate a map without channels
                picks = torch.tensor([0])
            places[first + picks] = torch.arange(n_picked, n_picked + len(picks))
            self._picks[layer] = picks
            first, n_picked = first + n_channels, n_picked + len(picks)
        self._model = _build_model([len(picks) for picks in self._picks.values()], len(idx), seed=0)
        self._model.idx = places[idx]

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Bring the layers to the grid of the first and keep the channels of idx: (n, C, H, W)."""
        named = zip(self._model.layers, self._picks.items(), strict=True)
        return self._model.generate_embedding(
            {name: batch[layer].index_select(1, picks).to(self._device) for name, (layer, picks) in named}
        )


def _numbered(features: Features, params: PadimParams, embed: _Embedding) -> Iterator[tuple[int, torch.Tensor]]:
    """Embeddings (n, C, H, W) of consecutive images, on the CPU, each with the number of the first."""
    start = 0
    for batch in features.batches(params.layers, BATCH):
        embedding = embed(batch).cpu()
        yield start, embedding
        start += len(embedding)


def _pad(images: torch.Tensor) -> torch.Tensor:
    """Append zeros up to BATCH entries along the first axis."""
    missing = BATCH - len(images)
    return torch.cat([images, images.new_zeros(missing, *images.shape[1:])]) if missing else images


def _share(array: NDArray[np.generic]) -> torch.Tensor:
    """View an array as a tensor that is never written to; a copy would double a mapped model in memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _reduce(maps: torch.Tensor, image_score: Literal["max"] | float) -> torch.Tensor:
    """Reduce anomaly maps (n, 1, height, width) to image scores (n,)."""
    values = maps.flatten(1)
    if image_score == "max":
        return values.amax(1)
    n_top = max(1, math.ceil(image_score / 100 * values.shape[1]))
    return values.topk(n_top, dim=1).values.mean(1)


def _check_images(n_images: int) -> None:
    """Refuse a fit on fewer than two images."""
    if n_images <= 1:
        raise MethodError(
            f"padim: {n_images} training image{'' if n_images else 's'}",
            "a covariance needs at least two",
            "add normal images, or raise split.train_fraction",
        )
