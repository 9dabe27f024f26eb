"""The numbers of an image that the drift watch looks at, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from adloc.drift.statistics import PIXEL_STATISTICS, feature_names, feature_statistics, pixel_statistics


def noise(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 20, 30, 3), np.uint8)


def named(image: np.ndarray) -> dict[str, float]:
    return dict(zip(PIXEL_STATISTICS, pixel_statistics(image[None])[0].tolist(), strict=True))


def test_stripes_by_hand() -> None:
    """Columns of grey 0 and 100 in turn: mean and deviation 50; a Laplacian of 200, over a variance of 2,500."""
    image = np.zeros((6, 8, 3), np.uint8)
    image[:, 1::2] = 100
    found = named(image)
    assert found["brightness"] == pytest.approx(50)
    assert found["contrast"] == pytest.approx(50)
    assert found["sharpness"] == pytest.approx(200**2 / 2500)
    assert found["red"] == pytest.approx(1 / 3)


def test_colours_by_hand() -> None:
    """One pixel in three channels: 100, 50, 50 is half red and a quarter blue; luma is .299 R + .587 G + .114 B."""
    found = named(np.full((3, 3, 3), (100, 50, 50), np.uint8))
    assert (found["red"], found["blue"]) == pytest.approx((0.5, 0.25))
    assert found["brightness"] == pytest.approx(0.299 * 100 + 0.587 * 50 + 0.114 * 50)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_flat_image_has_finite_statistics(level: int) -> None:
    """A covered lens, or a blinded one."""
    found = named(np.full((5, 5, 3), level, np.uint8))
    assert found["sharpness"] == 0
    assert (found["red"], found["blue"]) == pytest.approx((1 / 3, 1 / 3))


def test_sharpness_knows_nothing_of_light() -> None:
    """Half the contrast at another brightness is as sharp; a blurred image is less so."""
    image = noise(1)[0] // 4 * 4
    assert named(image // 2 + 60)["sharpness"] == pytest.approx(named(image)["sharpness"])
    smooth = image.astype(float)
    smooth = (smooth + np.roll(smooth, 1, 0) + np.roll(smooth, 1, 1)) / 3
    assert named(smooth.astype(np.uint8))["sharpness"] < 0.8 * named(image)["sharpness"]


def test_an_image_has_its_own_numbers_whatever_the_batch() -> None:
    """To the bit, of pixels and of feature maps, also where they are no copy."""
    images = noise(5)
    assert np.array_equal(pixel_statistics(images)[3], pixel_statistics(images[3:4])[0])
    maps = {"layer2": np.random.default_rng(1).random((5, 7, 9, 11), np.float32)}
    one = {"layer2": maps["layer2"][::2][1:2]}
    assert np.array_equal(feature_statistics(maps)[2], feature_statistics(one)[0])


def test_feature_maps_by_hand() -> None:
    """Values 3 and -1 in equal number: a mean of 1, and a root mean square of the root of 5."""
    maps = {"a": np.array([3.0, -1.0, 3.0, -1.0], np.float16).reshape(1, 1, 2, 2), "b": np.zeros((1, 3, 1, 1))}
    assert feature_statistics(maps).tolist()[0] == pytest.approx([1, 5**0.5, 0, 0])
    assert feature_names(tuple(maps)) == ("a level", "a energy", "b level", "b energy")


def test_what_is_no_batch_of_pictures_is_refused() -> None:
    """Floats in [0, 1] and channels first would give numbers, and wrong ones."""
    for wrong in (noise(1)[0], noise(1).astype(np.float32), noise(1).transpose(0, 3, 1, 2), noise(1)[:, :2]):
        with pytest.raises(ValueError, match="must be uint8"):
            pixel_statistics(wrong)
    with pytest.raises(ValueError, match="maps of"):
        feature_statistics({"a": np.zeros((2, 1, 1, 1)), "b": np.zeros((3, 1, 1, 1))})


def test_no_image_gives_no_row() -> None:
    """The shape is kept."""
    assert pixel_statistics(noise(0)).shape == (0, 5)
    assert feature_statistics({"a": np.zeros((0, 2, 3, 3))}).shape == (0, 2)
