"""DFM against scikit-learn's PCA and anomalib's own model."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from adloc.methods import MethodError
from adloc.methods.detector import StepContext
from adloc.methods.dfm import detector
from adloc.methods.dfm.detector import Dfm
from adloc.methods.dfm.params import DFM, DfmParams
from detectors import CPU, HeldFeatures, draw_features, take

PLAIN = DfmParams(layers=("layer2",), pooling=2, variance_kept=0.9)
TRAIN, TEST = draw_features(20, seed=1), draw_features(7, seed=2)  # maps of 6 x 10, pooled to 3 x 5


def pooled(features: HeldFeatures) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Means of squares of 2 x 2, flattened, by NumPy."""
    maps = features.maps["layer2"].double().numpy()
    n_images, n_channels, height, width = maps.shape
    squares = maps.reshape(n_images, n_channels, height // 2, 2, width // 2, 2)
    return np.asarray(squares.mean(axis=(3, 5)).reshape(n_images, -1))


@pytest.mark.parametrize("share", [0.3, 0.9, 0.97, 0.999])
def test_scores_are_what_the_pca_of_scikit_learn_leaves_out(share: float) -> None:
    """The score is the squared distance to the PCA's reconstruction, the map its part of each place."""
    results = take(DFM, PLAIN.model_copy(update={"variance_kept": share}), TRAIN, TEST)
    pca = PCA(n_components=share, svd_solver="full").fit(pooled(TRAIN))
    left = np.square(pooled(TEST) - pca.inverse_transform(pca.transform(pooled(TEST))))
    found = results["scores"].arrays
    assert len(results["subspace"].arrays["directions"]) == pca.n_components_
    np.testing.assert_allclose(found["image_scores"], left.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found["patch_maps"], left.reshape(7, 8, 3, 5).sum(axis=1), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_scores_and_maps_are_anomalibs() -> None:
    """Scores and maps are those of anomalib's own DFM model with as many directions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from anomalib.models.image.dfm.torch_model import DFMModel
    results = take(DFM, PLAIN, TRAIN, TEST)
    n_kept = len(results["subspace"].arrays["directions"])
    model = DFMModel("resnet18", "layer2", pre_trained=False, pooling_kernel_size=2, n_comps=n_kept)
    model.memory_bank = [torch.from_numpy(pooled(TRAIN)).float()]
    model.fit()
    scores, maps = model.score(torch.from_numpy(pooled(TEST)).float(), (7, 8, 3, 5))
    expected = torch.nn.functional.interpolate(maps, size=(48, 80), mode="bilinear", align_corners=False)[:, 0]
    found = results["scores"].arrays
    np.testing.assert_allclose(found["image_scores"], scores.numpy(), rtol=1e-4)
    np.testing.assert_allclose(
        Dfm().anomaly_maps(found["patch_maps"], (48, 80), PLAIN), expected.numpy(), rtol=1e-3, atol=1e-5
    )


def test_a_smaller_share_from_a_larger_ones_directions() -> None:
    """One decomposition serves every share of variance, with the very bits of its own."""
    larger, smaller = (
        take(DFM, PLAIN.model_copy(update={"variance_kept": 1.0}), TRAIN, TEST),
        take(DFM, PLAIN, TRAIN, TEST),
    )
    again = Dfm().scores(StepContext(PLAIN, TEST, larger, 0, CPU))
    for array in ("image_scores", "patch_maps"):
        np.testing.assert_array_equal(again.arrays[array], smaller["scores"].arrays[array])
    assert Dfm().model_bytes(larger, PLAIN) == Dfm().model_bytes(smaller, PLAIN)
    assert Dfm().fit_facts(larger, PLAIN) == Dfm().fit_facts(smaller, PLAIN)


def test_training_images_lie_in_the_subspace_of_all_directions() -> None:
    """With all variance kept nothing of a training image is left out, and something of every other one."""
    params = PLAIN.model_copy(update={"variance_kept": 1.0})
    own, others = (take(DFM, params, TRAIN, scored)["scores"].arrays["image_scores"] for scored in (TRAIN, TEST))
    assert own.max() < 1e-9
    assert others.min() > 1e-2


def test_equal_images_are_no_variance() -> None:
    """Training images that are all the same leave the distance to them."""
    same = HeldFeatures({"layer2": TRAIN.maps["layer2"][:1].expand(4, -1, -1, -1)})
    found = take(DFM, PLAIN, same, TEST)["scores"].arrays["image_scores"]
    np.testing.assert_allclose(found, np.square(pooled(TEST) - pooled(same)[:1]).sum(axis=1), rtol=0.2)
    assert np.isfinite(found).all()


def test_what_cannot_be_fitted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One image, a pooling wider than the map, and a decomposition beyond the memory are answered with a remedy."""
    with pytest.raises(MethodError, match=r"1 training image\n.*at least two"):
        take(DFM, PLAIN, TRAIN.pick(0), TEST)
    with pytest.raises(MethodError, match=r"the map of layer2 is 6 x 10\n.*\n.*use 6 or less"):
        take(DFM, PLAIN.model_copy(update={"pooling": 7}), TRAIN, TEST)
    monkeypatch.setattr(detector, "free_bytes", lambda _device: 1000)
    with pytest.raises(MethodError, match="raise pooling"):
        take(DFM, PLAIN, TRAIN, TEST)
