"""The Gaussian of whole images against scikit-learn's Ledoit-Wolf covariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from adloc.methods import MethodError
from adloc.methods.mahalanobis.detector import Mahalanobis, fit_gaussian
from adloc.methods.mahalanobis.params import MAHALANOBIS, MahalanobisParams
from detectors import HeldFeatures, draw_features, take

PLAIN = MahalanobisParams()
TRAIN, TEST = draw_features(20, seed=1), draw_features(7, seed=2)


@pytest.mark.parametrize(("n", "dimension"), [(3, 5), (20, 6), (20, 64), (300, 12)])
def test_covariance_is_scikit_learns(n: int, dimension: int) -> None:
    """Mean, covariance and shrinkage are scikit-learn's, with fewer observations than dimensions and with more."""
    rng = np.random.default_rng(n)
    observations = rng.normal(size=(n, dimension)) @ rng.normal(size=(dimension, dimension)) + 5
    expected = LedoitWolf().fit(observations)
    found = fit_gaussian(torch.from_numpy(observations))
    assert found.shrinkage == pytest.approx(expected.shrinkage_, rel=1e-9)
    np.testing.assert_allclose(found.mean.numpy(), expected.location_, rtol=1e-12)
    np.testing.assert_allclose(found.covariance.numpy(), expected.covariance_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layers", [("layer3",), ("layer1", "layer2", "layer3", "layer4")])
def test_score_is_the_sum_of_the_layers_distances(layers: tuple[str, ...]) -> None:
    """Each layer has a Gaussian of its own; the score adds their Mahalanobis distances."""
    expected = np.zeros(7)
    for layer in layers:
        train, test = (each.maps[layer].double().numpy().mean(axis=(2, 3)) for each in (TRAIN, TEST))
        expected += np.sqrt(LedoitWolf().fit(train).mahalanobis(test))  # scikit-learn's distances are squared
    found = take(MAHALANOBIS, PLAIN.model_copy(update={"layers": layers}), TRAIN, TEST)
    np.testing.assert_allclose(found["scores"].arrays["image_scores"], expected, rtol=1e-5)
    assert Mahalanobis().fit_facts(found, PLAIN.model_copy(update={"layers": layers})).keys() == {
        f"shrinkage_{layer}" for layer in layers
    }


def test_what_cannot_be_fitted_is_refused() -> None:
    """Two images, and copies of a single one, are answered with a remedy."""
    with pytest.raises(MethodError, match=r"2 training images\n.*at least 3"):
        take(MAHALANOBIS, PLAIN, TRAIN.pick(0, 1), TEST)
    same = HeldFeatures({layer: each[:1].expand(5, -1, -1, -1) for layer, each in TRAIN.maps.items()})
    with pytest.raises(MethodError, match="look for copies"):
        take(MAHALANOBIS, PLAIN, same, TEST)
