"""SPADE (Cohen and Hoshen 2020, arXiv 2005.02357): which training images is it like, and where is it unlike them.

With f(y) the channel means of image y in the last layer, N_K(y) the K training images whose means are nearest,
F(y, p) the pyramid's features at place p, and G(y) those at all places of the images in N_K(y),

    score(y)    = 1/K  sum over x in N_K(y) of                 |f(x) - f(y)|^2
    score(y, p) = 1/k  sum over the k nearest g in G(y) of     |g - F(y, p)|^2

The image score is the first, the map the second.

Notation: N images, H x W the grid, D channels of the pyramid, K image neighbours, k patch neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.anomaly_map import expand_maps
from adloc.methods.detector import Nearest, Patches, Result, once
from adloc.methods.errors import MethodError
from adloc.methods.knn.detector import average_nearest
from adloc.methods.memory import free_bytes
from adloc.methods.params import narrow
from adloc.methods.patchcore.search import MemoryBank, Neighbours
from adloc.methods.pooled import pool_images
from adloc.methods.spade.params import SpadeParams
from adloc.methods.spade.pyramid import Pyramid, find_in_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from adloc.methods.detector import Features, StepContext


class Spade:
    """The steps of SPADE."""

    def gallery(self, context: StepContext) -> Result:
        """Keep the training images' features, all of them: they are the model.

        Returns:
            Arrays: `pooled` float32 (N, C), the means of the last layer; for each other layer `maps.LAYER` float32
            (N, C, h, w), as the backbone gives them. Facts: n_images.

        Raises:
            MethodError: there is no training image, or too little memory.
        """
        params, features = narrow(context.params, SpadeParams), context.features
        if features.n_images == 0:
            raise MethodError(
                "the train part has no image",
                "images are compared with normal ones, at least one",
                "raise train_fraction, or add normal images",
            )
        *pyramid, last = params.layers
        first = next(iter(features.batches(pyramid, 1)))
        shapes = {layer: (features.n_images, *first[layer].shape[1:]) for layer in pyramid}
        _check_memory(sum(4 * int(np.prod(shape)) for shape in shapes.values()), features.n_images, context)
        maps = {layer: np.empty(shape, np.float32) for layer, shape in shapes.items()}
        start = 0
        for batch in features.batches(pyramid):
            for layer in pyramid:
                maps[layer][start : start + len(batch[layer])] = batch[layer].numpy()
            start += len(batch[pyramid[0]])
        pooled = pool_images(features, [last])[last]
        return Result(
            {"pooled": pooled, **{f"maps.{layer}": each for layer, each in maps.items()}},
            {"n_images": features.n_images},
        )

    def images(self, context: StepContext) -> Result:
        """Find the training images that are nearest to each image.

        Returns:
            Arrays: `squared` float32 (N, K), squared Euclidean distances, ascending; `neighbours` int32 (N, K), the
            numbers of the training images. A smaller K's arrays are the first of these.
        """
        params = narrow(context.params, SpadeParams)
        last = params.layers[-1]
        pooled = np.asarray(context.results["gallery"].arrays["pooled"])
        bank = once(context, "bank", lambda: MemoryBank(pooled, "euclidean", context.device))
        found = bank.find(pool_images(context.features, [last])[last][:, None], params.image_neighbours)
        return Result({"squared": found.squared, "neighbours": found.indices})

    def patches(self, context: StepContext) -> Result:
        """Find, for each place, the nearest ones of the image's own K training images.

        2 (H W)^2 D operations for each pair of images: with a grid of 56 x 56, 448 channels (ResNet-18 at 224) and
        K = 50 these are 440 GFLOP an image. With a result of fewer image neighbours to start from, only the images
        that are added are searched, and the lists merged: the same bits.

        Returns:
            Arrays: `squared` float32 (N, H, W, k), ascending; `places` int32 (N, H, W, k), counted through all
            training images, row by row. A smaller k's arrays are the first of these. Facts: n_images, of the
            training images that each image was compared with.
        """
        params, base = narrow(context.params, SpadeParams), context.base
        k = params.patch_neighbours
        nearest = np.asarray(context.results["images"].arrays["neighbours"])
        n_known = 0 if base is None else int(base.facts["n_images"])
        if base is not None:
            _, height, width, n_found = base.arrays["squared"].shape
            if n_found < min(k, n_known * height * width):
                message = f"a search for {k} places cannot go on from one for {n_found}"
                raise ValueError(message)
        n_images = min(params.image_neighbours, nearest.shape[1])
        pyramid = Pyramid(params.layers[:-1], params.patch_stride)
        gallery = {layer: context.results["gallery"].arrays[f"maps.{layer}"] for layer in pyramid.layers}
        squared, places = [], []
        for index, place in enumerate(pyramid.embed_each(context.features, context.device)):
            height, width, dimension = place.shape
            found = find_in_images(
                place.view(-1, dimension), gallery, nearest[index, n_known:n_images].tolist(), pyramid, k
            )
            if base is not None:
                found = _lists(base, index).merged(found, k)
            context.progress(index + 1, context.features.n_images)
            squared.append(found.squared.reshape(height, width, -1))
            places.append(found.indices.reshape(height, width, -1))
        return Result({"squared": np.stack(squared), "places": np.stack(places)}, {"n_images": n_images})

    def scores(self, context: StepContext) -> Result:
        """Average the distances of images and of places to their nearest.

        Returns:
            Arrays: `image_scores` float32 (N,), `patch_maps` float32 (N, H, W).
        """
        params, results = narrow(context.params, SpadeParams), context.results
        to_images = np.asarray(results["images"].arrays["squared"])
        to_places = np.asarray(results["patches"].arrays["squared"])
        return Result(
            {
                "image_scores": average_nearest(to_images, params.image_neighbours),
                "patch_maps": average_nearest(to_places, params.patch_neighbours),
            }
        )

    def rescore(self, context: StepContext) -> Result:
        """Average the distances that are already found; the blur is that of the maps alone."""
        return self.scores(context)

    def nearest_training(self, context: StepContext, train: Features, patches: Patches) -> Nearest:  # noqa: ARG002
        """The place of a training image that is nearest to each place: the search's own first neighbour."""
        arrays = context.results["patches"].arrays
        here = (patches.images, patches.rows, patches.columns, 0)
        height, width = arrays["places"].shape[1:3]
        images, places = np.divmod(np.asarray(arrays["places"])[here].astype(np.int64), height * width)
        distances = np.sqrt(np.asarray(arrays["squared"])[here])
        meaning = "euclidean distance to the nearest place of the training images that are nearest to the image"
        return Nearest(Patches(images, *np.divmod(places, width)), distances.astype(np.float32), meaning)

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: BaseModel
    ) -> NDArray[np.float32]:
        """Expand patch maps (N, H, W) to float32 (N, height, width) of `size`, blurred by smoothing_sigma."""
        return expand_maps(patch_maps, size, narrow(params, SpadeParams).smoothing_sigma)

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:  # noqa: ARG002
        """Seconds to read and keep the features."""
        return results["gallery"].seconds

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:  # noqa: ARG002
        """Bytes of all training images' features."""
        return sum(int(array.nbytes) for array in results["gallery"].arrays.values())


def _lists(base: Result, index: int) -> Neighbours:
    """What a search of fewer images found for the places of an image."""
    squared, places = base.arrays["squared"][index], base.arrays["places"][index]
    k = squared.shape[-1]
    return Neighbours(np.asarray(squared).reshape(-1, k), np.asarray(places).reshape(-1, k))


def _check_memory(needed: int, n_images: int, context: StepContext) -> None:
    """Refuse a gallery that does not fit."""
    free = free_bytes(torch.device("cpu"))
    if free is not None and needed > free:
        layers = ", ".join(narrow(context.params, SpadeParams).layers[:-1])
        raise MethodError(
            f"spade: {layers} of {n_images} training images take {needed / 1e9:.3g} GB, and "
            f"{free / 1e9:.3g} GB are free",
            "the features of all training images are the model",
            "leave out the first of layers, lower image.size, or fit on fewer images",
        )
