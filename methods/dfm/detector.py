"""DFM (Ahuja et al. 2019, arXiv 1909.11786): the distance of an image's features to the subspace of normal ones.

The paper models features in the subspace that a PCA keeps. The score here is what that subspace leaves out, the
feature reconstruction error, the choice of anomalib's Dfm, which also has its maps: with x the vector of an image,
m the mean of the training images and V the directions kept, one a row,

    score(x) = |r|^2    with    r = (x - m) - V^T V (x - m)

and the map is the sum of r^2 over the channels at each place, so that a map's sum is its image's score.

Notation: N images, C x H x W the pooled map of the layer, D = C H W, M directions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from adloc.methods.anomaly_map import expand_maps
from adloc.methods.detector import Result, once
from adloc.methods.dfm.params import DfmParams
from adloc.methods.dfm.possible import require_pooled
from adloc.methods.errors import MethodError
from adloc.methods.memory import free_bytes
from adloc.methods.params import narrow
from adloc.methods.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel
    from torch import Tensor

    from adloc.methods.detector import StepContext

_COPIES = 4  # of the N D vectors in float64: themselves, the directions, and what LAPACK works with


class Dfm:
    """The steps of DFM."""

    def subspace(self, context: StepContext) -> Result:
        """Find the directions in which the training images differ, the largest variance first.

        A singular value decomposition in float64: 6 N^2 D operations for N < D (200 images of ResNet-18's layer3 at
        224, pooled to 7 x 7: 3 GFLOP).

        Returns:
            Arrays: `mean` float32 (D,); `directions` float32 (M, D), of unit length, as many as the largest share of
            variance asked for takes; `explained` float64 (min(N, D),), the share that the first 1, 2, ... of all
            directions explain. A smaller share's directions are the first of these. Facts: n_images, channels,
            height and width of the pooled map.

        Raises:
            MethodError: fewer than two images, a map smaller than the pooling, or too little memory.
        """
        params = narrow(context.params, DfmParams)
        n_images = context.features.n_images
        if n_images <= 1:
            raise MethodError(
                f"dfm: {n_images} training image{'' if n_images else 's'}",
                "a variance needs at least two",
                "add normal images, or raise split.train_fraction",
            )
        shape = _read_shape(context, params)
        _check_memory(n_images, int(np.prod(shape)))
        vectors = torch.empty(n_images, int(np.prod(shape)), dtype=torch.float64)
        for index, pooled in enumerate(_pooled(context, params)):
            vectors[index] = pooled.flatten()
        mean = vectors.mean(dim=0)
        vectors -= mean
        (found,) = spread(lambda each: torch.linalg.svd(each, full_matrices=False), [vectors])
        variances = found.S.square().cumsum(0)
        explained = (variances / variances[-1]).numpy() if variances[-1] > 0 else np.ones(len(variances))
        directions = found.Vh[: count_directions(explained, params.variance_kept)]
        return Result(
            arrays={
                "mean": mean.float().numpy(),
                "directions": directions.float().numpy(),
                "explained": explained,
            },
            facts={"n_images": n_images, "channels": shape[0], "height": shape[1], "width": shape[2]},
        )

    def scores(self, context: StepContext) -> Result:
        """Measure what of each image the directions of this run's share of variance leave out.

        Returns:
            Arrays: `image_scores` float32 (N,), `patch_maps` float32 (N, H, W).
        """
        params, results = narrow(context.params, DfmParams), context.results
        mean = torch.from_numpy(np.array(results["subspace"].arrays["mean"])).to(context.device)
        # A tensor of torch's own: what MKL's product rounds to depends on the address, and NumPy's begin anywhere.
        directions = once(
            context, "directions", lambda: torch.from_numpy(_directions(results, params)).clone().to(context.device)
        )
        maps = []
        for pooled in _pooled(context, params):
            deviation = pooled.to(context.device).flatten() - mean
            # Image by image: a product of several rounds in other ways for other numbers of them.
            left = deviation - directions.T @ (directions @ deviation)
            maps.append(left.view(pooled.shape).square().sum(dim=0).cpu().numpy())
        patch_maps = np.stack(maps)
        image_scores = patch_maps.sum(axis=(1, 2), dtype=np.float64).astype(np.float32)
        return Result({"image_scores": image_scores, "patch_maps": patch_maps})

    def anomaly_maps(
        self,
        patch_maps: NDArray[np.float32],
        size: tuple[int, int],
        params: BaseModel,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Expand patch maps (N, H, W) to float32 (N, height, width) of `size`, bilinearly, as anomalib does."""
        return expand_maps(patch_maps, size)

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:  # noqa: ARG002
        """Seconds of the decomposition, which has all directions at once."""
        return results["subspace"].seconds

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:
        """Bytes of the mean and of the directions that this run keeps."""
        return int(results["subspace"].arrays["mean"].nbytes) + _directions(results, narrow(params, DfmParams)).nbytes

    def fit_facts(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, float]:
        """How many directions this run keeps."""
        return {"n_directions": float(len(_directions(results, narrow(params, DfmParams))))}


def count_directions(explained: NDArray[np.float64], share: float) -> int:
    """How many directions it takes to explain a share of the variance: at least one, and grows with the share.

    Example:
        >>> [count_directions(np.array([0.5, 0.8, 1.0]), share) for share in (0.1, 0.5, 0.51, 1.0)]
        [1, 1, 2, 3]
    """
    return min(int(np.searchsorted(explained, share)) + 1, len(explained))


def _directions(results: Mapping[str, Result], params: DfmParams) -> NDArray[np.float32]:
    """Those that this run's share of variance keeps: the first ones."""
    fitted = results["subspace"].arrays
    n_kept = count_directions(np.asarray(fitted["explained"]), params.variance_kept)
    return np.array(fitted["directions"][:n_kept], dtype=np.float32)


def _read_shape(context: StepContext, params: DfmParams) -> tuple[int, int, int]:
    """(C, H, W) of the pooled map, found from one image."""
    (layer,) = params.layers
    found = next(iter(context.features.batches(params.layers, 1)))[layer]
    channels, height, width = found.shape[1:]
    require_pooled(params, height, width)
    return int(channels), height // params.pooling, width // params.pooling


def _pooled(context: StepContext, params: DfmParams) -> Iterator[Tensor]:
    """The pooled map of each image, float32 (C, H, W)."""
    (layer,) = params.layers
    for batch in context.features.batches(params.layers):
        yield from functional.avg_pool2d(batch[layer], params.pooling)


def _check_memory(n_images: int, dimension: int) -> None:
    """Refuse a decomposition that does not fit."""
    free, needed = free_bytes(torch.device("cpu")), 8 * _COPIES * n_images * dimension
    if free is not None and needed > free:
        raise MethodError(
            f"dfm: to decompose {n_images} images of {dimension} values takes {needed / 1e9:.3g} GB, and "
            f"{free / 1e9:.3g} GB are free",
            "all training images are decomposed at once",
            "raise pooling, lower image.size, or fit on fewer images",
        )
