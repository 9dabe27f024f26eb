"""UniAD (You et al. 2022, arXiv 2206.03687): how badly a network that has seen normal images reconstructs a patch.

Notation: N images, H x W the patch grid, C channels of all layers, P parameters of the network, S snapshots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from adloc.methods.anomaly_map import expand_maps
from adloc.methods.detector import PATCH_MAPS, Result, once
from adloc.methods.errors import MethodError
from adloc.methods.memory import free_bytes
from adloc.methods.params import narrow
from adloc.methods.uniad.network import Reconstruction, to_tokens
from adloc.methods.uniad.params import UniadParams
from adloc.methods.uniad.training import load_weights, make_network, train

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel
    from torch import Tensor

    from adloc.methods.detector import StepContext

# Matrix products round differently for other numbers of rows: every batch is filled up to this many images, and an
# image's score has the same bits wherever in whatever part it stands.
_BATCH = 8
_USABLE = 0.9  # of the free memory
_CONSTANT = 1e-6  # of the channels' mean spread: one that varies less is not scaled up


class Uniad:
    """The steps of UniAD.

    Each channel is brought to mean 0 and variance 1 over the training tokens, so that no layer outweighs another and
    a learning rate suits every backbone (the original takes features as they are). The tokens of all training images
    are held in memory: 4 N H W C bytes.
    """

    def training(self, context: StepContext) -> Result:
        """Train the network on the tokens of the train part.

        Returns:
            Arrays: `weights` float32 (S, P), the network's parameters after each epoch of `epochs` int64 (S,), the
            last row the fitted model; `losses` float32 (epochs,), the mean loss of each epoch; `mean` and `spread`
            float32 (C,) of the channels. Facts: n_images, grid_height, grid_width, n_parameters (P).

        Raises:
            MethodError: there is no training image, a feature is not finite, the mask hides the whole grid, or memory
                is too small.
        """
        params = narrow(context.params, UniadParams)
        tokens = _training_tokens(context, params)
        n_images, height, width, n_channels = tokens.shape
        _check_mask((height, width), params)
        flat = tokens.flatten(0, 2)
        mean, spread = flat.mean(0), flat.std(0, correction=0)
        if not bool(spread.isfinite().all()):
            raise MethodError(
                "uniad: the features of the train part hold NaN or infinity",
                "features must be finite",
                "check the backbone's weights, and the images",
            )
        spread = torch.where(spread > _CONSTANT * spread.mean(), spread, torch.ones_like(spread))
        tokens.sub_(mean).div_(spread)
        network = make_network((height, width), n_channels, params, context.seed).to(context.device)
        at_work = tokens.flatten(1, 2).to(context.device)
        trained = train(at_work, network, params, context.seed, context.progress, context.scratch)
        return Result(
            arrays={
                "weights": trained.weights,
                "epochs": trained.epochs,
                "losses": trained.losses,
                "mean": mean.numpy(),
                "spread": spread.numpy(),
            },
            facts={
                "n_images": n_images,
                "grid_height": height,
                "grid_width": width,
                "n_parameters": trained.weights.shape[1],
            },
        )

    def scores(self, context: StepContext) -> Result:
        """Score each patch by the length of what the reconstruction is off by, |f - f'|, in scaled channels.

        Returns:
            Arrays: `patch_maps` float32 (N, H, W); `image_scores` float32 (N,), the maximum of the map that is brought
            to the input size and averaged over squares of `pool_size` pixels.

        Raises:
            MethodError: such a square does not fit into the image.
        """
        (patch_maps,) = self._maps(context, snapshots=[-1])
        scores = _score_images(patch_maps, context.features.image_size, narrow(context.params, UniadParams).pool_size)
        return Result(arrays={"image_scores": scores, PATCH_MAPS: patch_maps})

    def over_epochs(self, context: StepContext) -> Result:
        """Score each image by every snapshot of the training.

        Returns:
            Arrays: `epochs` int64 (S,) and `image_scores` float32 (S, N); the last row is what `scores` gives.
        """
        epochs = np.asarray(context.results["training"].arrays["epochs"])
        size, pool_size = context.features.image_size, narrow(context.params, UniadParams).pool_size
        maps = self._maps(context, snapshots=list(range(len(epochs))))
        scores = np.stack([_score_images(each, size, pool_size) for each in maps])
        return Result(arrays={"epochs": epochs, "image_scores": scores})

    def anomaly_maps(
        self,
        patch_maps: NDArray[np.float32],
        size: tuple[int, int],
        params: BaseModel,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Expand patch maps (N, H, W) to float32 (N, height, width) of `size`, bilinearly."""
        return expand_maps(patch_maps, size)

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:  # noqa: ARG002
        """Seconds of the training; of what an undisturbed process took, where a killed one has gone on."""
        return results["training"].seconds

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:  # noqa: ARG002
        """Bytes of the fitted network's parameters, and of the channels' scale."""
        arrays = results["training"].arrays
        return sum(array.nbytes for array in (arrays["weights"][-1], arrays["mean"], arrays["spread"]))

    def exported(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, Result]:  # noqa: ARG002
        """The network after the last epoch, and the channels' scale."""
        training = results["training"]
        arrays = {name: np.asarray(training.arrays[name]) for name in ("mean", "spread")}
        arrays["weights"] = np.asarray(training.arrays["weights"][-1:])
        return {"training": Result(arrays, training.facts)}

    def fit_facts(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, float]:  # noqa: ARG002
        """Parameters of the network, and the loss of the last epoch."""
        training = results["training"]
        return {
            "n_parameters": float(training.facts["n_parameters"]),
            "training_loss": float(training.arrays["losses"][-1]),
        }

    def _maps(self, context: StepContext, snapshots: list[int]) -> list[NDArray[np.float32]]:
        """The patch maps (N, H, W) of the part by each of the snapshots."""
        params, training = narrow(context.params, UniadParams), context.results["training"]
        _check_pool(context.features.image_size, params)
        arrays = {name: torch.from_numpy(np.array(training.arrays[name])) for name in ("mean", "spread")}
        grid = int(training.facts["grid_height"]), int(training.facts["grid_width"])

        def load(snapshot: int) -> Reconstruction:
            network = make_network(grid, len(arrays["mean"]), params, seed=0)
            load_weights(network, torch.from_numpy(np.array(training.arrays["weights"][snapshot])))
            return network.to(context.device)

        networks = once(context, "networks", lambda: [load(snapshot) for snapshot in snapshots])
        maps: list[list[NDArray[np.float32]]] = [[] for _ in snapshots]
        for tokens in _batches(context, params):
            scaled = tokens.sub(arrays["mean"]).div(arrays["spread"])
            for network, found in zip(networks, maps, strict=True):
                found.append(_errors(network, scaled.to(context.device)))
        return [np.concatenate(found) for found in maps]


def _batches(context: StepContext, params: UniadParams) -> Iterator[Tensor]:
    """Tokens of consecutive images, float32 (<= _BATCH, H, W, C), on the CPU."""
    for features in context.features.batches(params.layers, _BATCH):
        yield to_tokens(features, params.layers)


@torch.inference_mode()
def _errors(network: Reconstruction, tokens: Tensor) -> NDArray[np.float32]:
    """The length of every token's error, float32 (n, H, W) of (n, H, W, C)."""
    n_images, height, width, n_channels = tokens.shape
    filled = tokens.new_zeros(_BATCH, height * width, n_channels)
    filled[:n_images] = tokens.flatten(1, 2)
    errors = (network(filled) - filled).norm(dim=-1)[:n_images]
    return np.asarray(errors.view(n_images, height, width).cpu().numpy())


def _score_images(patch_maps: NDArray[np.float32], size: tuple[int, int], pool_size: int) -> NDArray[np.float32]:
    """The maximum of each map, brought to the input size and averaged over squares."""
    scores = np.empty(len(patch_maps), np.float32)
    for start in range(0, len(patch_maps), _BATCH):
        maps = torch.from_numpy(expand_maps(patch_maps[start : start + _BATCH], size))
        pooled = functional.avg_pool2d(maps[:, None], pool_size, stride=1)
        scores[start : start + _BATCH] = pooled.flatten(1).amax(1).numpy()
    return scores


def _training_tokens(context: StepContext, params: UniadParams) -> Tensor:
    """Of all images, float32 (N, H, W, C), on the CPU."""
    n_images = context.features.n_images
    if n_images == 0:
        raise MethodError(
            "uniad: the train part has no image",
            "it is trained on normal images, at least one",
            "raise train_fraction, or add images to train/good",
        )
    tokens: Tensor | None = None
    start = 0
    for batch in _batches(context, params):
        if tokens is None:
            _check_memory(n_images, batch)
            tokens = torch.empty(n_images, *batch.shape[1:])
        tokens[start : start + len(batch)] = batch
        start += len(batch)
    if tokens is None:
        message = f"{n_images} images, and no batch"
        raise ValueError(message)
    return tokens


def _check_memory(n_images: int, batch: Tensor) -> None:
    """Refuse a training whose tokens do not fit."""
    needed, free = n_images * batch[0].numel() * batch.element_size(), free_bytes(torch.device("cpu"))
    if free is not None and needed > _USABLE * free:
        raise MethodError(
            f"uniad: the tokens of {n_images} training images take {needed / 1e9:.3g} GB, "
            f"and {free / 1e9:.3g} GB are free",
            f"they must take at most {_USABLE:.0%} of the free memory",
            "lower image.size, use fewer layers, or fewer images by train.images",
        )


def _check_mask(grid: tuple[int, int], params: UniadParams) -> None:
    """Refuse a mask that leaves some patch nothing to attend to."""
    if params.neighbour_mask and params.mask_size >= max(grid):
        largest = (max(grid) - 2) // 2 * 2 + 1
        raise MethodError(
            f"uniad: mask_size {params.mask_size} hides all of a grid of {grid[0]} x {grid[1]} patches",
            "it must be smaller than the longer side of the grid, so that every patch can attend to another",
            f"use {largest} or less, or a larger image.size" if largest > 0 else "use neighbour_mask: false",
        )


def _check_pool(size: tuple[int, int], params: UniadParams) -> None:
    """Refuse a square that is larger than the image."""
    if params.pool_size > min(size):
        raise MethodError(
            f"uniad: pool_size is {params.pool_size}, and the input has {size[0]} x {size[1]} pixels",
            "it must be at most the image's shorter side",
            f"use {min(size)} or less",
        )
