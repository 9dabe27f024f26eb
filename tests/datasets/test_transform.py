"""Preprocessing: sizes, antialiasing, the crop, and masks that lie exactly on their images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from adloc.datasets.transform import ImageConfig, prepare_image, prepare_mask

sides = st.integers(16, 70)
pairs = st.tuples(sides, sides)


def noise(height: int, width: int) -> np.ndarray:
    """Random RGB pixels."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(size=pairs, source=pairs)
def test_images_have_the_size_asked_for(size: tuple[int, int], source: tuple[int, int]) -> None:
    """The result is float32 (3, height, width) in [0, 1], for any sizes, square or not."""
    prepared = prepare_image(noise(*source), ImageConfig(size=size))
    assert prepared.shape == (3, *size)
    assert prepared.dtype == np.float32
    assert prepared.min() >= 0
    assert prepared.max() <= 1


def test_an_image_of_the_size_is_unchanged() -> None:
    """No resize where none is needed: the pixels over 255, channels first."""
    image = noise(32, 48)
    assert np.array_equal(prepare_image(image, ImageConfig(size=[32, 48])), image.transpose(2, 0, 1) / np.float32(255))


@pytest.mark.parametrize("size", [[32, 50], [120, 40], [130, 131]])
def test_the_resize_is_bilinear_with_antialiasing(size: list[int]) -> None:
    """Equal to torch's antialiased bilinear resize in floating point, up to the steps of 8 bits."""
    image = noise(90, 61)
    exact = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, size, mode="bilinear", antialias=True
    )
    assert np.abs(prepare_image(image, ImageConfig(size=size)) - exact[0].numpy()).max() <= 1.01 / 255


def test_the_resize_is_antialiased() -> None:
    """A fine checkerboard becomes even grey; without antialiasing it becomes stripes."""
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    image = np.repeat(board.astype(np.uint8)[:, :, None], 3, axis=2)
    assert prepare_image(image, ImageConfig(size=32)).std() < 0.02


def test_the_crop_is_the_centre_of_the_resized_image() -> None:
    """A crop of [16, 20] from [32, 48] keeps rows 8 to 24 and columns 14 to 34."""
    image = noise(64, 96)
    whole = prepare_image(image, ImageConfig(size=[32, 48]))
    cropped = prepare_image(image, ImageConfig(size=[32, 48], crop=[16, 20]))
    assert np.array_equal(cropped, whole[:, 8:24, 14:34])


def test_the_image_is_not_written_to() -> None:
    """The picture given is left alone."""
    image = noise(40, 40)
    image.setflags(write=False)
    prepared = prepare_image(image, ImageConfig(size=40))
    prepared += 1
    assert np.array_equal(image, noise(40, 40))


# Masks


@given(source=pairs, size=pairs, seed=st.integers(0, 99))
def test_masks_take_the_nearest_value(source: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    """Every pixel is the mask's value at that pixel's centre (checked in fractions, one by one)."""
    mask = np.random.default_rng(seed).random(source) < 0.5
    prepared = prepare_mask(mask, ImageConfig(size=size))
    for row, column in ((0, 0), (size[0] - 1, size[1] - 1), (size[0] // 2, size[1] // 3)):
        there = (2 * row + 1) * source[0] // (2 * size[0]), (2 * column + 1) * source[1] // (2 * size[1])
        assert prepared[row, column] == mask[there]


@given(source=pairs, size=pairs)
def test_masks_agree_with_torch_nearest_exact(source: tuple[int, int], size: tuple[int, int]) -> None:
    """Where no centre falls between two pixels, torch's nearest-exact gives the same mask."""
    mask = np.random.default_rng(0).random(source) < 0.5
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(mask)[None, None].float(), size=size, mode="nearest-exact"
    )[0, 0].numpy()
    clear = np.ix_(
        *((2 * np.arange(n_out) + 1) * n_in % (2 * n_out) != 0 for n_in, n_out in zip(source, size, strict=True))
    )
    assert np.array_equal(prepare_mask(mask, ImageConfig(size=size))[clear], expected[clear])


@given(source=pairs, size=st.integers(40, 70), crop=st.integers(16, 40))
def test_a_cropped_mask_is_the_centre_of_the_whole_one(source: tuple[int, int], size: int, crop: int) -> None:
    """Image and mask are cropped at the same pixels."""
    mask = np.random.default_rng(0).random(source) < 0.5
    config = ImageConfig(size=size, crop=crop)
    top, left = config.crop_origin
    whole = prepare_mask(mask, ImageConfig(size=size))
    assert np.array_equal(prepare_mask(mask, config), whole[top : top + crop, left : left + crop])


def test_the_evaluation_size_is_of_what_the_backbone_sees() -> None:
    """At twice the crop's size, a mask twice the size of the input shows the crop's region at full detail."""
    mask = np.random.default_rng(0).random((128, 192)) < 0.5
    config = ImageConfig(size=[64, 96], crop=[32, 48])
    assert np.array_equal(prepare_mask(mask, config, (64, 96)), mask[32:96, 48:144])


def test_a_mask_of_the_size_is_unchanged() -> None:
    """No resize where none is needed; the result is bool and not square."""
    mask = np.random.default_rng(0).random((40, 90)) < 0.5
    prepared = prepare_mask(mask, ImageConfig(size=[40, 90]))
    assert prepared.dtype == np.bool_
    assert np.array_equal(prepared, mask)


def test_image_and_mask_stay_aligned() -> None:
    """A bright defect lies under its mask after resize and crop, in a picture that is not square."""
    mask = np.zeros((100, 220), dtype=bool)
    mask[30:60, 120:170] = True
    image = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)
    config = ImageConfig(size=[64, 96], crop=[48, 64])
    bright = prepare_image(image, config)[0] > 0.5
    assert (bright != prepare_mask(mask, config)).mean() < 0.02


# The configuration


@pytest.mark.parametrize(
    ("given_", "resized", "input_size"),
    [
        ({}, (224, 224), (224, 224)),
        ({"size": 256, "crop": 224}, (256, 256), (224, 224)),
        ({"size": [128, 320], "crop": [128, 256]}, (128, 320), (128, 256)),
        ({"size": [128, 320], "crop": None}, (128, 320), (128, 320)),
    ],
)
def test_sizes_are_height_and_width(given_: dict[str, object], resized: object, input_size: object) -> None:
    """One number is a square, two are [height, width]; JSON gives the same configuration again."""
    config = TypeAdapter(ImageConfig).validate_python(given_)
    assert (config.resized, config.input_size) == (resized, input_size)
    assert ImageConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    "given_",
    [
        {"size": 0},
        {"size": 15},
        {"size": True},
        {"size": [224]},
        {"size": [224, 224, 3]},
        {"size": 224.5},
        {"size": 224, "crop": 256},
        {"size": [224, 300], "crop": [250, 200]},
        {"sise": 224},
    ],
)
def test_sizes_that_cannot_be_meant_are_refused(given_: dict[str, object]) -> None:
    """Too small, not whole, three numbers, a crop larger than the image, a misspelt key: refused."""
    with pytest.raises(ValidationError):
        TypeAdapter(ImageConfig).validate_python(given_)
