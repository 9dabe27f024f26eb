"""AUPIMO: against its definition, threshold by threshold, and against anomalib's on the same maps."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adloc.metrics.pimo import HIGHEST_RATE, LOWEST_RATE, NormalTail, aupimo

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]


def shares(scores: Maps, thresholds: list[float]) -> list[float]:
    """Of the scores, those at or above each threshold."""
    found: list[float] = (1 - np.searchsorted(np.sort(scores), thresholds) / scores.size).tolist()
    return found


def by_definition(maps: Maps, masks: Masks, anomalous: Masks, void: Masks) -> float:
    """Every score a threshold: the recall over the mean rate of the normal images, between the two rates."""
    thresholds = [math.inf, *np.unique(maps)[::-1].tolist()]
    normal = [shares(m[~v], thresholds) for m, v in zip(maps[~anomalous], void[~anomalous], strict=True)]
    rates = np.mean(normal, axis=0).tolist()
    areas = []
    for scores, mask, out in zip(maps[anomalous], masks[anomalous], void[anomalous], strict=True):
        if not (mask & ~out).any():
            continue
        recalls = shares(scores[mask & ~out], thresholds)
        area = 0.0
        for (x0, y0), (x1, y1) in pairwise(zip(rates, recalls, strict=True)):
            low, high = max(x0, LOWEST_RATE), min(x1, HIGHEST_RATE)
            if high > low:
                area += math.log(high / low) * (y0 + y1) / 2
        areas.append(area / math.log(HIGHEST_RATE / LOWEST_RATE))
    return float(np.mean(areas))


def scored(rng: np.random.Generator, n: int, height: int, width: int) -> tuple[Maps, Masks]:
    """Smooth maps; a third of the images are normal, the others have a square that scores a little more."""
    noise = [cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 3) for _ in range(n)]
    maps, masks = np.stack(noise), np.zeros((n, height, width), dtype=bool)
    for index in range(n // 3, n):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        masks[index, top : top + height // 4, left : left + width // 4] = True
        maps[index][masks[index]] += np.float32(rng.uniform(0.1, 0.5))
    return maps, masks


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 200, 1 << 30]), st.booleans())
@pytest.mark.slow
def test_aupimo_is_its_definition(seed: int, n_levels: int, with_void: bool) -> None:  # drawn
    """The mean area under each anomalous image's curve, with few distinct scores or many, and with void pixels."""
    rng = np.random.default_rng(seed)
    maps, masks = scored(rng, 5, 60, 90)
    maps = (np.floor(maps * n_levels) / n_levels).astype(np.float32)
    void = rng.random(maps.shape) < (0.3 if with_void else 0)
    anomalous = masks.any(axis=(1, 2))
    found = aupimo(maps, masks, anomalous, void)
    assert found == pytest.approx(by_definition(maps, masks, anomalous, void), abs=1e-9)


def test_normal_images_count_alike_whatever_their_size() -> None:
    """The rate is the mean of the images' rates: two images at once, or one by one in any order, one repeated in it."""
    rng = np.random.default_rng(3)
    small, large = rng.random((1, 100, 100), dtype=np.float32), rng.random((1, 400, 500), dtype=np.float32)
    tail, other, tiled = NormalTail(2), NormalTail(2), NormalTail(2)
    for each, images in ((tail, (small, large)), (other, (large, small)), (tiled, (np.tile(small, (1, 2, 1)), large))):
        for image in images:
            each.add(image)
    found, expected, same = tail.levels(), other.levels(), tiled.levels()
    assert found is not None
    assert expected is not None
    assert same is not None
    assert found.widths.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.widths[found.widths > 0], expected.widths[expected.widths > 0])
    # twice the pixels of an image, each of half the weight
    np.testing.assert_allclose(found.widths[found.widths > 0], same.widths[same.widths > 0], atol=1e-12)


def test_what_cannot_be_measured_is_nan() -> None:
    """Without normal images there is no rate, without a defect pixel no recall."""
    maps, masks = np.zeros((2, 3, 3), np.float32), np.zeros((2, 3, 3), dtype=bool)
    assert math.isnan(aupimo(maps, masks, np.array([False, True])))
    masks[:, 0] = True
    assert math.isnan(aupimo(maps, masks, np.array([True, True])))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_aupimo_is_anomalibs(seed: int) -> None:
    """On the same maps, up to the spacing of anomalib's thresholds; the normal pixels make its bounds exact rates."""
    from anomalib.metrics.pimo.functional import aupimo_scores
    from torch import from_numpy

    maps, masks = scored(np.random.default_rng(seed), 6, 250, 400)
    anomalous = masks.any(axis=(1, 2))
    assert (~anomalous).sum() * maps[0].size * LOWEST_RATE == pytest.approx(2)
    *_, classes, areas, _ = aupimo_scores(from_numpy(maps), from_numpy(masks).int())
    theirs = float(areas[classes == 1].mean())
    assert 0.01 < theirs < 0.99
    assert aupimo(maps, masks, anomalous) == pytest.approx(theirs, abs=2e-4)
