"""PatchCore (Roth et al. 2022, arXiv 2106.08265): the distance of each patch to a memory bank of normal ones.

Notation: N images, H x W the patch grid, D values an embedding, n training patches, m of them in the bank,
K neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adloc.methods.anomaly_map import expand_maps
from adloc.methods.detector import Result, once
from adloc.methods.errors import MethodError
from adloc.methods.params import narrow
from adloc.methods.patchcore.approximate.config import FLAT
from adloc.methods.patchcore.approximate.step import index_facts, make_index, open_index
from adloc.methods.patchcore.bank import embed_parts, make_bank
from adloc.methods.patchcore.explaining import OthersBank, nearest_entries, origins
from adloc.methods.patchcore.params import PatchCoreParams
from adloc.methods.patchcore.possible import count_picks, require_neighbours
from adloc.methods.patchcore.score import score_images, weigh_every_patch, weigh_max_patch
from adloc.methods.patchcore.search import Neighbours, search_exactly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from adloc.methods.detector import Features, Nearest, Patches, StepContext
    from adloc.methods.patchcore.search import Searched


class PatchCore:
    """The steps of PatchCore.

    Memory: the embeddings of 16 images, the projections of all training patches (80 MB for 157,000 of 128
    values) and the bank (m D in its dtype; a flat search holds it once more in float32, up to 512 MB).
    """

    def coreset(self, context: StepContext) -> Result:
        """Pick the coreset at the largest ratio and gather its embeddings; for the result see `make_bank`.

        Raises:
            MethodError: there is no training image, or a feature is not finite.
        """
        params = narrow(context.params, PatchCoreParams)
        if context.features.n_images == 0:
            raise MethodError(
                "the train part has no image",
                "PatchCore is fitted on normal images, at least one",
                "raise train_fraction, or add images to train/good",
            )
        return make_bank(context, params)

    def index(self, context: StepContext) -> Result:
        """Make the index of a search that is not exact, and find how hard it must look.

        Its recall is measured on patches of the part that it is given: the validation part, or where there is none, the
        train part without the patches that are entries.

        Returns:
            Arrays: see `Index`. Facts: looked and spare (see `Effort`), recall (of the nearest entry) and recall_k (of
            the k nearest), n_sampled, index_mb, build_s, us_per_patch and exact_us_per_patch.

        Raises:
            MethodError: the recall cannot be reached or measured.
        """
        return make_index(context, narrow(context.params, PatchCoreParams), _bank)

    def search(self, context: StepContext) -> Result:
        """Find the nearest bank entries of every patch, in the bank of this run's coreset ratio.

        With a result at a smaller ratio to start from, only the entries that this ratio adds are searched, and
        the lists merged: the same bits at the price of the added entries.

        Returns:
            Arrays: `squared` float32 (N, H, W, K), squared Euclidean distances, ascending; `distances`, the same in
            the metric; `neighbours` int32 (N, H, W, K), their places in the bank; `support` float32 (N, K), for
            the reweighting of the maximum: see `MemoryBank.support`. K is the largest number of neighbours asked
            for, or that of the bank's entries if it is smaller; a smaller K's arrays are the first of these.
            Facts: n_entries (m).
        """
        params, base = narrow(context.params, PatchCoreParams), context.base
        prefix = _bank(context.results, params)
        k = min(params.neighbours, len(prefix))
        n_known = 0 if base is None else int(base.facts["n_entries"])
        if base is not None and base.arrays["squared"].shape[-1] < min(k, n_known):
            message = f"a search for {k} neighbours cannot go on from one for {base.arrays['squared'].shape[-1]}"
            raise ValueError(message)
        segment = once(context, "bank", lambda: _open(context, params, prefix, n_known))
        squared, neighbours, furthest, nearest = [], [], [], []
        start = 0
        for embeddings in embed_parts(context, params):
            n_images, height, width, dimension = embeddings.shape
            patches = embeddings.reshape(-1, dimension)
            found = segment.find(embeddings.reshape(n_images, -1, dimension), k)
            if base is not None:
                found = _lists(base, slice(start, start + n_images)).merged(found, k)
            squared.append(found.squared.reshape(n_images, height, width, k))
            neighbours.append(found.indices.reshape(n_images, height, width, k))
            # The patch of the largest distance in each image, the first of several.
            worst = found.squared[:, 0].reshape(n_images, -1).argmax(axis=1) + height * width * np.arange(n_images)
            furthest.append(patches[worst])
            nearest.append(found.indices[worst, 0])
            start += n_images
        whole = segment if base is None else _open(context, params, prefix)
        all_squared = np.concatenate(squared)
        return Result(
            arrays={
                "squared": all_squared,
                "distances": whole.to_distance(all_squared),
                "neighbours": np.concatenate(neighbours),
                "support": whole.support(np.concatenate(furthest), np.concatenate(nearest), k),
            },
            facts={"n_entries": len(prefix)},
        )

    def scores(self, context: StepContext) -> Result:
        """Weigh the distances.

        `every_patch` weighs each patch, so maps and image scores change. `max_patch` weighs the image score
        alone (with image_score max this is equation 7 of the paper; a mean of the top patches takes the same
        weight), and the map keeps the distances, as with `none`.

        Returns:
            Arrays: `image_scores` float32 (N,), `patch_maps` float32 (N, H, W).

        Raises:
            MethodError: weights are asked for, but the bank has a single entry.
        """
        params = narrow(context.params, PatchCoreParams)
        arrays = context.results["search"].arrays
        return _weighed(arrays["distances"], arrays["support"], params)

    def rescore(self, context: StepContext) -> Result:
        """Weigh the distances that are already found in another way."""
        return self.scores(context)

    def leave_one_out(self, context: StepContext) -> Result:
        """Score every training image by the bank without the entries that come from it, weighed as the run's scores.

        As long as a search of as many images: each is searched in a bank of its own. See `OthersBank`.

        Raises:
            MethodError: nearly all entries of the bank are of one image.
        """
        params = narrow(context.params, PatchCoreParams)
        bank = _bank(context.results, params)
        origin = origins(context.results["coreset"], len(bank)).images
        others = OthersBank(bank, origin, context.features.n_images, params)
        images = (image.copy() for embeddings in embed_parts(context, params) for image in embeddings)
        distances, support = zip(*others.find_all(images, context.device), strict=True)
        return _weighed(np.stack(distances), np.concatenate(support), params)

    def nearest_training(self, context: StepContext, train: Features, patches: Patches) -> Nearest:  # noqa: ARG002
        """The bank entry that is nearest to each patch, and the training patch that it is the embedding of."""
        results = context.results
        return nearest_entries(
            results["search"], results["coreset"], patches, narrow(context.params, PatchCoreParams).metric
        )

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: BaseModel
    ) -> NDArray[np.float32]:
        """Expand patch maps (N, H, W) to float32 (N, height, width) of `size`, blurred by smoothing_sigma."""
        return expand_maps(patch_maps, size, narrow(params, PatchCoreParams).smoothing_sigma)

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:
        """Seconds to embed, to pick as many patches as this run keeps, to gather and, if need be, to index them."""
        coreset = results["coreset"]
        n_entries = len(_bank(results, narrow(params, PatchCoreParams)))
        elapsed = float(np.asarray(coreset.arrays["elapsed_s"])[n_entries - 1])
        indexing = results["index"].seconds if "index" in results else 0.0
        return float(coreset.facts["embed_s"]) + elapsed + float(coreset.facts["gather_s"]) + indexing

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:
        """Bytes of the bank at this run's ratio, and of its index."""
        index = results["index"].arrays.values() if "index" in results else ()
        return _bank(results, narrow(params, PatchCoreParams)).nbytes + sum(int(each.nbytes) for each in index)

    def exported(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, Result]:
        """The bank at this run's ratio and its index, without how they were found."""
        coreset = Result({"bank": _bank(results, narrow(params, PatchCoreParams))}, results["coreset"].facts)
        return {"coreset": coreset} | ({"index": results["index"]} if "index" in results else {})

    def fit_facts(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, float]:
        """Entries of the bank; how far the furthest training patch is from it, in projected units; of an index, all.

        Of a partitioned coreset, `coreset_factor`: by how many times that is, at most, above the least possible.
        """
        n_entries = len(_bank(results, narrow(params, PatchCoreParams)))
        radius = np.asarray(results["coreset"].arrays["radius"])
        facts = {"n_entries": float(n_entries), "covering_radius": float(radius[n_entries - 1])}
        among_candidates = facts["covering_radius"] - float(results["coreset"].facts.get("reach", 0.0))
        if "reach" in results["coreset"].facts and among_candidates > 0:
            facts["coreset_factor"] = 2 * facts["covering_radius"] / among_candidates
        return facts | (index_facts(results["index"]) if "index" in results else {})


def _weighed(all_distances: NDArray[np.float32], support: NDArray[np.float32], params: PatchCoreParams) -> Result:
    """Patch maps and image scores of distances (N, H, W, K or more) and of the support (N, K or more)."""
    k = min(params.neighbours, all_distances.shape[-1])
    require_neighbours(params, k)
    distances = all_distances[..., :k].astype(np.float32, copy=False)
    patch_maps = weigh_every_patch(distances) if params.reweight == "every_patch" else distances[..., 0].copy()
    image_scores = score_images(patch_maps, params.image_score)
    if params.reweight == "max_patch":
        weights = weigh_max_patch(support[:, :k].astype(np.float32, copy=False))
        image_scores = (weights * image_scores).astype(np.float32)
    return Result(arrays={"image_scores": image_scores, "patch_maps": patch_maps})


def _open(context: StepContext, params: PatchCoreParams, bank: NDArray[np.floating], first: int = 0) -> Searched:
    """The bank from entry `first` on, to be searched as the run asks; an index is of the whole bank."""
    if params.search == FLAT:
        return search_exactly(bank[first:], params.metric, context.device, first)
    return open_index(context.results["index"], bank, params)


def _bank(results: Mapping[str, Result], params: PatchCoreParams) -> NDArray[np.floating]:
    """The entries of the memory bank that this run's ratio keeps: the first ones, as they are kept."""
    coreset = results["coreset"]
    n_entries = count_picks(params.coreset_ratio, int(coreset.facts["n_patches"]))
    return np.asarray(coreset.arrays["bank"][:n_entries])


def _lists(search: Result, images: slice) -> Neighbours:
    """What an earlier search found for the patches of some images."""
    squared, indices = search.arrays["squared"], search.arrays["neighbours"]
    k = squared.shape[-1]
    return Neighbours(squared[images].reshape(-1, k), indices[images].reshape(-1, k))
