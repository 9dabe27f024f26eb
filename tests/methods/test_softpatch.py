"""SoftPatch: its weights against scikit-learn and brute force, and what it makes of noisy training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from sklearn.neighbors import LocalOutlierFactor

from adloc.methods import MethodError
from adloc.methods.backbone import resolve_weights
from adloc.methods.detector import NearestTraining, Patches, StepContext
from adloc.methods.embedding import embed
from adloc.methods.network import load_backbone
from adloc.methods.patchcore.params import PATCHCORE, PatchCoreParams
from adloc.methods.softpatch.detector import SoftPatch
from adloc.methods.softpatch.noise import gaussian_distances, local_outlier_factors, nearest_distances
from adloc.methods.softpatch.params import SOFTPATCH, SoftPatchParams
from adloc.metrics.ranking import auroc
from detectors import CPU, HeldFeatures, Results, draw_features, take

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = SoftPatchParams(coreset_ratio=0.2)
TRAIN, TEST = draw_features(20, seed=1), draw_features(7, seed=2)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("k", [1, 6, 19, 50])
def test_local_outlier_factor_is_scikit_learns(k: int) -> None:
    """The factor is scikit-learn's, with all other points where there are fewer than k."""
    points = np.concatenate([RNG.normal(size=(19, 5)), np.full((1, 5), 4.0)])
    expected = -LocalOutlierFactor(n_neighbors=min(k, 19)).fit(points).negative_outlier_factor_
    np.testing.assert_allclose(local_outlier_factors(torch.from_numpy(points), k).numpy(), expected, rtol=1e-9)


def test_local_outlier_factor_of_equal_points_is_one() -> None:
    """Points that are all the same are as dense as each other."""
    np.testing.assert_allclose(local_outlier_factors(torch.ones(8, 3, dtype=torch.float64), 3).numpy(), 1)


def test_distances_of_the_other_discriminators() -> None:
    """Nearest is the distance to the nearest other point, gaussian the Mahalanobis distance with 0.01 of a ridge."""
    points = RNG.normal(size=(20, 4))
    others = cdist(points, points) + np.diag(np.full(20, np.inf))
    np.testing.assert_allclose(nearest_distances(torch.from_numpy(points)).numpy(), others.min(axis=1), rtol=1e-9)
    inverse = np.linalg.inv(np.cov(points, rowvar=False) + 0.01 * np.eye(4))
    expected = cdist(points, points.mean(axis=0)[None], "mahalanobis", VI=inverse)[:, 0]
    np.testing.assert_allclose(gaussian_distances(torch.from_numpy(points)).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("discriminator", ["lof", "nearest", "gaussian"])
def test_weights_compare_patches_at_the_same_place(discriminator: str) -> None:
    """A patch is weighed among those at its own place; nearest and gaussian have 1 added."""
    params = PLAIN.model_copy(update={"discriminator": discriminator, "projection_dim": None})
    found = take(SOFTPATCH, params, TRAIN, TEST)["noise"].arrays["weights"]
    place = embed(TRAIN.maps, params)[:, 4, 7].double()
    expected = {
        "lof": local_outlier_factors(place, 6),
        "nearest": 1 + nearest_distances(place),
        "gaussian": 1 + gaussian_distances(place),
    }
    assert found.shape == (20, 6, 10)
    np.testing.assert_allclose(found[:, 4, 7], expected[discriminator].numpy(), rtol=1e-5)


def test_the_noisiest_patches_are_left_out() -> None:
    """No entry of the bank is among the share removed, and the ratio is one of the patches that are left."""
    results = take(SOFTPATCH, PLAIN.model_copy(update={"removed": 0.25}), TRAIN, TEST)
    weights, coreset = results["noise"].arrays["weights"].ravel(), results["coreset"]
    allowed = np.argsort(weights)[:900]  # three quarters of 1200
    assert set(coreset.arrays["order"]) <= set(allowed)
    assert len(coreset.arrays["order"]) == 180  # a fifth of 900
    assert coreset.facts["n_removed"] == 300
    np.testing.assert_array_equal(coreset.arrays["weights"], weights[coreset.arrays["order"]])
    np.testing.assert_array_equal(
        coreset.arrays["bank"], embed(TRAIN.maps, PLAIN).flatten(0, 2).numpy()[coreset.arrays["order"]]
    )


def test_scores_are_weighed_distances() -> None:
    """Each patch has the distance to its nearest entry times that entry's weight; the image the largest of them."""
    results = take(SOFTPATCH, PLAIN, TRAIN, TEST)
    bank, weights = (results["coreset"].arrays[name].astype(np.float64) for name in ("bank", "weights"))
    distances = cdist(embed(TEST.maps, PLAIN).flatten(0, 2).double().numpy(), bank)
    expected = distances.min(axis=1) * weights[distances.argmin(axis=1)]
    found = results["scores"].arrays
    np.testing.assert_allclose(found["patch_maps"].ravel(), expected, rtol=1e-4)
    np.testing.assert_array_equal(found["image_scores"], found["patch_maps"].max(axis=(1, 2)))
    hard = StepContext(PLAIN.model_copy(update={"soft_weights": False}), TEST, results, 0, CPU)
    np.testing.assert_allclose(SoftPatch().rescore(hard).arrays["patch_maps"].ravel(), distances.min(axis=1), rtol=1e-4)


def test_with_nothing_left_out_the_bank_is_patchcores() -> None:
    """Without removal the same patches are picked as by PatchCore."""
    own = take(SOFTPATCH, PLAIN.model_copy(update={"removed": 0.0}), TRAIN, TEST)["coreset"].arrays
    theirs = take(PATCHCORE, PatchCoreParams(coreset_ratio=0.2), TRAIN, TEST)["coreset"].arrays
    np.testing.assert_array_equal(own["order"], theirs["order"])
    np.testing.assert_array_equal(own["bank"], theirs["bank"])


@pytest.mark.parametrize("discriminator", ["lof", "nearest", "gaussian"])
def test_a_defect_among_the_training_images_does_not_hide_its_like(discriminator: str) -> None:
    """A defect that one training image shows too is found by SoftPatch, and hardly by PatchCore."""
    defect = torch.linspace(2, 4, 8)
    maps, scored = ({layer: each.clone() for layer, each in part.maps.items()} for part in (TRAIN, TEST))
    maps["layer2"][11, :, 2:5, 4:7] += defect[:, None, None]
    scored["layer2"][3, :, 2:5, 4:7] += defect[:, None, None]
    train, test = HeldFeatures(maps), HeldFeatures(scored)
    soft = PLAIN.model_copy(update={"discriminator": discriminator, "coreset_ratio": 1.0})
    hard = PatchCoreParams(coreset_ratio=1.0, reweight="none")
    found, missed = (
        take(method, params, train, test)["scores"].arrays["image_scores"]
        for method, params in ((SOFTPATCH, soft), (PATCHCORE, hard))
    )
    others = [0, 1, 2, 4, 5, 6]
    assert found[3] > 2 * found[others].max()
    assert missed[3] < 1.5 * missed[others].max()


def again(step: str, results: Results, base: Results | None = None) -> Results:
    """One step at the plain settings, from other results."""
    context = StepContext(PLAIN, TEST, results, 0, CPU, base=None if base is None else base[step])
    return {**results, step: getattr(SoftPatch(), step)(context)}


def test_smaller_ratio_from_a_larger_coreset() -> None:
    """A ratio's scores from a larger coreset, or going on from a smaller ratio's search, have the bits of its own."""
    own, larger, smaller = (
        take(SOFTPATCH, PLAIN.model_copy(update={"coreset_ratio": ratio}), TRAIN, TEST) for ratio in (0.2, 0.5, 0.05)
    )
    for base in (None, smaller):
        found = again("scores", again("search", larger, base))
        for array in ("image_scores", "patch_maps"):
            np.testing.assert_array_equal(found["scores"].arrays[array], own["scores"].arrays[array])
    soft = SoftPatch()
    assert soft.model_bytes(larger, PLAIN) == soft.model_bytes(own, PLAIN) == 204 * (20 + 1) * 4
    assert soft.fit_facts(larger, PLAIN) == soft.fit_facts(own, PLAIN)
    assert soft.fit_seconds(larger, PLAIN) > 0


def test_the_nearest_training_patch_is_the_bank_entry_behind_the_score() -> None:
    """The patch that is named has the distance that the search found."""
    results, soft = take(SOFTPATCH, PLAIN, TRAIN, TEST), SoftPatch()
    assert isinstance(soft, NearestTraining)
    asked = Patches(np.array([0, 3]), np.array([1, 5]), np.array([9, 2]))
    found = soft.nearest_training(StepContext(PLAIN, TEST, results, 0, CPU), TRAIN, asked)
    own = embed(TEST.maps, PLAIN)[asked.images, asked.rows, asked.columns]
    other = embed(TRAIN.maps, PLAIN)[found.patches.images, found.patches.rows, found.patches.columns]
    np.testing.assert_allclose(found.distances, (own - other).norm(dim=1).numpy(), rtol=1e-4)


def test_a_single_image_is_refused() -> None:
    """Patches are compared with those of other images."""
    with pytest.raises(MethodError, match=r"1 training image\n.*at least one"):
        take(SOFTPATCH, PLAIN, TRAIN.pick(0), TEST)


@pytest.mark.slow
def test_real_defects_stay_out_of_the_bank(industrial_root: Path, trunk_weights: Path) -> None:
    """Four broken bottles among 44 training images: their patches weigh most, and none enters the bank."""
    root = industrial_root / "bottle"
    broken = sorted((root / "test/broken_large").iterdir())[:4]
    pictures = [*sorted((root / "train/good").iterdir())[:40], *broken]
    pixels = [Image.open(path).convert("RGB").resize((128, 128), Image.Resampling.BILINEAR) for path in pictures]
    images = torch.from_numpy(np.stack([np.asarray(each) for each in pixels])).permute(0, 3, 1, 2) / 255
    network = load_backbone("resnet18", resolve_weights("resnet18", str(trunk_weights)), PLAIN.layers, 0, CPU)
    masks = [Image.open(root / f"ground_truth/broken_large/{path.stem}_mask.png") for path in broken]
    defect = np.zeros((44, 16, 16), bool)
    defect[40:] = [np.asarray(mask.resize((16, 16), Image.Resampling.BOX)) > 127 for mask in masks]
    with torch.no_grad():
        train = HeldFeatures(network(images), (128, 128))
    soft = take(SOFTPATCH, PLAIN, train, train.pick(0))
    hard = take(PATCHCORE, PatchCoreParams(coreset_ratio=0.2), train, train.pick(0))
    assert auroc(soft["noise"].arrays["weights"].ravel(), defect.ravel()) > 0.95  # .988 when this was written
    inside = [defect.ravel()[each["coreset"].arrays["order"]].mean() for each in (soft, hard)]
    assert inside[0] == 0
    assert inside[1] > 2 * defect.mean()  # a coreset looks for what is rare
