"""Scores of training images without their own share of the model, and nearest training patches: against brute force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from adloc.methods.detector import LeaveOneOut, NearestTraining, Patches, StepContext
from adloc.methods.embedding import embed
from adloc.methods.errors import MethodError
from adloc.methods.padim.explaining import RIDGE, check_enough, leave_one_out_distances, nearest_images
from adloc.methods.padim.params import PADIM, PadimParams
from adloc.methods.patchcore import explaining
from adloc.methods.patchcore.detector import PatchCore
from adloc.methods.patchcore.params import PATCHCORE, PatchCoreParams
from adloc.methods.patchcore.score import score_images, weigh_every_patch
from detectors import HeldFeatures, draw_two_layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.methods.detector import Result

CPU = torch.device("cpu")
HEIGHT, WIDTH = 6, 10


def fitted(params: PatchCoreParams, train: HeldFeatures) -> dict[str, Result]:
    """PatchCore's fit."""
    return {"coreset": PatchCore().coreset(StepContext(params, train, {}, 0, CPU))}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("reweight", ["none", "every_patch"])
def test_patchcore_leaves_an_images_own_entries_out(metric: str, reweight: str) -> None:
    """Every patch has the distances to the bank entries of the other images, by their definition, and their weight."""
    params = PatchCoreParams.model_validate(
        {"coreset_ratio": 0.2, "neighbours": 3, "metric": metric, "reweight": reweight, "patch_size": 1}
    )
    train = draw_two_layers(9, seed=1)
    results = fitted(params, train)
    found = PatchCore().leave_one_out(StepContext(params, train, results, 0, CPU))
    points = embed(train.maps, params).flatten(0, 2).double().numpy()
    order = results["coreset"].arrays["order"]
    maps = np.empty((9, HEIGHT, WIDTH), np.float32)
    for image in range(9):
        own = points[image * HEIGHT * WIDTH : (image + 1) * HEIGHT * WIDTH]
        others = points[[index for index in order if index // (HEIGHT * WIDTH) != image]]
        squared = ((own[:, None] - others) ** 2).sum(axis=2)
        nearest = np.sort(squared / 2 if metric == "cosine" else np.sqrt(squared), axis=1)[:, :3].astype(np.float32)
        scores = weigh_every_patch(nearest) if reweight == "every_patch" else nearest[:, 0]
        maps[image] = scores.reshape(HEIGHT, WIDTH)
    np.testing.assert_allclose(found.arrays["patch_maps"], maps, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.arrays["image_scores"], score_images(maps, "max"), rtol=1e-4)


def test_images_that_are_searched_at_a_time_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, by one thread or two, whether or not there is room for a bank each."""
    params = PatchCoreParams.model_validate({"coreset_ratio": 0.05, "neighbours": 3, "reweight": "every_patch"})
    train = draw_two_layers(70, seed=1)  # more than are embedded at a time
    context = StepContext(params, train, fitted(params, train), 0, CPU)
    found = []
    for n_threads, n_bytes in ((1, 1 << 30), (2, 1 << 30), (2, 0)):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_threads: n)
        monkeypatch.setattr(explaining, "_COPIES", n_bytes)
        found.append(PatchCore().leave_one_out(context).arrays["patch_maps"])
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize("reweight", ["none", "every_patch", "max_patch"])
def test_patchcore_ranks_the_odd_image_first(reweight: str) -> None:
    """An image with a patch like no other's stands out, although that patch is in the memory bank."""
    params = PatchCoreParams.model_validate({"coreset_ratio": 0.3, "neighbours": 4, "reweight": reweight})
    train = draw_two_layers(12, seed=3, odd=5)
    results = fitted(params, train)
    assert 5 in results["coreset"].arrays["order"] // (HEIGHT * WIDTH)
    found = PatchCore().leave_one_out(StepContext(params, train, results, 0, CPU))
    assert int(np.argmax(found.arrays["image_scores"])) == 5
    place = np.unravel_index(np.argmax(found.arrays["patch_maps"][5]), (HEIGHT, WIDTH))
    assert abs(place[0] - 2) <= 1
    assert abs(place[1] - 7) <= 1


def test_patchcore_refuses_to_leave_out_its_only_image() -> None:
    """With one image in the bank nothing is left to compare it with, and the error says what to do."""
    params = PatchCoreParams(coreset_ratio=0.5, reweight="none")
    train = draw_two_layers(1, seed=1)
    with pytest.raises(MethodError, match="30 of the 30 entries of the memory bank are of one training image"):
        PatchCore().leave_one_out(StepContext(params, train, fitted(params, train), 0, CPU))


def test_patchcores_nearest_training_patch_is_the_bank_entry_behind_the_score() -> None:
    """Of all entries of the bank it is the nearest one, and its place is that of the patch it was picked from."""
    params = PatchCoreParams(coreset_ratio=0.4, neighbours=2, patch_size=1)
    train, test = draw_two_layers(6, seed=1), draw_two_layers(4, seed=2)
    results = fitted(params, train)
    results["search"] = PatchCore().search(StepContext(params, test, results, 0, CPU))
    asked = Patches(np.array([0, 3, 3]), np.array([0, 5, 2]), np.array([9, 0, 4]))
    found = PatchCore().nearest_training(StepContext(params, test, results, 0, CPU), train, asked)
    queries, points = (embed(each.maps, params).double().numpy() for each in (test, train))
    bank = points.reshape(-1, points.shape[-1])[results["coreset"].arrays["order"]]
    for number in range(3):
        query = queries[asked.images[number], asked.rows[number], asked.columns[number]]
        distances = np.linalg.norm(bank - query, axis=1)
        here = (found.patches.images[number], found.patches.rows[number], found.patches.columns[number])
        assert np.linalg.norm(points[here] - query) == pytest.approx(distances.min(), rel=1e-6)
        assert found.distances[number] == pytest.approx(distances.min(), rel=1e-4)


def refitted(observations: NDArray[np.float64], image: int) -> float:
    """The distance of an observation (of N, C) to the Gaussian of the others, as PaDiM fits it."""
    others = np.delete(observations, image, axis=0)
    covariance = np.cov(others, rowvar=False) + RIDGE * np.eye(observations.shape[1])
    return float(mahalanobis(observations[image], others.mean(axis=0), np.linalg.inv(covariance)))


@pytest.mark.parametrize(("n_images", "n_channels"), [(3, 2), (12, 5), (8, 30)])
def test_padims_distance_without_an_image_is_that_of_a_refit(n_images: int, n_channels: int) -> None:
    """The closed form is the Gaussian fitted again without each image, ridge included, to 1e-6: also with N < C."""
    drawn = np.random.default_rng(7).normal(0, 3, (2, n_images, n_channels))
    drawn[1, 0] *= 20  # an outlier, where the removal matters most
    found = leave_one_out_distances(torch.from_numpy(drawn)).numpy()
    expected = [[refitted(position, image) for image in range(n_images)] for position in drawn]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_padim_needs_three_images_to_leave_one_out() -> None:
    """Two images without one have no covariance."""
    check_enough(3)
    with pytest.raises(MethodError, match="at least 3"):
        check_enough(2)


def test_padims_nearest_image_is_nearest_by_the_gaussian_of_the_position() -> None:
    """For each patch the training image of the smallest Mahalanobis distance at the same position."""
    rng = np.random.default_rng(3)
    scored, training = rng.normal(size=(4, 3)), rng.normal(size=(7, 4, 3))
    roots = rng.normal(size=(4, 3, 3))
    inverse = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    images, distances = nearest_images(*(torch.from_numpy(a) for a in (scored, training, inverse)))
    for patch in range(4):
        every = [mahalanobis(scored[patch], training[i, patch], inverse[patch]) for i in range(7)]
        assert images[patch] == int(np.argmin(every))
        assert distances[patch] == pytest.approx(min(every))


@pytest.mark.slow
def test_padim_scores_each_image_as_a_model_fitted_without_it() -> None:
    """Maps and image scores are those of anomalib's own fit to the other images (in float32: to 1 %)."""
    from adloc.methods.padim.detector import Padim

    params = PadimParams(layers=("layer2", "layer3"), n_features=6, smoothing_sigma=1.0)
    train = draw_two_layers(40, seed=5, odd=11)
    padim = Padim()
    results = {"gaussian": padim.gaussian(StepContext(params, train, {}, 0, CPU))}
    found = padim.leave_one_out(StepContext(params, train, results, 0, CPU))
    for image in (0, 11, 39):
        rest = [i for i in range(40) if i != image]
        others = HeldFeatures({layer: maps[rest] for layer, maps in train.maps.items()})
        only = HeldFeatures({layer: maps[[image]] for layer, maps in train.maps.items()})
        without = {"gaussian": padim.gaussian(StepContext(params, others, {}, 0, CPU))}
        scores = padim.scores(StepContext(params, only, without, 0, CPU))
        np.testing.assert_allclose(found.arrays["patch_maps"][image], scores.arrays["patch_maps"][0], rtol=0.01)
        assert found.arrays["image_scores"][image] == pytest.approx(scores.arrays["image_scores"][0], rel=0.01)
    assert int(np.argmax(found.arrays["image_scores"])) == 11


@pytest.mark.slow
def test_padims_nearest_training_patch_stands_at_the_same_place() -> None:
    """A test image that is a copy of a training image is nearest to that one, at distance 0, wherever one looks."""
    from adloc.methods.padim.detector import Padim

    params = PadimParams(layers=("layer2", "layer3"), n_features=6)
    train = draw_two_layers(10, seed=5)
    test = HeldFeatures({layer: maps[[7, 2]] for layer, maps in train.maps.items()})
    padim = Padim()
    results = {"gaussian": padim.gaussian(StepContext(params, train, {}, 0, CPU))}
    asked = Patches(np.array([1, 0]), np.array([0, 5]), np.array([9, 3]))
    found = padim.nearest_training(StepContext(params, test, results, 0, CPU), train, asked)
    assert found.patches.images.tolist() == [2, 7]
    assert found.patches.rows.tolist() == [0, 5]
    assert found.patches.columns.tolist() == [9, 3]
    np.testing.assert_allclose(found.distances, 0, atol=1e-3)


@pytest.mark.parametrize("method", [PATCHCORE, PADIM])
def test_a_method_that_declares_the_step_has_it(method: object) -> None:
    """What is declared without torch is there with it."""
    from adloc.methods import load_detector
    from adloc.methods.method import Method

    assert isinstance(method, Method)
    assert method.leave_one_out is not None
    assert method.leave_one_out.name == "leave_one_out"
    if method is PATCHCORE:  # PaDiM's class imports anomalib, and has tests of its own
        detector = load_detector(method)
        assert isinstance(detector, LeaveOneOut)
        assert isinstance(detector, NearestTraining)
