"""SPADE against brute force in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch.nn import functional

from adloc.methods import MethodError
from adloc.methods.detector import NearestTraining, Patches, StepContext
from adloc.methods.spade import detector
from adloc.methods.spade.detector import Spade
from adloc.methods.spade.params import SPADE, SpadeParams
from detectors import CPU, HeldFeatures, Results, draw_features, take

PLAIN = SpadeParams(layers=("layer2", "layer3", "layer4"), image_neighbours=4, patch_neighbours=2)
TRAIN, TEST = draw_features(9, seed=1), draw_features(5, seed=2)
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def places(features: HeldFeatures) -> Floats:
    """Values of two layers at each of 6 x 10 places, (N, 60, 20)."""
    deeper = functional.interpolate(features.maps["layer3"], size=(6, 10), mode="bilinear", align_corners=False)
    return np.asarray(torch.cat([features.maps["layer2"], deeper], dim=1).flatten(2).mT.double().numpy())


def image_distances() -> Floats:
    """Squared distances of the means of the last layer."""
    test, train = (each.maps["layer4"].double().mean(dim=(2, 3)).numpy() for each in (TEST, TRAIN))
    return np.asarray(cdist(test, train, "sqeuclidean"))


@pytest.mark.parametrize(("n_images", "k"), [(1, 1), (4, 2), (9, 1), (50, 3)])
def test_scores_are_the_papers(n_images: int, k: int) -> None:
    """Images beside the K nearest, places beside the k nearest of these images alone; all where there are fewer."""
    params = PLAIN.model_copy(update={"image_neighbours": n_images, "patch_neighbours": k})
    found = take(SPADE, params, TRAIN, TEST)["scores"].arrays
    to_images, train, test = image_distances(), places(TRAIN), places(TEST)
    np.testing.assert_allclose(found["image_scores"], np.sort(to_images)[:, :n_images].mean(axis=1), rtol=1e-4)
    for image, nearest in enumerate(to_images.argsort(axis=1)[:, :n_images]):
        squared = np.sort(cdist(test[image], train[nearest].reshape(-1, 20), "sqeuclidean"))[:, :k].mean(axis=1)
        np.testing.assert_allclose(found["patch_maps"][image].ravel(), squared, rtol=1e-4, atol=1e-5)


def test_every_second_place() -> None:
    """A stride of 2 compares every second place with every second place, from the first on."""
    found = take(SPADE, PLAIN.model_copy(update={"patch_stride": 2, "image_neighbours": 9}), TRAIN, TEST)
    kept = [each.reshape(-1, 6, 10, 20)[:, ::2, ::2].reshape(-1, 15, 20) for each in (places(TRAIN), places(TEST))]
    expected = [np.sort(cdist(each, kept[0].reshape(-1, 20), "sqeuclidean"))[:, :2].mean(axis=1) for each in kept[1]]
    np.testing.assert_allclose(found["scores"].arrays["patch_maps"].reshape(5, 15), expected, rtol=1e-4, atol=1e-5)


def rescored(results: Results, params: SpadeParams) -> Results:
    """The last step under other parameters."""
    return {**results, "scores": Spade().scores(StepContext(params, TEST, results, 0, CPU))}


def test_fewer_neighbours_from_longer_lists() -> None:
    """One search of images serves every K, one of places every k, with the very bits of their own."""
    longer, own = (
        take(SPADE, PLAIN.model_copy(update={"patch_neighbours": 5}), TRAIN, TEST),
        take(SPADE, PLAIN, TRAIN, TEST),
    )
    more_images = Spade().images(
        StepContext(PLAIN.model_copy(update={"image_neighbours": 9}), TEST, {"gallery": own["gallery"]}, 0, CPU)
    )
    again = rescored({**longer, "images": more_images}, PLAIN)
    for array in ("image_scores", "patch_maps"):
        np.testing.assert_array_equal(again["scores"].arrays[array], own["scores"].arrays[array])


def test_more_images_from_a_search_of_fewer() -> None:
    """A search that goes on from one of fewer images gives the very bits of one that begins anew."""
    fewer, own = (
        take(SPADE, PLAIN.model_copy(update={"image_neighbours": 2}), TRAIN, TEST),
        take(SPADE, PLAIN, TRAIN, TEST),
    )
    again = Spade().patches(StepContext(PLAIN, TEST, own, 0, CPU, base=fewer["patches"]))
    for array in ("squared", "places"):
        np.testing.assert_array_equal(again.arrays[array], own["patches"].arrays[array])
    assert again.facts == own["patches"].facts
    longer = PLAIN.model_copy(update={"patch_neighbours": 3})
    with pytest.raises(ValueError, match="cannot go on"):
        Spade().patches(StepContext(longer, TEST, own, 0, CPU, base=fewer["patches"]))


def test_the_nearest_training_patch_is_the_one_behind_the_score() -> None:
    """The patch that is named is as far as the score says, by its own values."""
    params = PLAIN.model_copy(update={"patch_neighbours": 1})
    results, spade = take(SPADE, params, TRAIN, TEST), Spade()
    assert isinstance(spade, NearestTraining)
    asked = Patches(np.array([0, 3]), np.array([1, 5]), np.array([9, 2]))
    found = spade.nearest_training(StepContext(params, TEST, results, 0, CPU), TRAIN, asked)
    scored, train = (each.reshape(-1, 6, 10, 20) for each in (places(TEST), places(TRAIN)))
    own = scored[asked.images, asked.rows, asked.columns]
    other = train[found.patches.images, found.patches.rows, found.patches.columns]
    np.testing.assert_allclose(found.distances, np.linalg.norm(own - other, axis=1), rtol=1e-4)
    scores = results["scores"].arrays["patch_maps"][asked.images, asked.rows, asked.columns]
    np.testing.assert_allclose(np.square(found.distances), scores, rtol=1e-4)


def test_what_cannot_be_compared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No training image, and a gallery beyond the memory, are answered with a remedy."""
    with pytest.raises(MethodError, match="no image"):
        take(SPADE, PLAIN, TRAIN.pick(), TEST)
    monkeypatch.setattr(detector, "free_bytes", lambda _device: 1000)
    with pytest.raises(MethodError, match="leave out the first of layers"):
        take(SPADE, PLAIN, TRAIN, TEST)
