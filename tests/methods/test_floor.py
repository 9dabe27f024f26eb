"""The mean image against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adloc.methods import MethodError
from adloc.methods.floor.detector import Floor
from adloc.methods.floor.params import FLOOR, FloorParams
from detectors import HeldImages, draw_images, take

PLAIN = FloorParams(image_score="max")
TRAIN, TEST = draw_images(40, seed=1), draw_images(5, seed=2)  # 40 is more than one batch


@pytest.mark.parametrize("unit", ["grey_level", "deviation"])
def test_scores_are_distances_to_the_mean_image(unit: str) -> None:
    """Each pixel has the root of its mean squared distance over the colours, in the unit asked for."""
    found = take(FLOOR, PLAIN.model_copy(update={"unit": unit}), TRAIN, TEST)["scores"].arrays
    train, test = (each.pixels.double().numpy() for each in (TRAIN, TEST))
    scale = train.var(axis=0) + 1 / 255**2 if unit == "deviation" else 1.0
    expected = np.sqrt((np.square(test - train.mean(axis=0)) / scale).mean(axis=1))
    np.testing.assert_allclose(found["patch_maps"], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["image_scores"], found["patch_maps"].max(axis=(1, 2)))


def test_a_grey_level_off_a_pixel_that_never_changes_is_one_deviation() -> None:
    """Without variance a step of 8 bits is the unit."""
    same = HeldImages(torch.full((4, 3, 2, 3), 100 / 255))
    other = HeldImages(torch.full((1, 3, 2, 3), 101 / 255))
    found = take(FLOOR, PLAIN.model_copy(update={"unit": "deviation"}), same, other)["scores"].arrays["patch_maps"]
    np.testing.assert_allclose(found, 1, rtol=1e-4)


def test_the_model_is_the_images_that_are_needed() -> None:
    """The mean alone in grey levels, the variance too in deviations."""
    results = take(FLOOR, PLAIN, TRAIN, TEST)
    assert Floor().model_bytes(results, PLAIN) == 3 * 12 * 20 * 4
    assert Floor().model_bytes(results, PLAIN.model_copy(update={"unit": "deviation"})) == 2 * 3 * 12 * 20 * 4


def test_no_training_image_is_refused() -> None:
    """A mean needs an image."""
    with pytest.raises(MethodError, match="no image"):
        take(FLOOR, PLAIN, TRAIN.pick(), TEST)
