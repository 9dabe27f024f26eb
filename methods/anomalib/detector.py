"""The steps of `method: anomalib`: a training, and the raw scores and maps of the trained torch model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from adloc.methods.anomalib.library import build, predict, quiet
from adloc.methods.anomalib.params import AnomalibParams
from adloc.methods.anomalib.training import Training, own_randomness, train
from adloc.methods.detector import PATCH_MAPS, Result, once
from adloc.methods.errors import MethodError
from adloc.methods.params import narrow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from adloc.methods.anomalib.library import AnomalibModule
    from adloc.methods.detector import Arrays, ImageContext

BATCH = 8  # images scored together: always so many, the last batch filled up, so that sums have one order


class AnomalibDetector:
    """Any image model of anomalib. See `adloc.methods.detector.Detector`."""

    def training(self, context: ImageContext) -> Result:
        """Train the model on the images.

        Returns:
            The tensors of the torch model that training changed, by their names: not those of the frozen backbone. A
            model with the seed's initial values and these is the trained one.

        Raises:
            MethodError: the model cannot be made or trained, or keeps something outside of its tensors.
        """
        params = narrow(context.params, AnomalibParams)
        size = context.images.image_size
        training = Training(
            params.epochs, params.batch_size, context.seed, context.device, context.scratch, context.progress
        )
        with own_randomness(context.seed):
            module = build(params, size, context.weights)
            initial = {name: value.clone() for name, value in module.model.state_dict().items()}
            train(module, context.images, training)
            trained = {name: value.detach().cpu() for name, value in module.model.state_dict().items()}
        arrays = {
            name: np.atleast_1d(value.numpy())
            for name, value in trained.items()
            if name not in initial or not _same(initial[name], value)
        }
        probe = context.images.read(range(min(2, context.images.n_images))).to(context.device)
        restored = _restore(context, arrays)
        with torch.no_grad(), quiet():
            own, again = predict(module.to(context.device), probe), predict(restored, probe)
        if not torch.allclose(own.scores, again.scores, rtol=1e-4, atol=1e-6):
            raise MethodError(
                f"anomalib's {params.model} keeps part of what it learns outside of its tensors",
                "a trained model is kept as the tensors of its torch model, from which it must score the same again",
                "use another model",
            )
        return Result(arrays=arrays, facts={"n_images": context.images.n_images})

    def scores(self, context: ImageContext) -> Result:
        """Score images by the trained model.

        Returns:
            `image_scores` float32 (N,): its pred_score, raw. `patch_maps` float32 (N, height, width): its anomaly map
            at the input size; left out by a model that has none.

        Raises:
            MethodError: a score is not a number.
        """
        params = narrow(context.params, AnomalibParams)
        module = once(context, "module", lambda: _restore(context, context.results["training"].arrays))
        scores: list[NDArray[np.float32]] = []
        maps: list[NDArray[np.float32]] = []
        with torch.no_grad(), quiet(), own_randomness(context.seed):
            for images in context.images.batches(BATCH):
                n = len(images)
                found = predict(module, _fill_up(images).to(context.device))
                scores.append(found.scores[:n].cpu().numpy())
                if found.maps is not None:
                    maps.append(_resize(found.maps[:n], context.images.image_size).cpu().numpy())
        image_scores = np.concatenate(scores).astype(np.float32)
        if not np.isfinite(image_scores).all():
            raise MethodError(
                f"anomalib's {params.model} gives a score that is not a number to"
                f" {int((~np.isfinite(image_scores)).sum())} of {len(image_scores)} images",
                "a score must be finite: the training has most likely diverged",
                "use fewer epochs, a larger batch_size, or a smaller lr in arguments",
            )
        arrays = {"image_scores": image_scores}
        return Result(arrays | ({PATCH_MAPS: np.concatenate(maps)} if maps else {}))

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: BaseModel
    ) -> NDArray[np.float32]:
        """Resize the model's own maps (bilinear) to (N, height, width) of `size`; at their own size they stay."""
        del params
        return _resize(torch.from_numpy(np.array(patch_maps)), size).numpy()

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:
        """Seconds of the training, with reading the images."""
        del params
        return results["training"].seconds

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:
        """Bytes of what training has changed."""
        del params
        return sum(array.nbytes for array in results["training"].arrays.values())


def _restore(context: ImageContext, arrays: Arrays) -> AnomalibModule:
    """The trained model, on the device: initial values from the seed, and over them what training changed."""
    params = narrow(context.params, AnomalibParams)
    with own_randomness(context.seed):
        module = build(params, context.images.image_size, context.weights)
    for name, array in arrays.items():
        place, _, last = name.rpartition(".")
        owner = module.model.get_submodule(place)
        old = owner._buffers.get(last, owner._parameters.get(last))  # noqa: SLF001  # a bank grows: no public way
        value = torch.from_numpy(np.array(array))
        if old is not None and old.numel() == value.numel():  # a single number is kept as an array of one
            old.data.copy_(value.reshape(old.shape))
        elif last in owner._buffers:  # noqa: SLF001
            owner._buffers[last] = value  # noqa: SLF001
        else:
            owner.register_parameter(last, torch.nn.Parameter(value, requires_grad=False))
    return module.to(context.device).eval()


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one.cpu(), other))


def _fill_up(images: torch.Tensor) -> torch.Tensor:
    """Repeat the first image up to a whole batch."""
    missing = BATCH - len(images)
    return torch.cat([images, images[:1].expand(missing, *images.shape[1:])]) if missing else images


def _resize(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bring maps (n, height, width) to `size`."""
    if tuple(maps.shape[1:]) == size:
        return maps
    return functional.interpolate(maps.unsqueeze(1), size, mode="bilinear", align_corners=False).squeeze(1)
