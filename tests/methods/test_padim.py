"""PaDiM through anomalib's own model: the same figures as the stock model, and what it refuses.

Whatever computes is marked slow, for importing anomalib takes 10 to 17 s.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.spatial.distance import mahalanobis

from adloc.methods import memory
from adloc.methods.detector import Result, StepContext
from adloc.methods.errors import MethodError
from adloc.methods.memory import free_bytes
from adloc.methods.padim import detector as padim
from adloc.methods.padim import memory as padim_memory
from adloc.methods.padim.detector import Padim
from adloc.methods.padim.params import PADIM, PadimParams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CPU = torch.device("cpu")
LAYERS = ("layer1", "layer2", "layer3")
PARAMS = PadimParams(backbone="resnet18", weights="random", n_features=30)


@dataclass(frozen=True)
class HeldFeatures:
    """Features in memory, handed out in batches of at most `largest` images."""

    maps: dict[str, torch.Tensor]
    image_size: tuple[int, int]
    largest: int = 1000

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(next(iter(self.maps.values())))

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, torch.Tensor]]:
        """Yield consecutive images."""
        step = min(batch_size, self.largest)
        for start in range(0, self.n_images, step):
            yield {layer: self.maps[layer][start : start + step] for layer in layers}

    def pick(self, *images: int) -> HeldFeatures:
        """Keep the named images, in this order."""
        return replace(self, maps={layer: maps[list(images)] for layer, maps in self.maps.items()})


def fit(features: HeldFeatures, params: PadimParams = PARAMS, seed: int = 42) -> Result:
    """Run the fit step on the CPU."""
    return Padim().gaussian(StepContext(params, features, {}, seed, CPU))


def score(features: HeldFeatures, fitted: Result, params: PadimParams = PARAMS) -> Result:
    """Run the score step on the CPU."""
    return Padim().scores(StepContext(params, features, {"gaussian": fitted}, 42, CPU))


def floats(result: Result, name: str) -> NDArray[np.float32]:
    """Read an array that must be float32."""
    array = result.arrays[name]
    assert array.dtype == np.float32
    return array.astype(np.float32)


def noise(n_images: int, *, seed: int = 0, size: tuple[int, int] = (96, 72)) -> HeldFeatures:
    """Features of a made-up backbone with strides 4, 8 and 16."""
    generator = torch.Generator().manual_seed(seed)
    maps = {
        layer: torch.rand(n_images, channels, size[0] // stride, size[1] // stride, generator=generator)
        for layer, channels, stride in zip(LAYERS, (16, 24, 32), (4, 8, 16), strict=True)
    }
    return HeldFeatures(maps, size)


# What is declared.


def test_declaration_imports_neither_torch_nor_anomalib() -> None:
    """The planner reads PaDiM's declaration without loading torch or anomalib."""
    code = "import sys, adloc.methods.padim.params; sys.exit(bool({'torch', 'anomalib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_every_parameter_is_declared_where_it_acts() -> None:
    """Each parameter beyond the backbone's belongs to a step or to the maps, so no change goes unseen."""
    used = {name for step in PADIM.steps for name in step.params} | set(PADIM.map_params)
    assert used == set(PadimParams.model_fields) - {"backbone", "weights"}


def test_every_step_is_a_method_of_the_detector() -> None:
    """The detector computes each declared step under its declared name."""
    assert PADIM.detector == f"{Padim.__module__}:{Padim.__name__}"
    assert all(callable(getattr(Padim, step.name)) for step in PADIM.steps)


def test_every_parameter_states_rule_and_remedy() -> None:
    """A wrong value can be answered with the rule and a way out."""
    for field in PadimParams.model_fields.values():
        assert isinstance(field.json_schema_extra, dict)
        assert set(field.json_schema_extra) == {"rule", "remedy"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_features", 0),
        ("n_features", True),
        ("n_features", 2.5),
        ("layers", []),
        ("layers", ["layer1", "layer1"]),
        ("smoothing_sigma", -1),
        ("smoothing_sigma", float("nan")),
        ("image_score", "mean"),
        ("image_score", 0),
        ("image_score", 101),
        ("backbone", "resnet19"),
        ("weights", "weights.zip"),
        ("coreset_ratio", 0.1),
    ],
)
def test_wrong_parameters_are_refused(key: str, value: object) -> None:
    """A value outside its rule, and a parameter that PaDiM has not, are errors at that key."""
    with pytest.raises(ValidationError) as caught:
        PadimParams.model_validate({key: value})
    assert [error["loc"] for error in caught.value.errors()] == [(key,)]


def test_a_refused_value_is_answered_with_rule_and_remedy() -> None:
    """The message is the field's rule, not Pydantic's words about unions; the remedy stands beside it."""
    with pytest.raises(ValidationError, match="it must be max, or a number q above 0 and at most 100") as caught:
        PadimParams.model_validate({"image_score": "mean"})
    assert caught.value.errors()[0]["ctx"]["remedy"].startswith("use max")


def test_whole_numbers_mean_the_same_as_decimal_ones() -> None:
    """`smoothing_sigma: 4` and `4.0` are one value, so one stage."""
    whole = PadimParams.model_validate({"smoothing_sigma": 4, "image_score": 1})
    decimal = PadimParams.model_validate({"smoothing_sigma": 4.0, "image_score": 1.0})
    assert whole.model_dump_json() == decimal.model_dump_json()


# What is refused before anomalib is imported.


class BegunError(Exception):
    """The checks were passed and the fit began."""


@pytest.fixture
def _without_anomalib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the import of anomalib, and stop where its model would be built."""

    def begin(*_: object) -> None:
        raise BegunError

    monkeypatch.setattr(padim, "padim_module", lambda: None)
    monkeypatch.setattr(padim, "_build_model", begin)


@pytest.mark.usefixtures("_without_anomalib")
def test_more_features_than_channels_are_refused() -> None:
    """n_features above the layers' channels names both numbers and the largest valid choice."""
    with pytest.raises(MethodError, match="73, and layer1, layer2, layer3 have 72 channels") as caught:
        fit(noise(4), PARAMS.model_copy(update={"n_features": 73}))
    assert caught.value.remedy.startswith("use 72")


@pytest.mark.usefixtures("_without_anomalib")
@pytest.mark.parametrize("n_images", [0, 1])
def test_a_single_training_image_is_refused(n_images: int) -> None:
    """No covariance is made of fewer than two images."""
    with pytest.raises(MethodError, match=f"{n_images} training image"):
        fit(noise(n_images))


@pytest.mark.usefixtures("_without_anomalib")
def test_a_fit_beyond_the_free_memory_is_refused_with_a_choice_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names the largest n_features that fits: with it the fit begins, with one more it does not."""
    monkeypatch.setattr(padim_memory, "free_bytes", lambda _: 4_000_000)
    with pytest.raises(MethodError, match=r"n_features 30 takes .* GB, and cpu has 0\.004 GB free") as caught:
        fit(noise(4))
    largest = int(caught.value.remedy.split()[3])
    assert "image.size" in caught.value.remedy
    assert 1 <= largest < 30
    with pytest.raises(BegunError):
        fit(noise(4), PARAMS.model_copy(update={"n_features": largest}))
    with pytest.raises(MethodError):
        fit(noise(4), PARAMS.model_copy(update={"n_features": largest + 1}))


@pytest.mark.usefixtures("_without_anomalib")
def test_without_any_fitting_choice_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """When even one feature is too much, n_features is not offered as the way out."""
    monkeypatch.setattr(padim_memory, "free_bytes", lambda _: 1000)
    with pytest.raises(MethodError, match=r"no n_features is low enough; or lower image\.size"):
        fit(noise(4))


@pytest.mark.usefixtures("_without_anomalib")
def test_unknown_free_memory_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell its free memory, the fit is tried."""
    monkeypatch.setattr(padim_memory, "free_bytes", lambda _: None)
    with pytest.raises(BegunError):
        fit(noise(4))


@pytest.mark.parametrize(
    ("folder", "limit", "used", "prefix"),
    [
        ("/sys/fs/cgroup", "memory.max", "memory.current", ""),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ],
)
def test_free_memory_is_what_the_container_leaves(
    monkeypatch: pytest.MonkeyPatch, folder: str, limit: str, used: str, prefix: str
) -> None:
    """The limit less what is used of it, but for the file cache, which can be given up; never below nothing."""
    gib = 2**30
    files = {
        "/proc/meminfo": f"MemTotal: {99 << 20} kB\nMemAvailable: {50 << 20} kB\n",
        f"{folder}/{limit}": f"{8 * gib}\n",
        f"{folder}/{used}": f"{7 * gib}\n",
        f"{folder}/memory.stat": f"anon {5 * gib}\n{prefix}inactive_file {gib}\n{prefix}active_file {gib // 2}\n",
    }
    monkeypatch.setattr(memory, "_read_text", lambda path: files.get(str(path), ""))
    assert free_bytes(CPU) == 2.5 * gib
    files[f"{folder}/{used}"] = f"{20 * gib}\n"
    assert free_bytes(CPU) == 0
    files[f"{folder}/{limit}"] = "max\n"
    assert free_bytes(CPU) == 50 * gib


def test_free_memory_is_read_from_the_system() -> None:
    """The CPU's free memory is above nothing; that of a device without memory is unknown."""
    free = free_bytes(CPU)
    assert free is None or free > 0
    assert free_bytes(torch.device("meta")) is None


@pytest.mark.usefixtures("_without_anomalib")
def test_a_blur_larger_than_the_map_is_refused() -> None:
    """A blur that would mirror more pixels than there are names the largest sigma for the size."""
    with pytest.raises(MethodError, match="reaches 16 pixels over maps of 16 x 40") as caught:
        Padim().anomaly_maps(np.zeros((1, 4, 4), np.float32), (16, 40), PARAMS)
    assert caught.value.remedy.startswith("use 3 or less")


@pytest.mark.usefixtures("_without_anomalib")
def test_cost_is_that_of_the_gaussian() -> None:
    """Fit time is the Gaussian step's; the model is mean, inverse covariance and channel indices."""
    arrays: dict[str, NDArray[np.generic]] = {
        "mean": np.zeros((3, 8), np.float32),
        "inverse_covariance": np.zeros((8, 3, 3), np.float32),
        "idx": np.zeros(3, np.int64),
    }
    results = {"gaussian": Result(arrays, seconds=2.5), "scores": Result({}, seconds=9.0)}
    assert Padim().fit_seconds(results, PARAMS) == 2.5
    assert Padim().model_bytes(results, PARAMS) == 4 * (3 * 8 + 8 * 9) + 8 * 3


# What is computed.


def compare_with_stock(network: torch.nn.Module, train: torch.Tensor, test: torch.Tensor, n_features: int) -> None:
    """Fit and score the same images through the stock model's forward pass and through ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from anomalib.models.image.padim import torch_model

    # anomalib declares the backbone a string, and takes a module as well.
    model: Any = torch_model.PadimModel
    stock = model(network, list(LAYERS), pre_trained=False, n_features=n_features)
    size = (train.shape[2], train.shape[3])
    params = PARAMS.model_copy(update={"n_features": n_features})
    train_features = HeldFeatures(stock.feature_extractor(train), size)
    test_features = HeldFeatures(stock.feature_extractor(test), size)
    fitted = fit(train_features, params)
    scored = score(test_features, fitted, params)
    maps = Padim().anomaly_maps(floats(scored, "patch_maps"), size, params)

    stock.idx = torch.from_numpy(fitted.arrays["idx"])
    stock.train()(train)
    stock.fit()
    expected = stock.eval()(test)
    np.testing.assert_allclose(floats(scored, "image_scores"), expected.pred_score.squeeze(1), rtol=1e-5)
    np.testing.assert_allclose(maps, expected.anomaly_map.squeeze(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(floats(fitted, "mean"), stock.gaussian.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        floats(fitted, "inverse_covariance"),
        stock.gaussian.inv_covariance,
        atol=1e-5 * float(stock.gaussian.inv_covariance.abs().max()),
    )


@pytest.mark.slow
@pytest.mark.parametrize("n_features", [1, 40])
def test_scores_and_maps_are_the_stock_models_on_images_that_are_not_square(n_features: int) -> None:
    """The forward pass of anomalib with the same network and channels gives the same scores and maps.

    With one feature, two of the three layers have no channel that is kept.
    """
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = resnet18(weights=None).eval()
    images = torch.rand(21, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    compare_with_stock(network, images[:16], images[16:], n_features)


@pytest.mark.slow
def test_scores_and_maps_are_the_stock_models_on_real_images(industrial_root: Path, trunk_weights: Path) -> None:
    """The same on photographs of bottles, normal and broken, with a trained network."""
    from PIL import Image
    from safetensors.torch import load_file
    from torchvision.models import resnet18

    def read(paths: list[Path]) -> torch.Tensor:
        pixels = [
            np.asarray(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)) for path in paths
        ]
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
        return (images - torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)) / torch.tensor((0.229, 0.224, 0.225)).view(
            3, 1, 1
        )

    network = resnet18(weights=None).eval()
    missing, unexpected = network.load_state_dict(load_file(trunk_weights), strict=False)
    assert not unexpected
    assert all(name.startswith(("layer4.", "fc.")) for name in missing)
    bottle = industrial_root / "bottle"
    train = sorted((bottle / "train" / "good").iterdir())[:24]
    test = sorted((bottle / "test" / "good").iterdir())[:5]
    test += sorted((bottle / "test" / "broken_small").iterdir())[:6]
    compare_with_stock(network, read(train), read(test), 100)


@pytest.mark.slow
def test_patch_maps_are_mahalanobis_distances() -> None:
    """A patch map holds SciPy's distance to NumPy's covariance, regularised as anomalib states."""
    train, test = noise(40), noise(3, seed=1)
    params = PARAMS.model_copy(update={"layers": ("layer1",), "n_features": 7})
    fitted = fit(train, params)
    scored = score(test, fitted, params)
    kept = fitted.arrays["idx"].astype(int)
    for row, column in ((0, 0), (5, 17), (23, 2)):
        observations = train.maps["layer1"][:, kept, row, column].numpy().astype(np.float64)
        covariance = np.cov(observations, rowvar=False) + (0.01 + 1e-5) * np.eye(7)
        for image in range(3):
            patch = test.maps["layer1"][image, kept, row, column].numpy().astype(np.float64)
            expected = mahalanobis(patch, observations.mean(0), np.linalg.inv(covariance))
            assert scored.arrays["patch_maps"][image, row, column] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("largest", [1, 3, 7])
def test_results_do_not_depend_on_the_batch_size(largest: int) -> None:
    """Features that come in smaller batches give the same bits, in the fit and in the scores."""
    train, test = noise(19), noise(10, seed=1)
    fitted, small_fitted = fit(train), fit(replace(train, largest=largest))
    scored, small_scored = score(test, fitted), score(replace(test, largest=largest), fitted)
    for whole, small in ((fitted, small_fitted), (scored, small_scored)):
        assert whole.arrays.keys() == small.arrays.keys()
        for name in whole.arrays:
            np.testing.assert_array_equal(whole.arrays[name], small.arrays[name])


@pytest.mark.slow
def test_an_image_scores_the_same_in_any_company() -> None:
    """One image's score and map have the same bits alone, last, or between others."""
    train, test = noise(19), noise(10, seed=1)
    fitted = fit(train)
    together = score(test, fitted)
    for image in (0, 4, 9):
        for company, place in (((image,), 0), ((1, 2, 3, image), 3), ((image, 8, 7, 6, 5, 3, 2, 1, 0), 0)):
            scored = score(test.pick(*company), fitted)
            for name in ("image_scores", "patch_maps"):
                np.testing.assert_array_equal(scored.arrays[name][place], together.arrays[name][image])


@pytest.mark.slow
def test_channels_follow_from_the_seed_alone() -> None:
    """The array idx is the beginning of torch's permutation for the seed, whatever was drawn before."""
    for seed in (0, 42):
        torch.rand(3)
        expected = torch.randperm(72, generator=torch.Generator().manual_seed(seed))[:30]
        np.testing.assert_array_equal(fit(noise(3), seed=seed).arrays["idx"], expected)


@pytest.mark.slow
def test_global_random_state_is_left_alone() -> None:
    """Neither step draws from torch's global generator."""
    before = torch.random.get_rng_state().clone()
    score(noise(2, seed=1), fit(noise(3)))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
def test_image_score_is_the_maximum_of_the_anomaly_map() -> None:
    """At the input's size the expanded map peaks at the image score."""
    scored = score(noise(5, seed=1), fit(noise(9)))
    maps = Padim().anomaly_maps(floats(scored, "patch_maps"), (96, 72), PARAMS)
    np.testing.assert_array_equal(maps.max((1, 2)), scored.arrays["image_scores"])


@pytest.mark.slow
@pytest.mark.parametrize(("percent", "n_top"), [(100.0, 96 * 72), (10.0, 692), (1e-9, 1)])
def test_image_score_may_be_the_mean_of_the_largest_values(percent: float, n_top: int) -> None:
    """The top q percent of the map's values, their number rounded up, are averaged."""
    params = PARAMS.model_copy(update={"image_score": percent})
    scored = score(noise(3, seed=1), fit(noise(9)), params)
    maps = Padim().anomaly_maps(floats(scored, "patch_maps"), (96, 72), params)
    expected = np.sort(maps.reshape(3, -1).astype(np.float64), 1)[:, -n_top:].mean(1)
    np.testing.assert_allclose(floats(scored, "image_scores"), expected, rtol=1e-5)


@pytest.mark.slow
def test_sigma_zero_leaves_the_upsampled_map_as_it_is() -> None:
    """Without a blur the anomaly map is torch's bilinear interpolation of the patch map."""
    patches = np.random.default_rng(0).random((11, 6, 4), np.float32)
    maps = Padim().anomaly_maps(patches, (48, 40), PARAMS.model_copy(update={"smoothing_sigma": 0.0}))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(patches).unsqueeze(1), size=(48, 40), mode="bilinear", align_corners=False
    )
    np.testing.assert_array_equal(maps, expected.squeeze(1))


@pytest.mark.slow
def test_patch_maps_do_not_depend_on_the_blur() -> None:
    """The blur changes image scores; the patch maps stay the bare distances."""
    test, fitted = noise(3, seed=1), fit(noise(9))
    blurred = score(test, fitted)
    bare = score(test, fitted, PARAMS.model_copy(update={"smoothing_sigma": 0.0}))
    np.testing.assert_array_equal(blurred.arrays["patch_maps"], bare.arrays["patch_maps"])
    assert (floats(blurred, "image_scores") < floats(bare, "image_scores")).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_model_mapped_from_disk_gives_the_same_scores(tmp_path: Path) -> None:
    """Read-only arrays from files score as those in memory do, without a warning."""
    test, fitted = noise(3, seed=1), fit(noise(9))
    mapped = {}
    for name, array in fitted.arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    expected = score(test, fitted).arrays
    arrays = score(test, Result(mapped)).arrays
    for name in expected:
        np.testing.assert_array_equal(arrays[name], expected[name])


@pytest.mark.slow
def test_the_first_layer_gives_the_grid() -> None:
    """Patch maps have the height and width of the first layer's maps, in this order."""
    params = PARAMS.model_copy(update={"layers": ("layer2", "layer3")})
    scored = score(noise(2, seed=1), fit(noise(4), params), params)
    assert scored.arrays["patch_maps"].shape == (2, 12, 9)
    assert scored.arrays["image_scores"].shape == (2,)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    """On a GPU scores agree with the CPU's to float32 rounding."""
    cuda = torch.device("cuda")
    train, test = noise(19), noise(10, seed=1)
    fitted = Padim().gaussian(StepContext(PARAMS, train, {}, 42, cuda))
    scored = Padim().scores(StepContext(PARAMS, test, {"gaussian": fitted}, 42, cuda))
    expected = score(test, fit(train))
    np.testing.assert_allclose(floats(scored, "image_scores"), floats(expected, "image_scores"), rtol=1e-3)
