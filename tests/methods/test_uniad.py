"""UniAD: its network, what keeps it from copying, and a training that can be killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from adloc.methods import find_method, load_detector
from adloc.methods.detector import FitFacts, OverEpochs, StepContext, unheard
from adloc.methods.errors import MethodError
from adloc.methods.uniad import detector as detecting
from adloc.methods.uniad.detector import Uniad
from adloc.methods.uniad.network import Reconstruction, jitter, mask_neighbours, to_tokens
from adloc.methods.uniad.params import UNIAD, UniadParams
from adloc.methods.uniad.training import make_network, snapshot_epochs, train
from detectors import HeldFeatures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adloc.methods.detector import Result

CPU = torch.device("cpu")
PARAMS = UniadParams(layers=("a", "b"), epochs=4, mask_size=3, width=8, heads=2, depth=2, batch_size=2, pool_size=4)
PLAIN = {"neighbour_mask": False, "layer_queries": False, "jitter": False}
CRACKED = "the process was killed"


def draw(n_images: int, seed: int) -> HeldFeatures:
    """Noise on maps of 8 x 12 and 4 x 6 patches; layer b has the scale of a real backbone's deep layer."""
    generator = torch.Generator().manual_seed(seed)
    return HeldFeatures(
        {
            "a": torch.rand(n_images, 3, 8, 12, generator=generator),
            "b": 20 * torch.rand(n_images, 5, 4, 6, generator=generator),
        },
        image_size=(16, 24),
    )


TRAIN, TEST = draw(7, seed=1), draw(11, seed=2)


def fit(
    params: UniadParams = PARAMS,
    features: HeldFeatures = TRAIN,
    progress: Callable[[int, int], None] = unheard,
    scratch: Path | None = None,
    seed: int = 0,
) -> Result:
    """The training step."""
    return Uniad().training(StepContext(params, features, {}, seed, CPU, progress=progress, scratch=scratch))


def context(fitted: Result, features: HeldFeatures = TEST, params: UniadParams = PARAMS) -> StepContext:
    """Of a score step."""
    return StepContext(params, features, {"training": fitted}, 0, CPU)


@pytest.fixture(scope="module")
def fitted() -> Result:
    """A training of four epochs."""
    return fit()


def test_registry_leads_to_the_detector() -> None:
    """The method's entry names the class, and the class has every step, that over the epochs too."""
    detector = load_detector(find_method("uniad"))
    assert isinstance(detector, Uniad)
    assert isinstance(detector, OverEpochs)
    assert isinstance(detector, FitFacts)
    assert all(callable(getattr(detector, step.name)) for step in UNIAD.steps)


def test_every_parameter_is_in_a_step_or_in_the_network_that_is_read() -> None:
    """One that no step declares would change results without changing a key."""
    declared = {name for step in UNIAD.steps for name in step.params}
    assert declared | {"backbone", "weights"} == set(UniadParams.model_fields)


def test_the_default_space_is_valid() -> None:
    """Both ends and every choice."""
    for name, space in UNIAD.default_space.items():
        for value in space.get("choices", [space.get("low"), space.get("high")]):  # type: ignore[attr-defined]
            UniadParams.model_validate({name: value})


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"mask_size": 4}, "use 3 or 5"),
        ({"heads": 5, "width": 12}, "use 4"),
        ({"epochs": 0}, "use 100"),
        ({"jitter": 1}, "use true"),
        ({"layers": []}, "use [layer1"),
        ({"learning_rate": float("inf")}, "use 0.001"),
    ],
)
def test_wrong_parameters_are_refused_with_a_remedy(change: dict[str, object], remedy: str) -> None:
    """Each at its own key."""
    with pytest.raises(ValidationError) as caught:
        UniadParams.model_validate(change)
    (error,) = caught.value.errors()
    assert error["loc"][0] in change
    assert error["ctx"]["remedy"].startswith(remedy)


# The network.


def test_the_mask_hides_the_square_around_each_patch() -> None:
    """On 3 x 4 patches with one neighbour to each side, by hand: a corner hides 4, an edge 6, the inside 9."""
    mask = mask_neighbours((3, 4), 3)
    hidden = [set(row.nonzero()[:, 0].tolist()) for row in mask]
    assert hidden[0] == {0, 1, 4, 5}
    assert hidden[1] == {0, 1, 2, 4, 5, 6}
    assert hidden[6] == {1, 2, 3, 5, 6, 7, 9, 10, 11}
    assert hidden[11] == {6, 7, 10, 11}
    assert torch.equal(mask, mask.T)
    assert mask_neighbours((3, 4), 1).equal(torch.eye(12, dtype=torch.bool))


def test_a_masked_attention_sees_what_is_far_and_not_what_is_near() -> None:
    """A patch's own output in the first layer does not move with its neighbours, but with a patch two away."""
    grid = (4, 6)
    network = make_network(grid, 8, PARAMS, seed=0)
    layer, mask, middle = network.encoder[0], mask_neighbours(grid, 3), 8  # row 1, column 2
    tokens = torch.randn(1, 24, 8, generator=torch.Generator().manual_seed(0))
    before = layer(tokens, torch.zeros(24, 8), mask)[0, middle]
    for other, is_near in ((7, True), (1, True), (15, True), (10, False), (20, False)):
        moved = tokens.clone()
        moved[0, other] += 3
        same = torch.equal(layer(moved, torch.zeros(24, 8), mask)[0, middle], before)
        assert same == is_near


def test_jitter_grows_with_a_patchs_length() -> None:
    """Sigma = scale |x| / C: of lengths 0, 6 and 12 in 4 channels at scale 2 it is 0, 3 and 6."""
    tokens = torch.zeros(3, 4000, 4)
    tokens[1], tokens[2] = 3.0, 6.0
    noise = jitter(tokens, 2.0, torch.Generator().manual_seed(0)) - tokens
    assert noise.std(dim=(1, 2)).tolist() == pytest.approx([0, 3, 6], rel=0.03)
    assert noise.mean(dim=(1, 2)).tolist() == pytest.approx([0, 0, 0], abs=0.15)


def test_each_decoder_layer_has_a_query_of_its_own() -> None:
    """One vector a patch and layer, drawn apart, and each is trained; without the switch there is none."""
    network = make_network((4, 6), 8, PARAMS, seed=0)
    queries = {name: value for name, value in network.named_parameters() if name.endswith("query")}
    assert list(queries) == ["decoder.0.query", "decoder.1.query"]
    first, second = queries.values()
    assert first.shape == second.shape == (24, 8)
    assert not torch.equal(first, second)
    torch.autograd.backward(network(torch.randn(2, 24, 8)).square().sum())
    assert all(query.grad is not None and query.grad.abs().sum() > 0 for query in queries.values())
    plain = make_network((4, 6), 8, PARAMS.model_copy(update=PLAIN), seed=0)
    assert not [name for name, _ in plain.named_parameters() if name.endswith("query")]


def test_without_learned_queries_the_tokens_reach_the_end_by_sums_alone() -> None:
    """With all attentions and feedforward networks silent, a plain decoder still tells its input; a queried one not."""
    told = {}
    for layer_queries in (False, True):
        params = PARAMS.model_copy(update={"layer_queries": layer_queries})
        network = make_network((4, 6), 8, params, seed=0)
        with torch.no_grad():
            for name, value in network.named_parameters():
                if "out_proj" in name or "narrow" in name:
                    value.zero_()
        one, other = torch.randn(2, 1, 24, 8, generator=torch.Generator().manual_seed(0))
        told[layer_queries] = not torch.equal(network(one), network(other))
    assert told == {False: True, True: False}


def test_tokens_are_means_over_the_cells_of_the_coarsest_grid() -> None:
    """A map of 2 x 4 beside one of 1 x 2: each patch has the mean of its 2 x 2 cells, then the coarse value."""
    fine = torch.tensor([[1.0, 2, 10, 20], [3, 4, 30, 40]])[None, None]
    coarse = torch.tensor([[7.0, 8]])[None, None]
    assert to_tokens({"x": fine, "y": coarse}, ["x", "y"]).tolist() == [[[[2.5, 7], [25, 8]]]]
    assert to_tokens({"x": fine, "y": coarse}, ["y", "x"]).tolist() == [[[[7, 2.5], [8, 25]]]]


# The identical shortcut.


@pytest.mark.slow
def test_a_plain_transformer_learns_to_copy_what_it_has_never_seen() -> None:
    """Trained on a few images of noise it reconstructs other noise; with all three means it cannot."""
    generator = torch.Generator().manual_seed(3)
    seen, unseen = (torch.randn(12, 24, 6, generator=generator) for _ in range(2))
    left = {}
    for name, switches in (("plain", PLAIN), ("hindered", {})):
        params = PARAMS.model_copy(update={"epochs": 25, "width": 24, "depth": 1, "learning_rate": 5e-3, **switches})
        network = make_network((4, 6), 6, params, seed=0)
        before = functional.mse_loss(network(unseen), unseen).item()
        train(seen, network, params, 0, unheard, None)
        left[name] = functional.mse_loss(network(unseen), unseen).item() / min(before, 1.0)
    assert left["plain"] < 0.3
    assert left["hindered"] > 0.8


# The training.


def test_training_is_repeatable_and_leaves_the_global_generator_alone(fitted: Result) -> None:
    """The same seed gives the same bits, whatever was drawn elsewhere; another seed gives others."""
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    again = fit()
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, array in fitted.arrays.items():
        assert np.array_equal(again.arrays[name], array), name
    assert not np.array_equal(fit(seed=1).arrays["weights"], fitted.arrays["weights"])


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_training_goes_on_to_the_same_bytes(fitted: Result, tmp_path: Path, killed_after: int) -> None:
    """It takes up the last epoch's checkpoint, computes only what is left, and ends as if nothing had happened."""

    def die(done: int, _: int) -> None:
        if done == killed_after:
            raise KeyboardInterrupt(CRACKED)

    with pytest.raises(KeyboardInterrupt, match=CRACKED):
        fit(progress=die, scratch=tmp_path / "unfinished")
    told: list[tuple[int, int]] = []
    resumed = fit(progress=lambda done, total: told.append((done, total)), scratch=tmp_path / "unfinished")
    assert told == [(epoch, 4) for epoch in range(killed_after + 1, 5)]
    for name, array in fitted.arrays.items():
        assert resumed.arrays[name].tobytes() == array.tobytes(), name


def test_a_checkpoint_that_does_not_read_is_left_aside(fitted: Result, tmp_path: Path) -> None:
    """Half a file, and what a killed writer left beside it: the training begins again."""
    fit(scratch=tmp_path)
    (checkpoint,) = tmp_path.iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    checkpoint.with_suffix(".tmp").write_bytes(b"{")
    told: list[int] = []
    again = fit(progress=lambda done, _: told.append(done), scratch=tmp_path)
    assert told == [1, 2, 3, 4]
    assert np.array_equal(again.arrays["weights"], fitted.arrays["weights"])


def test_the_training_keeps_its_history(fitted: Result) -> None:
    """A loss an epoch, falling; a snapshot at each of the epochs that are drawn, eight at most."""
    assert fitted.arrays["losses"].shape == (4,)
    assert fitted.arrays["losses"][-1] < fitted.arrays["losses"][0]
    assert fitted.arrays["epochs"].tolist() == [1, 2, 3, 4]
    assert len(fitted.arrays["weights"]) == 4
    assert snapshot_epochs(1) == [1]
    many = snapshot_epochs(1000)
    assert (many[0], many[-1], len(many)) == (1, 1000, 8)


def test_a_constant_channel_is_not_blown_up() -> None:
    """Of a channel that does not vary in training the scale is 1."""
    features = draw(7, seed=1)
    features.maps["b"][:, 2] = 4.0
    arrays = fit(features=features).arrays
    assert arrays["spread"][5] == 1
    assert np.isfinite(arrays["weights"]).all()


# Scores.


def test_patch_maps_are_the_lengths_of_the_errors(fitted: Result) -> None:
    """Recomputed image by image from the kept weights, in the channels' own scale."""
    maps = Uniad().scores(context(fitted)).arrays["patch_maps"]
    network = Reconstruction((4, 6), 8, PARAMS)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(fitted.arrays["weights"][-1]), network.parameters())
    tokens = to_tokens(TEST.maps, PARAMS.layers).numpy()
    scaled = torch.from_numpy((tokens - fitted.arrays["mean"]) / fitted.arrays["spread"]).flatten(1, 2)
    with torch.no_grad():
        errors = np.sqrt(np.square((network(scaled) - scaled).numpy()).sum(axis=2))
    np.testing.assert_allclose(maps, errors.reshape(11, 4, 6), rtol=1e-4)


def test_image_scores_are_maxima_of_averaged_maps(fitted: Result) -> None:
    """A square of one pixel: the expanded map's maximum; one of the whole height: of its sliding means."""
    detector = Uniad()
    for pool_size in (1, 16):
        params = PARAMS.model_copy(update={"pool_size": pool_size})
        arrays = detector.scores(context(fitted, params=params)).arrays
        maps = detector.anomaly_maps(arrays["patch_maps"], (16, 24), params)
        places = range(24 - pool_size + 1)
        means = [maps[:, :16, at : at + pool_size].mean(axis=(1, 2)) for at in places]
        wanted = maps.max(axis=(1, 2)) if pool_size == 1 else np.max(means, axis=0)
        np.testing.assert_allclose(arrays["image_scores"], wanted, rtol=1e-5)


def test_a_score_does_not_depend_on_the_other_images(fitted: Result) -> None:
    """The same bits alone, and as the last of eleven."""
    whole, alone = (Uniad().scores(context(fitted, features)).arrays for features in (TEST, TEST.pick(10)))
    assert np.array_equal(alone["patch_maps"][0], whole["patch_maps"][10])
    assert alone["image_scores"][0] == whole["image_scores"][10]


def test_over_the_epochs_the_last_row_is_the_model(fitted: Result) -> None:
    """A row a snapshot; what the fitted model says stands last, to the bit."""
    detector = Uniad()
    arrays = detector.over_epochs(context(fitted)).arrays
    assert arrays["epochs"].tolist() == [1, 2, 3, 4]
    assert arrays["image_scores"].shape == (4, 11)
    assert np.array_equal(arrays["image_scores"][-1], detector.scores(context(fitted)).arrays["image_scores"])
    assert not np.array_equal(arrays["image_scores"][0], arrays["image_scores"][-1])


def test_snapshots_are_no_part_of_the_model(fitted: Result) -> None:
    """Bytes of the last parameters and of the channels' scale alone."""
    n_parameters = int(fitted.facts["n_parameters"])
    assert Uniad().model_bytes({"training": fitted}, PARAMS) == 4 * (n_parameters + 2 * 8)
    assert Uniad().fit_facts({"training": fitted}, PARAMS)["n_parameters"] == n_parameters


# What is refused.


def test_a_mask_over_the_whole_grid_is_refused() -> None:
    """On 4 x 6 patches a square of 7 leaves nothing to see; of 5 it does, and without the mask any size does."""
    with pytest.raises(MethodError, match="mask_size 7 hides all of a grid of 4 x 6") as caught:
        fit(PARAMS.model_copy(update={"mask_size": 7}))
    assert caught.value.remedy.startswith("use 5 or less")
    for fine in ({"mask_size": 5}, {"mask_size": 7, "neighbour_mask": False}):
        assert np.isfinite(fit(PARAMS.model_copy(update=fine)).arrays["weights"]).all()


def test_no_images_are_refused() -> None:
    """There is nothing to be trained on."""
    with pytest.raises(MethodError, match="the train part has no image"):
        fit(features=TRAIN.pick())


def test_features_that_are_not_finite_are_refused() -> None:
    """One NaN is enough."""
    features = draw(3, seed=4)
    features.maps["b"][1, 0, 2, 2] = torch.nan
    with pytest.raises(MethodError, match="NaN or infinity"):
        fit(features=features)


def test_a_square_larger_than_the_image_is_refused(fitted: Result) -> None:
    """The remedy is the largest that fits."""
    with pytest.raises(MethodError, match="pool_size is 17") as caught:
        Uniad().scores(context(fitted, params=PARAMS.model_copy(update={"pool_size": 17})))
    assert caught.value.remedy == "use 16 or less"


def test_more_tokens_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """7 images x 24 patches x 8 channels x 4 bytes = 5376 bytes: refused at 5900 free, at most nine tenths of it."""
    monkeypatch.setattr(detecting, "free_bytes", lambda _: 5900)
    with pytest.raises(MethodError, match="7 training images"):
        fit()
    monkeypatch.setattr(detecting, "free_bytes", lambda _: 6000)
    fit()
