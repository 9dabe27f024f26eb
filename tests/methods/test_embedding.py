"""Patch embeddings and anomaly maps against plain definitions, on maps that are not square."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from adloc.methods.anomaly_map import expand_maps
from adloc.methods.embedding import embed, embed_projected, embed_some
from adloc.methods.patchcore.params import PatchCoreParams


def draw(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Normal noise, one map a layer."""
    generator = torch.Generator().manual_seed(3)
    return {layer: torch.randn(shape, generator=generator) for layer, shape in shapes.items()}


FEATURES = draw(layer1=(2, 3, 12, 20), layer2=(2, 4, 6, 10), layer3=(2, 5, 3, 5))


def average_by_loop(maps: Tensor, size: int) -> Tensor:
    """Mean over size x size places, those outside the map taken as zeros."""
    margin = (size - 1) // 2
    _, _, height, width = maps.shape
    pooled = torch.zeros_like(maps)
    for row, column in product(range(height), range(width)):
        rows = slice(max(row - margin, 0), row + margin + 1)
        columns = slice(max(column - margin, 0), column + margin + 1)
        pooled[:, :, row, column] = maps[:, :, rows, columns].sum((2, 3)) / size**2
    return pooled


def upsample_by_loop(maps: Tensor, height: int, width: int) -> Tensor:
    """Bilinear interpolation between the centres of pixels taken as areas."""
    upsampled = torch.empty(*maps.shape[:2], height, width)
    for row, column in product(range(height), range(width)):
        y = min(max((row + 0.5) * maps.shape[2] / height - 0.5, 0), maps.shape[2] - 1)
        x = min(max((column + 0.5) * maps.shape[3] / width - 0.5, 0), maps.shape[3] - 1)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, maps.shape[2] - 1), min(left + 1, maps.shape[3] - 1)
        upper = maps[:, :, top, left] * (1 - x + left) + maps[:, :, top, right] * (x - left)
        lower = maps[:, :, bottom, left] * (1 - x + left) + maps[:, :, bottom, right] * (x - left)
        upsampled[:, :, row, column] = upper * (1 - y + top) + lower * (y - top)
    return upsampled


@pytest.mark.parametrize("patch_size", [1, 3, 5])
@pytest.mark.parametrize("layers", [("layer1",), ("layer2", "layer3"), ("layer3", "layer1", "layer2")])
def test_embedding_is_its_definition(layers: tuple[str, ...], patch_size: int) -> None:
    """Average over the neighbourhood, upsample to the largest map, put the channels together as named."""
    height, width = max(FEATURES[layer].shape[2:] for layer in layers)
    pooled = [average_by_loop(FEATURES[layer], patch_size) for layer in layers]
    expected = torch.cat([upsample_by_loop(each, height, width) for each in pooled], 1).permute(0, 2, 3, 1)
    found = embed(FEATURES, PatchCoreParams(layers=layers, patch_size=patch_size))
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_neighbourhoods_are_torchs_default_pooling() -> None:
    """Zeros outside the map count in the average, as in torch's AvgPool2d."""
    found = embed(FEATURES, PatchCoreParams(layers=("layer2",), patch_size=3))
    expected = nn.AvgPool2d(3, stride=1, padding=1)(FEATURES["layer2"]).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("stride", "rows"), [(2, [0, 2, 4]), (3, [1, 4]), (100, [2])])
def test_stride_keeps_patches_of_the_full_grid(stride: int, rows: list[int]) -> None:
    """A stride keeps patches exactly as stride 1 has them, and at least one."""
    full = embed(FEATURES, PatchCoreParams())
    kept = embed(FEATURES, PatchCoreParams(patch_stride=stride))
    columns = {2: [0, 2, 4, 6, 8], 3: [1, 4, 7], 100: [4]}[stride]
    assert torch.equal(kept, full[:, rows][:, :, columns])


def test_cosine_embeddings_have_unit_length() -> None:
    """With the cosine metric an embedding keeps its direction and has length 1."""
    plain = embed(FEATURES, PatchCoreParams())
    unit = embed(FEATURES, PatchCoreParams(metric="cosine"))
    torch.testing.assert_close(unit, plain / plain.norm(dim=-1, keepdim=True))


@pytest.mark.slow
def test_embedding_equals_anomalibs() -> None:
    """For two layers and p = 3 the embedding is that of anomalib's PatchCore."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(layers=["layer2", "layer3"], backbone="resnet18", pre_trained=False)
    pooled = {layer: model.feature_pooler(FEATURES[layer]) for layer in ("layer2", "layer3")}
    expected = model.generate_embedding(pooled).permute(0, 2, 3, 1)
    torch.testing.assert_close(embed(FEATURES, PatchCoreParams()), expected)


def test_anomaly_map_is_its_definition() -> None:
    """Upsampled bilinearly, then blurred as SciPy does it, mirrored borders of both kinds included."""
    patch_maps = np.random.default_rng(0).random((3, 6, 10), dtype=np.float32)
    upsampled = upsample_by_loop(torch.from_numpy(patch_maps)[:, None], 33, 60)[:, 0].numpy()
    np.testing.assert_allclose(expand_maps(patch_maps, (33, 60)), upsampled, rtol=1e-5, atol=1e-6)
    # With sigma 10 the kernel is wider than the map, so that mirrors are mirrored.
    for sigma in (0.4, 4.0, 10.0):
        expected = [gaussian_filter(each, sigma, mode="reflect", truncate=4) for each in upsampled]
        np.testing.assert_allclose(expand_maps(patch_maps, (33, 60), sigma), expected, rtol=1e-4, atol=1e-5)
        expected = [gaussian_filter(each, sigma, mode="mirror", truncate=4) for each in upsampled]
        once = expand_maps(patch_maps, (33, 60), sigma, border="edge_once")
        np.testing.assert_allclose(once, expected, rtol=1e-4, atol=1e-5)


def test_patch_maps_are_left_alone() -> None:
    """Expanding does not write into the patch maps, even at their own size; they may be read-only."""
    patch_maps = np.random.default_rng(0).random((1, 6, 10), dtype=np.float32)
    before = patch_maps.copy()
    patch_maps.flags.writeable = False
    expand_maps(patch_maps, (6, 10), 2.0)
    np.testing.assert_array_equal(patch_maps, before)


@st.composite
def embeddings(draw: st.DrawFn) -> tuple[dict[str, Tensor], PatchCoreParams]:
    """Features of one to three layers of any shapes, and how they are embedded."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    n_images, sides = draw(st.integers(1, 4)), st.integers(1, 15)
    layers = ("layer1", "layer2", "layer3")[: draw(st.integers(1, 3))]
    shapes = [(n_images, draw(st.integers(1, 40)), draw(sides), draw(sides)) for _ in layers]
    params = PatchCoreParams(
        layers=layers,
        patch_size=draw(st.sampled_from([1, 3, 5])),
        patch_stride=draw(st.integers(1, 4)),
        metric=draw(st.sampled_from(["euclidean", "cosine"])),
    )
    maps = {layer: torch.randn(shape, generator=generator) for layer, shape in zip(layers, shapes, strict=True)}
    return maps, params


@settings(max_examples=200, deadline=None)
@given(embeddings(), st.integers(1, 20))
def test_projecting_first_is_projecting_afterwards(
    case: tuple[dict[str, Tensor], PatchCoreParams], target: int
) -> None:
    """Whatever the shapes, layers projected at their own size give the projected embedding, to float32's rounding."""
    maps, params = case
    generator = torch.Generator().manual_seed(5)
    matrix = torch.randn(sum(each.shape[1] for each in maps.values()), target, generator=generator)
    found, expected = embed_projected(maps, params, matrix), embed(maps, params).double() @ matrix.double()
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=2e-5)


@settings(max_examples=200, deadline=None)
@given(embeddings(), st.data())
def test_some_patches_have_the_bits_of_all(
    case: tuple[dict[str, Tensor], PatchCoreParams], data: st.DataObject
) -> None:
    """Patches embedded by themselves have the very bits that they have among all."""
    maps, params = case
    every = embed(maps, params).flatten(0, 2)
    places = torch.tensor(data.draw(st.lists(st.integers(0, len(every) - 1), max_size=30)), dtype=torch.int64)
    assert torch.equal(embed_some(maps, params, places), every[places])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_bits_of_a_network_s_shapes(metric: str) -> None:
    """At ResNet-50's shapes too: some patches as all; a projection whatever else is in the batch."""
    maps = draw(layer2=(3, 512, 28, 28), layer3=(3, 1024, 14, 14))
    params = PatchCoreParams.model_validate({"metric": metric})
    places = torch.arange(5, 3 * 784, 17)
    assert torch.equal(embed_some(maps, params, places), embed(maps, params).flatten(0, 2)[places])
    matrix = torch.randn(1536, 128, generator=torch.Generator().manual_seed(1))
    whole = embed_projected(maps, params, matrix)
    alone = [
        embed_projected({layer: each[i : i + 1] for layer, each in maps.items()}, params, matrix) for i in range(3)
    ]
    assert torch.equal(whole, torch.cat(alone))
