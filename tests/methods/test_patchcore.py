"""PatchCore from features to scores: every parameter does what it says, against brute force in NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from adloc.methods import find_method, load_detector
from adloc.methods.detector import Result, StepContext
from adloc.methods.embedding import embed
from adloc.methods.errors import MethodError
from adloc.methods.patchcore.detector import PatchCore
from adloc.methods.patchcore.params import PATCHCORE, PatchCoreParams
from adloc.methods.patchcore.score import score_images, weigh_every_patch, weigh_max_patch
from adloc.methods.patchcore.search import MemoryBank

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

CPU = torch.device("cpu")
Results = dict[str, Result]


@dataclass
class HeldFeatures:
    """Features in memory; notes how many images were asked for at a time."""

    maps: dict[str, Tensor]
    image_size: tuple[int, int] = (48, 80)
    batch_sizes: list[int] = field(default_factory=list)

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(next(iter(self.maps.values())))

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, Tensor]]:
        """Yield consecutive images."""
        self.batch_sizes.append(batch_size)
        for start in range(0, self.n_images, batch_size):
            yield {layer: self.maps[layer][start : start + batch_size] for layer in layers}


def draw_features(n_images: int, seed: int) -> HeldFeatures:
    """Two layers of positive noise, on maps of 6 x 10 and 3 x 5."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"layer2": (n_images, 8, 6, 10), "layer3": (n_images, 12, 3, 5)}
    return HeldFeatures({layer: torch.rand(s, generator=generator) for layer, s in shapes.items()})


TRAIN, TEST = draw_features(20, seed=1), draw_features(7, seed=2)  # 20 is more than one batch


def take(params: PatchCoreParams, *, train: HeldFeatures = TRAIN, test: HeldFeatures = TEST, seed: int = 0) -> Results:
    """All three steps."""
    results: Results = {}
    detector = PatchCore()
    for step in (detector.coreset, detector.search, detector.scores):
        features = train if step == detector.coreset else test
        results[step.__name__] = step(StepContext(params, features, dict(results), seed, CPU))
    return results


def rescore(results: Results, params: PatchCoreParams, *, search: bool = False) -> Results:
    """The last step, or the last two, under other parameters."""
    results = dict(results)
    if search:
        results["search"] = PatchCore().search(StepContext(params, TEST, dict(results), 0, CPU))
    results["scores"] = PatchCore().scores(StepContext(params, TEST, dict(results), 0, CPU))
    return results


def flat_embeddings(features: HeldFeatures, params: PatchCoreParams) -> NDArray[np.float64]:
    """All patches (P, D) in float64."""
    return embed(features.maps, params).flatten(0, 2).double().numpy()


def all_distances(queries: NDArray[np.float64], bank: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Every distance, by its definition."""
    if metric == "cosine":
        lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(bank, axis=1)
        return np.asarray(1 - queries @ bank.T / lengths)
    return np.asarray(np.linalg.norm(queries[:, None] - bank, axis=2))


PLAIN = PatchCoreParams(coreset_ratio=0.2, reweight="none")


@pytest.fixture(scope="module")
def results() -> Results:
    """All steps at the largest settings that the tests ask for."""
    return take(PLAIN)


def test_registry_leads_to_the_detector() -> None:
    """The method's entry names the class, and the class has every step."""
    detector = load_detector(find_method("patchcore"))
    assert isinstance(detector, PatchCore)
    assert all(callable(getattr(detector, step.name)) for step in PATCHCORE.steps)


def test_unknown_method() -> None:
    """A method that does not exist is answered with the nearest."""
    with pytest.raises(MethodError, match="use patchcore"):
        find_method("patchcor")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"metric": "cosine"},
        {"layers": ["layer3"]},
        {"patch_size": 5},
        {"patch_stride": 2},
        {"neighbours": 3},
        {"projection_dim": None},
        {"projection_dim": 4},
    ],
    ids=str,
)
def test_distances_equal_brute_force(change: dict[str, object]) -> None:
    """Distances are those to the k nearest bank entries, not squared, in the metric and of the patches chosen."""
    params = PatchCoreParams.model_validate({**PLAIN.model_dump(), **change})
    results = take(params)
    bank = flat_embeddings(TRAIN, params)[results["coreset"].arrays["order"]]
    expected = all_distances(flat_embeddings(TEST, params), bank, params.metric)
    distances = results["search"].arrays["distances"].reshape(len(expected), -1)
    assert distances.shape[1] == params.neighbours
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, : params.neighbours], rtol=1e-4, atol=1e-5)
    neighbours = results["search"].arrays["neighbours"].reshape(len(expected), -1)
    np.testing.assert_allclose(np.take_along_axis(expected, neighbours, 1), distances, rtol=1e-4, atol=1e-5)


def test_shapes_and_types(results: Results) -> None:
    """Arrays have the shapes, types and facts that the steps promise, on a grid that is not square."""
    n_patches = 20 * 6 * 10
    assert results["coreset"].facts["n_patches"] == n_patches
    expected: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
        "coreset": {"bank": ("float32", (n_patches // 5, 20)), "order": ("int64", (n_patches // 5,))},
        "search": {"distances": ("float32", (7, 6, 10, 9)), "neighbours": ("int32", (7, 6, 10, 9))},
        "scores": {"patch_maps": ("float32", (7, 6, 10)), "image_scores": ("float32", (7,))},
    }
    for step, arrays in expected.items():
        found = results[step].arrays
        assert {name: (str(found[name].dtype), found[name].shape) for name in arrays} == arrays


def test_features_are_streamed() -> None:
    """Features are asked for in small batches, in both passes of the fit and in the search."""
    train, test = draw_features(20, seed=1), draw_features(3, seed=2)
    take(PLAIN, train=train, test=test)
    assert len(train.batch_sizes) == 3  # and a look at the first image
    assert max(train.batch_sizes + test.batch_sizes) <= 16


def test_bank_holds_the_picked_patches(results: Results) -> None:
    """Each bank entry is the embedding of the patch that was picked, in the order of picking."""
    coreset = results["coreset"].arrays
    np.testing.assert_array_equal(coreset["bank"], embed(TRAIN.maps, PLAIN).flatten(0, 2).numpy()[coreset["order"]])


def test_cosine_coreset_is_picked_on_unit_vectors() -> None:
    """With the cosine metric a patch's length does not matter, for the coreset either."""
    params = PLAIN.model_copy(update={"metric": "cosine", "patch_size": 1, "layers": ("layer2",)})
    scale = torch.logspace(-1, 1, 20).view(-1, 1, 1, 1)
    louder = HeldFeatures({"layer2": TRAIN.maps["layer2"] * scale})
    np.testing.assert_allclose(
        take(params)["coreset"].arrays["bank"],
        take(params, train=louder)["coreset"].arrays["bank"],
        atol=1e-6,
    )


def test_projection_follows_the_seed() -> None:
    """Another seed gives another projection and coreset; without a projection the seed changes nothing."""
    small = PLAIN.model_copy(update={"projection_dim": 4})
    first, other = (take(small, seed=seed)["coreset"].arrays["order"] for seed in (0, 1))
    assert not np.array_equal(first, other)
    none = PLAIN.model_copy(update={"projection_dim": None})
    first, other = (take(none, seed=seed)["coreset"].arrays["order"] for seed in (0, 1))
    np.testing.assert_array_equal(first, other)


def test_smaller_ratio_from_a_larger_coreset(results: Results) -> None:
    """A ratio's scores from a coreset that was computed to a larger ratio have the very bits of its own."""
    params = PLAIN.model_copy(update={"coreset_ratio": 0.07})
    shared, own = rescore(results, params, search=True), take(params)
    for step, array in (("search", "distances"), ("search", "support"), ("scores", "image_scores")):
        np.testing.assert_array_equal(shared[step].arrays[array], own[step].arrays[array])
    size = len(own["coreset"].arrays["bank"])
    np.testing.assert_array_equal(results["coreset"].arrays["bank"][:size], own["coreset"].arrays["bank"])
    detector = PatchCore()
    assert detector.model_bytes(shared, params) == detector.model_bytes(own, params) == 84 * 20 * 4


@pytest.mark.parametrize("reweight", ["every_patch", "max_patch", "none"])
def test_fewer_neighbours_from_a_longer_list(results: Results, reweight: str) -> None:
    """Scores at k = 3 from lists of 9 are those of lists of 3."""
    params = PLAIN.model_copy(update={"neighbours": 3, "reweight": reweight})
    shared, own = rescore(results, params), rescore(results, params, search=True)
    for array in ("image_scores", "patch_maps"):
        np.testing.assert_allclose(shared["scores"].arrays[array], own["scores"].arrays[array], rtol=1e-6)


def test_training_images_are_normal_to_a_full_bank() -> None:
    """With every patch in the bank a training image has distances of 0, up to FAISS's rounding."""
    params = PLAIN.model_copy(update={"coreset_ratio": 1.0})
    results = take(params, test=TRAIN)
    lengths = np.linalg.norm(results["coreset"].arrays["bank"], axis=1)
    assert len(lengths) == 1200
    assert results["scores"].arrays["image_scores"].max() <= 5e-4 * lengths.max()


def test_none_keeps_distances(results: Results) -> None:
    """Without reweighting the map is the distance to the nearest entry, the score its maximum."""
    nearest = results["search"].arrays["distances"][..., 0]
    np.testing.assert_array_equal(results["scores"].arrays["patch_maps"], nearest)
    np.testing.assert_array_equal(results["scores"].arrays["image_scores"], nearest.max(axis=(1, 2)))


def test_every_patch_weighs_map_and_score(results: Results) -> None:
    """Every patch's distance is weighed as the protocol writes it; the image score follows the weighed map."""
    found = rescore(results, PLAIN.model_copy(update={"reweight": "every_patch"}))["scores"].arrays
    d = results["search"].arrays["distances"].astype(np.float64)
    expected = d[..., 0] * (1 - np.exp(-d[..., 0]) / np.exp(-d).sum(axis=-1))
    np.testing.assert_allclose(found["patch_maps"], expected, rtol=1e-6)
    np.testing.assert_array_equal(found["image_scores"], found["patch_maps"].max(axis=(1, 2)))


@pytest.mark.parametrize("unit", [1e-3, 1.0, 50.0, 1e4])
def test_every_patch_at_any_unit(unit: float) -> None:
    """The weight is right for distances of any size, where exp(-d) is 0 in float64 too."""
    d = np.sort(np.random.default_rng(0).random((5, 4)).astype(np.float32) * np.float32(unit), axis=1)
    d[0] += np.float32(5000)
    # In exact fractions the exponents are differences; mathematically this is the protocol's formula.
    total = [sum(math.exp(float(Fraction(float(row[0])) - Fraction(float(each)))) for each in row) for row in d]
    expected = d[:, 0].astype(np.float64) * (1 - 1 / np.array(total))
    np.testing.assert_allclose(weigh_every_patch(d), expected, rtol=1e-6, atol=1e-12)


def test_every_patch_with_equal_neighbours() -> None:
    """K equal distances weigh 1 - 1/k."""
    np.testing.assert_allclose(weigh_every_patch(np.full((2, 3, 5), 8e3, np.float32)), 8e3 * 0.8, rtol=1e-6)


def test_max_patch_is_equation_7(results: Results) -> None:
    """The image score is weighed by the surroundings of its worst patch's nearest entry; maps are not."""
    params = PLAIN.model_copy(update={"reweight": "max_patch", "neighbours": 4})
    found = rescore(results, params)["scores"].arrays
    bank = results["coreset"].arrays["bank"].astype(np.float64)
    embeddings = flat_embeddings(TEST, params).reshape(7, -1, 20)
    for image, patches in enumerate(embeddings):
        distances = all_distances(patches, bank, "euclidean")
        worst = distances.min(axis=1).argmax()
        star = distances[worst].argmin()
        around = all_distances(bank[star][None], bank, "euclidean")[0].argsort()[:4]
        assert star in around
        exponents = np.exp(distances[worst][around])
        weight = 1 - np.exp(distances[worst, star]) / exponents.sum()
        assert found["image_scores"][image] == pytest.approx(weight * distances[worst, star], rel=1e-4)
    np.testing.assert_array_equal(found["patch_maps"], results["search"].arrays["distances"][..., 0])


def test_max_patch_weighs_a_mean_as_well(results: Results) -> None:
    """A mean of the top patches takes the weight that their maximum would."""
    worst, mean = (
        rescore(results, PLAIN.model_copy(update={"reweight": reweight, "image_score": score}))["scores"]
        for reweight, score in (("max_patch", "max"), ("max_patch", 20.0))
    )
    plain = rescore(results, PLAIN.model_copy(update={"image_score": 20.0}))["scores"].arrays["image_scores"]
    weights = worst.arrays["image_scores"] / results["scores"].arrays["image_scores"]
    np.testing.assert_allclose(mean.arrays["image_scores"], weights * plain, rtol=1e-6)


def test_max_patch_does_not_overflow() -> None:
    """Distances whose exp is beyond float64 give the weight of their differences."""
    support = np.array([[5000, 5001, 5003], [1, 1, 1]], np.float32)
    expected = [1 - 1 / (1 + math.e + math.e**3), 2 / 3]
    np.testing.assert_allclose(weigh_max_patch(support), expected, rtol=1e-12)


def test_max_patch_keeps_the_nearest_entry_among_duplicates() -> None:
    """m* stands first among its surroundings even when equal entries crowd its list."""
    bank = np.ones((6, 3), np.float32)
    bank[5] = 0
    support = MemoryBank(bank, "euclidean", CPU).support(np.zeros((1, 3), np.float32), np.array([4], np.int32), 3)
    np.testing.assert_allclose(support, np.full((1, 3), math.sqrt(3)), rtol=1e-6)
    support = MemoryBank(bank, "euclidean", CPU).support(np.zeros((1, 3), np.float32), np.array([5], np.int32), 3)
    np.testing.assert_allclose(support, [[0, math.sqrt(3), math.sqrt(3)]], rtol=1e-6)


@pytest.mark.parametrize(("q", "n_top"), [(0.1, 1), (1.0, 1), (7.0, 7), (7.5, 8), (100.0, 100)])
def test_mean_of_the_top_percent(q: float, n_top: int) -> None:
    """A number q takes the mean of the top q percent of the patches, rounded up to whole patches."""
    patch_scores = np.random.default_rng(0).random((3, 5, 20), dtype=np.float32)
    expected = np.sort(patch_scores.reshape(3, -1).astype(np.float64))[:, -n_top:].mean(axis=1)
    np.testing.assert_allclose(score_images(patch_scores, q), expected, rtol=1e-6)


def test_smoothing_changes_maps_alone(results: Results) -> None:
    """Sigma blurs the anomaly maps; image scores have been taken before."""
    detector, patch_maps = PatchCore(), results["scores"].arrays["patch_maps"]
    sharp = detector.anomaly_maps(patch_maps, (48, 80), PLAIN)
    blurred = detector.anomaly_maps(patch_maps, (48, 80), PLAIN.model_copy(update={"smoothing_sigma": 2.0}))
    np.testing.assert_allclose(blurred, [gaussian_filter(each, 2, truncate=4) for each in sharp], rtol=1e-4)
    assert PATCHCORE.map_params == ("smoothing_sigma",)


def test_fit_seconds_are_those_of_the_ratio(results: Results) -> None:
    """A small ratio's fit is not charged for the picks of a larger one."""
    coreset = results["coreset"]
    small = PLAIN.model_copy(update={"coreset_ratio": 0.01})
    passes = float(coreset.facts["embed_s"]) + float(coreset.facts["gather_s"])
    expected = passes + float(coreset.arrays["elapsed_s"][11])
    assert PatchCore().fit_seconds(results, small) == pytest.approx(expected)
    assert PatchCore().fit_seconds(results, small) < PatchCore().fit_seconds(results, PLAIN)


def test_more_neighbours_than_the_bank_has() -> None:
    """A tiny bank gives as many neighbours as it has."""
    params = PLAIN.model_copy(update={"coreset_ratio": 0.002, "reweight": "every_patch"})
    assert take(params)["search"].arrays["distances"].shape[-1] == 2


def test_bank_of_one_entry_cannot_be_reweighted() -> None:
    """One entry gives a weight of 0 to everything, which is refused; plain distances are not."""
    params = PLAIN.model_copy(update={"coreset_ratio": 1e-6})
    assert take(params)["scores"].arrays["image_scores"].min() > 0
    with pytest.raises(MethodError, match="raise coreset_ratio"):
        take(params.model_copy(update={"reweight": "every_patch"}))


def test_no_training_image() -> None:
    """An empty train part is refused."""
    with pytest.raises(MethodError, match="no image"):
        take(PLAIN, train=draw_features(0, seed=0))


WRONG = [
    ({"backbone": "resnet5O"}, "backbone", "one of resnet18"),
    ({"weights": "imagenet"}, "weights", "default, random, or the path"),
    ({"layers": []}, "layers", "at least one layer"),
    ({"layers": ["layer2", "layer2"]}, "layers", "not name a layer twice"),
    ({"layers": "layer2"}, "layers", "a list"),
    ({"patch_size": 4}, "patch_size", "odd number"),
    ({"patch_size": -1}, "patch_size", "odd number"),
    ({"patch_stride": 0}, "patch_stride", "from 1"),
    ({"coreset_ratio": 0}, "coreset_ratio", "above 0 and at most 1"),
    ({"coreset_ratio": 1.5}, "coreset_ratio", "above 0 and at most 1"),
    ({"coreset_ratio": math.nan}, "coreset_ratio", "above 0 and at most 1"),
    ({"coreset_ratio": True}, "coreset_ratio", "above 0 and at most 1"),
    ({"projection_dim": 0}, "projection_dim", "or null"),
    ({"neighbours": 0}, "neighbours", "from 1 to 1000"),
    ({"neighbours": 2.5}, "neighbours", "from 1 to 1000"),
    ({"metric": "manhattan"}, "metric", "euclidean or cosine"),
    ({"reweight": "all"}, "reweight", "every_patch, max_patch or none"),
    ({"neighbours": 1}, "reweight", "needs neighbours of 2 or more"),
    ({"neighbours": 1, "reweight": "max_patch"}, "reweight", "needs neighbours of 2 or more"),
    ({"image_score": "mean"}, "image_score", "max, or a number q"),
    ({"image_score": 0}, "image_score", "max, or a number q"),
    ({"image_score": True}, "image_score", "max, or a number q"),
    ({"smoothing_sigma": -1.0}, "smoothing_sigma", "0 or above"),
    ({"smoothing_sigma": math.inf}, "smoothing_sigma", "0 or above"),
]


@pytest.mark.parametrize(("values", "key", "rule"), WRONG, ids=[str(values) for values, _, _ in WRONG])
def test_wrong_values_are_answered_with_the_rule(values: dict[str, object], key: str, rule: str) -> None:
    """A wrong value gives one error, at its key, whose message is the rule and whose context has a remedy."""
    with pytest.raises(ValidationError) as caught:
        PatchCoreParams.model_validate(values)
    (error,) = caught.value.errors()
    assert error["loc"] == (key,)
    assert rule in error["msg"]
    assert error["ctx"]["rule"] == error["msg"]
    assert error["ctx"]["remedy"].startswith("use")


def test_one_neighbour_without_reweighting() -> None:
    """A single neighbour is fine where no weights are asked for."""
    assert PatchCoreParams(neighbours=1, reweight="none").neighbours == 1


def test_unknown_key() -> None:
    """A key that is not a parameter is refused."""
    with pytest.raises(ValidationError, match="coreset"):
        PatchCoreParams.model_validate({"coreset": 0.1})


def test_every_parameter_says_what_it_is() -> None:
    """Each parameter has a description, a rule and a remedy for the study file's messages."""
    for name, parameter in PatchCoreParams.model_fields.items():
        assert parameter.description, name
        assert isinstance(parameter.json_schema_extra, dict), name
        assert set(parameter.json_schema_extra) == {"rule", "remedy"}, name


def test_steps_name_parameters_that_exist() -> None:
    """Steps and maps name every parameter but the backbone's, and no other; the search space names known ones."""
    named = [name for step in PATCHCORE.steps for name in (*step.params, step.grows_with) if name]
    known = set(PatchCoreParams.model_fields)
    assert set(named) | set(PATCHCORE.map_params) == known - {"backbone", "weights"}
    assert set(PATCHCORE.default_space) <= known
