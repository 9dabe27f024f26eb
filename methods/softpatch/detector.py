"""SoftPatch (Jiang et al. 2022, arXiv 2403.14233): PatchCore for training images of which some may show a defect.

Every training patch is weighed by how it stands out among those at its place in all training images. The noisiest are
left out before the coreset is picked; what is left keeps its weight w, and a patch q is scored by its nearest entry m,

    score(q) = w(m) |q - m|

so that a patch whose nearest entry is itself doubtful counts more.

Notation: N images, H x W the patch grid, n training patches, m of them in the bank.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from adloc.methods.anomaly_map import expand_maps
from adloc.methods.detector import Result
from adloc.methods.errors import MethodError
from adloc.methods.params import narrow
from adloc.methods.patchcore.bank import make_bank, project_patches
from adloc.methods.patchcore.detector import PatchCore
from adloc.methods.patchcore.explaining import nearest_entries
from adloc.methods.patchcore.params import MemoryBankParams, PatchCoreParams
from adloc.methods.patchcore.score import score_images
from adloc.methods.softpatch.noise import measure_noise
from adloc.methods.softpatch.params import SoftPatchParams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from adloc.methods.detector import Features, Nearest, Patches, StepContext


class SoftPatch:
    """The steps of SoftPatch; coreset, index and search are PatchCore's."""

    def __init__(self) -> None:
        """Hold a PatchCore."""
        self._patchcore = PatchCore()

    def noise(self, context: StepContext) -> Result:
        """Measure how every training patch stands out among those at its place.

        Returns:
            Arrays: `weights` float32 (N, H, W).

        Raises:
            MethodError: fewer than two images.
        """
        n_images = context.features.n_images
        if n_images <= 1:
            raise MethodError(
                f"softpatch: {n_images} training image{'' if n_images else 's'}",
                "a patch is compared with those of other images, at least one",
                "add normal images, or raise split.train_fraction",
            )
        params = narrow(context.params, SoftPatchParams)
        patches, _ = project_patches(context, params)
        return Result({"weights": measure_noise(patches, params).numpy()})

    def coreset(self, context: StepContext) -> Result:
        """Leave the noisiest patches out, and pick the coreset of the others.

        Returns:
            As `make_bank`, and `weights` float32 (m,) of the entries. Facts, beside its own: n_removed.

        Raises:
            MethodError: a feature is not finite.
        """
        params = narrow(context.params, SoftPatchParams)
        weights = np.asarray(context.results["noise"].arrays["weights"]).reshape(-1)
        keep = weights <= np.quantile(weights, 1 - params.removed)
        made = make_bank(context, params, keep)
        arrays = {**made.arrays, "weights": weights[made.arrays["order"]]}
        return replace(made, arrays=arrays, facts={**made.facts, "n_removed": int((~keep).sum())})

    def index(self, context: StepContext) -> Result:
        """Make the index of a search that is not exact; see `PatchCore.index`."""
        return self._patchcore.index(replace(context, params=_as_patchcore(context.params)))

    def search(self, context: StepContext) -> Result:
        """Find the nearest bank entry of every patch; see `PatchCore.search`."""
        return self._patchcore.search(replace(context, params=_as_patchcore(context.params)))

    def scores(self, context: StepContext) -> Result:
        """Weigh the distance of each patch by the weight of its nearest entry, where soft weights are asked for.

        Returns:
            Arrays: `image_scores` float32 (N,), `patch_maps` float32 (N, H, W).
        """
        params, arrays = narrow(context.params, SoftPatchParams), context.results["search"].arrays
        patch_maps = np.array(arrays["distances"][..., 0])
        if params.soft_weights:
            weights = np.asarray(context.results["coreset"].arrays["weights"])
            patch_maps *= weights[np.asarray(arrays["neighbours"])[..., 0]]
        return Result({"image_scores": score_images(patch_maps, params.image_score), "patch_maps": patch_maps})

    def rescore(self, context: StepContext) -> Result:
        """Weigh the distances that are already found in another way."""
        return self.scores(context)

    def nearest_training(self, context: StepContext, train: Features, patches: Patches) -> Nearest:  # noqa: ARG002
        """The bank entry that is nearest to each patch, and the training patch that it is the embedding of."""
        results = context.results
        return nearest_entries(
            results["search"], results["coreset"], patches, narrow(context.params, SoftPatchParams).metric
        )

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: BaseModel
    ) -> NDArray[np.float32]:
        """Expand patch maps (N, H, W) to float32 (N, height, width) of `size`, blurred by smoothing_sigma."""
        return expand_maps(patch_maps, size, narrow(params, SoftPatchParams).smoothing_sigma)

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:
        """Seconds to weigh all patches and to make the bank at this run's ratio."""
        return results["noise"].seconds + self._patchcore.fit_seconds(results, _as_patchcore(params))

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:
        """Bytes of the bank at this run's ratio, and of its weights."""
        n_entries = int(self.fit_facts(results, params)["n_entries"])
        weights = results["coreset"].arrays["weights"]
        return self._patchcore.model_bytes(results, _as_patchcore(params)) + int(weights[:n_entries].nbytes)

    def exported(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, Result]:
        """The bank at this run's ratio and its weights, without how it was found."""
        found = self._patchcore.exported(results, _as_patchcore(params))
        coreset = found["coreset"]
        weights = np.asarray(results["coreset"].arrays["weights"])[: len(coreset.arrays["bank"])]
        return {**found, "coreset": replace(coreset, arrays={**coreset.arrays, "weights": weights})}

    def fit_facts(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, float]:
        """PatchCore's, and how many training patches were left out."""
        facts = self._patchcore.fit_facts(results, _as_patchcore(params))
        return {**facts, "n_removed": float(results["coreset"].facts["n_removed"])}


def _as_patchcore(params: BaseModel) -> PatchCoreParams:
    """The memory bank's parameters, with a single neighbour, as those of PatchCore."""
    shared = {name: getattr(narrow(params, SoftPatchParams), name) for name in MemoryBankParams.model_fields}
    return PatchCoreParams.model_construct(**shared, neighbours=1, reweight="none")
