"""PaDiM's Gaussians, from blocks of rows, from sums, and of low rank: against NumPy's covariance, SciPy's distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from adloc.methods.errors import MethodError
from adloc.methods.padim import gaussian
from adloc.methods.padim import memory as padim_memory
from adloc.methods.padim.detector import Padim
from adloc.methods.padim.explaining import RIDGE
from adloc.methods.padim.gaussian import (
    Shape,
    block_bytes,
    fit_full,
    fit_low_rank,
    inverses_at,
    is_low_rank,
    is_streamed,
    low_rank_distance,
    observe,
)
from adloc.methods.padim.memory import check_fit_memory
from adloc.methods.padim.params import PadimParams
from detectors import CPU, HeldFeatures, take

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

HEIGHT, WIDTH = 3, 4


class Drawn:
    """Embeddings (N, C, H, W) far from zero, handed out some at a time; every pass over them is counted."""

    def __init__(self, n_images: int, n_features: int, at_once: int = 8) -> None:
        """Draw them."""
        generator = torch.Generator().manual_seed(n_images)
        self.all = 50 + 3 * torch.randn(n_images, n_features, HEIGHT, WIDTH, generator=generator)
        self.shape = Shape(n_images, (n_features,), self.all[0].numel(), HEIGHT, WIDTH)
        self.n_features = n_features
        self.n_passes = 0
        self._at_once = at_once

    def __call__(self) -> Iterator[torch.Tensor]:
        """Begin a pass."""
        self.n_passes += 1
        return iter(self.all.split(self._at_once))

    def distances(self, patches: torch.Tensor) -> NDArray[np.float64]:
        """SciPy's distances of embeddings (n, C, H, W) to NumPy's Gaussians, in float64."""
        found = np.empty((len(patches), HEIGHT, WIDTH))
        for row, column in np.ndindex(HEIGHT, WIDTH):
            here = self.all[:, :, row, column].double().numpy()
            inverse = np.linalg.inv(np.cov(here, rowvar=False) + RIDGE * np.eye(self.n_features))
            for number, patch in enumerate(patches[:, :, row, column].double().numpy()):
                found[number, row, column] = mahalanobis(patch, here.mean(axis=0), inverse)
        return found


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little at a time that a row of the grid is a block."""
    monkeypatch.setattr(gaussian, "BLOCK_BYTES", 1)


@pytest.mark.parametrize(("block_bytes", "n_passes"), [(2**29, 1), (2 * 4 * 9 * 5 * WIDTH, 2), (1, HEIGHT)])
def test_rows_are_observed_in_as_few_passes_as_blocks_hold(
    monkeypatch: pytest.MonkeyPatch, block_bytes: int, n_passes: int
) -> None:
    """Every row's observations come once and in order, whatever is held at a time: all, two rows, or one."""
    monkeypatch.setattr(gaussian, "BLOCK_BYTES", block_bytes)
    drawn = Drawn(9, 5)
    for row, observations in enumerate(observe(drawn, drawn.shape, 5)):
        torch.testing.assert_close(observations, drawn.all[:, :, row], rtol=0, atol=0)
    assert row == HEIGHT - 1
    assert drawn.n_passes == n_passes


@pytest.mark.usefixtures("small_blocks")
def test_sums_give_the_mean_and_the_inverse_covariance() -> None:
    """From one pass a block, with values far from zero, they are NumPy's in float64 to single precision."""
    drawn = Drawn(40, 6)
    assert is_streamed(drawn.shape, 6)
    fitted = fit_full(None, drawn, drawn.shape, 6, CPU)  # type: ignore[arg-type]  # no observation reaches anomalib
    for position, (row, column) in enumerate(np.ndindex(HEIGHT, WIDTH)):
        here = drawn.all[:, :, row, column].double().numpy()
        inverse = np.linalg.inv(np.cov(here, rowvar=False) + RIDGE * np.eye(6))
        np.testing.assert_allclose(fitted["mean"][:, position], here.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(fitted["inverse_covariance"][position], inverse, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("small_blocks")
def test_sums_do_not_depend_on_how_images_come() -> None:
    """Batches of one, of seven and of all give the same bits."""
    found = []
    for at_once in (1, 7, 50):
        drawn = Drawn(50, 6, at_once)
        found.append(fit_full(None, drawn, drawn.shape, 6, CPU))  # type: ignore[arg-type]
    for other in found[1:]:
        np.testing.assert_array_equal(other["inverse_covariance"], found[0]["inverse_covariance"])


def test_sums_are_kept_only_where_they_are_less_than_many_observations() -> None:
    """Not while observations fill one block, nor while the images are fewer than two a channel."""
    one_block = 2**29 // (4 * 100 * 56 * 56)
    assert not is_streamed(Shape(one_block, (256,), 0, 56, 56), 100)
    assert is_streamed(Shape(one_block + 1, (256,), 0, 56, 56), 100)
    assert not is_streamed(Shape(1100, (1792,), 0, 56, 56), 550)
    assert is_streamed(Shape(1101, (1792,), 0, 56, 56), 550)


@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_held_beside_the_model_does_not_grow_with_the_images(*, streamed: bool) -> None:
    """A block holds at most its bytes for 100 and for 7,000 images of Wide-ResNet-50 with 550 features."""
    for n_images in (100, 7000):
        shape = Shape(n_images, (1792,), 0, 56, 56)
        assert block_bytes(shape, 550, streamed=streamed) <= (2**29 if n_images == 100 or streamed else 2**30)


@pytest.mark.parametrize(("n_images", "n_features"), [(2, 3), (5, 12), (11, 12)])
def test_distances_of_low_rank_are_those_of_the_full_covariance(n_images: int, n_features: int) -> None:
    """To 1e-4, of patches as near to the mean as those that were fitted on, and ten times as far."""
    drawn = Drawn(n_images, n_features)
    fitted = fit_low_rank(drawn, drawn.shape, n_features, CPU)
    assert fitted["factors"].shape == (HEIGHT * WIDTH, n_images, n_features)
    others = Drawn(30, n_features).all
    patches = torch.cat([others, 50 + 10 * (others - 50)])
    found = low_rank_distance(patches, [torch.from_numpy(fitted[name]) for name in ("mean", "factors")])
    np.testing.assert_allclose(found[:, 0], drawn.distances(patches), rtol=1e-4)


def test_low_rank_is_for_fewer_images_than_channels() -> None:
    """With as many images the inverses are no larger than the factors, and are kept."""
    assert is_low_rank("low_rank", 11, 12)
    assert not is_low_rank("low_rank", 12, 12)
    assert not is_low_rank("full", 11, 12)


def test_two_images_that_are_the_same_have_a_covariance_of_low_rank() -> None:
    """Deviations of zero leave the ridge alone: the distance is the Euclidean one over its root."""
    drawn = Drawn(1, 6)
    drawn.all = drawn.all.expand(2, -1, -1, -1)
    drawn.shape = Shape(2, (6,), 0, HEIGHT, WIDTH)
    fitted = fit_low_rank(drawn, drawn.shape, 6, CPU)
    patches = drawn.all[:1] + 1
    found = low_rank_distance(patches, [torch.from_numpy(fitted[name]) for name in ("mean", "factors")])
    np.testing.assert_allclose(found, np.full((1, 1, HEIGHT, WIDTH), np.sqrt(6 / RIDGE)), rtol=1e-5)


def test_inverses_are_read_from_factors() -> None:
    """At the positions that are asked for, NumPy's inverse of covariance and ridge."""
    drawn = Drawn(5, 12)
    fitted = fit_low_rank(drawn, drawn.shape, 12, CPU)
    found = inverses_at(fitted, np.array([11, 2]))
    for inverse, (row, column) in zip(found, ((2, 3), (0, 2)), strict=True):
        covariance = np.cov(drawn.all[:, :, row, column].double().numpy(), rowvar=False) + RIDGE * np.eye(12)
        np.testing.assert_allclose(inverse.numpy() @ covariance, np.eye(12), atol=2e-3)


def test_a_full_covariance_beyond_the_memory_is_answered_with_low_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 images and 550 features at 224: 3.8 GB of inverses do not fit into 3 GB, 0.4 GB of factors do."""
    monkeypatch.setattr(padim_memory, "free_bytes", lambda _: 3_000_000_000)
    shape = Shape(60, (256, 512, 1024), 56 * 56 * 256 + 28 * 28 * 512 + 14 * 14 * 1024, 56, 56)
    with pytest.raises(MethodError, match=r"to fit 60 images .* n_features 550 takes 4\.\d+ GB") as caught:
        check_fit_memory(shape, PadimParams(n_features=550), CPU)
    assert "covariance: low_rank" in caught.value.remedy
    check_fit_memory(shape, PadimParams(n_features=550, covariance="low_rank"), CPU)


def test_the_full_covariance_is_no_value_of_its_own() -> None:
    """Left out of a run's plain values, the parameter changes no key and no run id that is older than it."""
    assert "covariance" not in PadimParams().model_dump(mode="json")
    assert PadimParams(covariance="low_rank").model_dump(mode="json")["covariance"] == "low_rank"
    assert PadimParams.model_validate(PadimParams().model_dump()).covariance == "full"


@pytest.mark.slow
def test_scores_of_low_rank_are_anomalibs_on_bottles(industrial_root: Path, trunk_weights: Path) -> None:
    """Twelve bottles and 100 channels: maps and scores within 1e-4 of the full covariance's, from a ninth of the model.

    Leaving one out, which is of the observations alone, gives the same bits.
    """
    from PIL import Image

    from adloc.methods.backbone import resolve_weights
    from adloc.methods.detector import LeaveOneOut, StepContext
    from adloc.methods.network import load_backbone
    from adloc.methods.padim.params import PADIM

    layers, side = ("layer1", "layer2", "layer3"), 96
    network = load_backbone("resnet18", resolve_weights("resnet18", str(trunk_weights)), layers, 0, CPU)

    def read(folder: str, n_images: int) -> HeldFeatures:
        paths = sorted((industrial_root / "bottle" / folder).iterdir())[:n_images]
        pixels = np.stack([np.asarray(Image.open(p).convert("RGB").resize((side, side))) for p in paths])
        images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)) / 255
        return HeldFeatures(network(images), (side, side))

    train, test = read("train/good", 11), read("test/broken_small", 4)
    full = PadimParams(backbone="resnet18", weights=str(trunk_weights))
    low_rank = full.model_copy(update={"covariance": "low_rank"})
    expected, found = (take(PADIM, params, train, test) for params in (full, low_rank))
    for name in ("image_scores", "patch_maps"):
        np.testing.assert_allclose(found["scores"].arrays[name], expected["scores"].arrays[name], rtol=1e-4)
    detector: LeaveOneOut = Padim()
    sizes = [Padim().model_bytes(results, full) for results in (expected, found)]
    assert sizes[0] > 8 * sizes[1]
    left_out = [
        detector.leave_one_out(StepContext(params, train, results, 42, CPU)).arrays["patch_maps"]
        for params, results in ((full, expected), (low_rank, found))
    ]
    np.testing.assert_array_equal(*left_out)
