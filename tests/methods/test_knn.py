"""DN2 against scikit-learn's nearest neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from adloc.methods import MethodError
from adloc.methods.detector import LeaveOneOut, StepContext
from adloc.methods.knn.detector import Knn
from adloc.methods.knn.params import KNN, KnnParams
from detectors import CPU, HeldFeatures, draw_features, take

PLAIN = KnnParams(layers=("layer2", "layer4"), neighbours=3)
TRAIN, TEST = draw_features(20, seed=1), draw_features(7, seed=2)


def means(features: HeldFeatures) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Channel means of two layers, by NumPy."""
    maps = (features.maps[layer].double().numpy() for layer in ("layer2", "layer4"))
    return np.concatenate([each.mean(axis=(2, 3)) for each in maps], axis=1)


@pytest.mark.parametrize("k", [1, 2, 5, 20, 50])
def test_scores_are_the_mean_squared_distance_to_the_nearest(k: int) -> None:
    """The score is equation 1 of the paper; of more neighbours than there are images, all are taken."""
    found = take(KNN, PLAIN.model_copy(update={"neighbours": k}), TRAIN, TEST)
    distances, nearest = NearestNeighbors(n_neighbors=min(k, 20)).fit(means(TRAIN)).kneighbors(means(TEST))
    np.testing.assert_allclose(found["scores"].arrays["image_scores"], np.square(distances).mean(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(found["search"].arrays["neighbours"], nearest)


def test_fewer_neighbours_from_a_longer_list() -> None:
    """One search serves every k, with the very bits of its own."""
    longer, own = take(KNN, PLAIN.model_copy(update={"neighbours": 9}), TRAIN, TEST), take(KNN, PLAIN, TRAIN, TEST)
    again = Knn().scores(StepContext(PLAIN, TEST, longer, 0, CPU))
    np.testing.assert_array_equal(again.arrays["image_scores"], own["scores"].arrays["image_scores"])


def test_a_training_image_is_scored_by_the_others() -> None:
    """Leaving one out gives the score that a bank of the others gives."""
    detector = Knn()
    assert isinstance(detector, LeaveOneOut)
    fitted = {"bank": detector.bank(StepContext(PLAIN, TRAIN, {}, 0, CPU))}
    found = detector.leave_one_out(StepContext(PLAIN, TRAIN, fitted, 0, CPU)).arrays["image_scores"]
    for image in range(20):
        others = TRAIN.pick(*(i for i in range(20) if i != image))
        expected = take(KNN, PLAIN, others, TRAIN.pick(image))["scores"].arrays["image_scores"]
        np.testing.assert_allclose(found[image], expected[0], rtol=1e-4)


def test_equal_training_images_stand_in_for_each_other() -> None:
    """An image with more equals than neighbours has a distance of 0 to the others, itself in the list or not."""
    fitted = {"bank": Knn().bank(StepContext(PLAIN, TRAIN.pick(*[4] * 8, 5), {}, 0, CPU))}
    found = Knn().leave_one_out(StepContext(PLAIN, TRAIN, fitted, 0, CPU)).arrays["image_scores"]
    assert found[:8].max() < 1e-6
    assert found[8] > 1e-3


def test_what_cannot_be_compared_is_refused() -> None:
    """No training image, and a single one that is to be left out, are answered with a remedy."""
    with pytest.raises(MethodError, match="no image"):
        take(KNN, PLAIN, TRAIN.pick(), TEST)
    fitted = {"bank": Knn().bank(StepContext(PLAIN, TRAIN.pick(0), {}, 0, CPU))}
    with pytest.raises(MethodError, match="at least one more"):
        Knn().leave_one_out(StepContext(PLAIN, TRAIN, fitted, 0, CPU))
