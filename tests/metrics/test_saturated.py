"""sPRO: against its definition, against PRO where nothing saturates, and by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adloc.metrics.regions import aupro
from adloc.metrics.saturated import SaturatedRegion, auspro, saturation, spro_curve


def by_definition(maps: np.ndarray, regions: list[SaturatedRegion], limit: float) -> float:
    """Every score a threshold: the mean of min(hit / saturation, 1) over the false-positive rate."""
    outside = np.ones(maps.shape, dtype=bool)
    for region in regions:
        outside[region.image] &= ~region.mask
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        flagged = maps >= threshold
        overlaps = [min((flagged[r.image] & r.mask).sum() / r.saturation, 1) for r in regions]
        points.append((float(flagged[outside].mean()), float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 > x0 and x0 < limit:
            end = min(x1, limit)
            area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    return area / limit


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 1000]), st.sampled_from([0.05, 0.3, 1.0]))
def test_spro_is_its_definition(seed: int, n_levels: int, limit: float) -> None:
    """With saturations of whole and broken numbers of pixels, regions that overlap, and tied scores."""
    rng = np.random.default_rng(seed)
    maps = (rng.integers(0, n_levels, (3, 6, 8)) / 8).astype(np.float32)
    regions = []
    for _ in range(int(rng.integers(1, 5))):
        mask = rng.random((6, 8)) < 0.3
        mask[0, 0] = True
        regions.append(SaturatedRegion(int(rng.integers(2)), mask, float(rng.uniform(0.1, 1) * mask.sum())))
    assert auspro(maps, regions, limit) == pytest.approx(by_definition(maps, regions, limit), abs=1e-9)


def test_spro_without_saturation_is_pro() -> None:
    """Where all of every region must be found, the figure is that of the plain metric on the same regions."""
    rng = np.random.default_rng(1)
    masks = np.zeros((3, 20, 30), dtype=bool)
    masks[0, 2:6, 3:9], masks[0, 12:15, 20:28], masks[1, 5:9, 5:8] = True, True, True
    maps = rng.random(masks.shape, dtype=np.float32) + masks * np.float32(0.5)
    one, other = masks[0].copy(), masks[0].copy()
    one[10:], other[:10] = False, False
    whole = [SaturatedRegion(i, m, float(m.sum())) for i, m in ((0, one), (0, other), (1, masks[1]))]
    assert auspro(maps, whole, 0.3) == pytest.approx(aupro(maps, masks, 0.3))


def test_enough_of_a_region_is_all_of_it() -> None:
    """By hand: two of four pixels are enough; they score most, so the curve is whole before a false alarm."""
    maps = np.array([[[9, 8, 1, 0, 5, 4, 3, 2]]], dtype=np.float32)
    mask = np.array([[True] * 4 + [False] * 4])
    assert auspro(maps, [SaturatedRegion(0, mask, 2)], 1.0) == 1
    # all four are needed: half at once, the other half after every normal pixel
    assert auspro(maps, [SaturatedRegion(0, mask, 4)], 1.0) == 0.5


def test_saturations_are_the_configs() -> None:
    """Absolute thresholds are cut at the region's size, relative ones are shares of it."""
    assert saturation(500, 120, relative=False) == 120
    assert saturation(100, 120, relative=False) == 100
    assert saturation(500, 0.5, relative=True) == 250


@pytest.mark.parametrize("enough", [0.0, 5.0])
def test_a_saturation_that_cannot_be_reached_is_refused(enough: float) -> None:
    """None, or more than the region has, would make figures that cannot be compared."""
    region = SaturatedRegion(0, np.ones((2, 2), dtype=bool), enough)
    with pytest.raises(ValueError, match="4 pixels"):
        spro_curve(np.zeros((1, 2, 2), np.float32), [region])


def test_without_regions_there_is_no_figure() -> None:
    """A part without defects has no overlap."""
    assert np.isnan(auspro(np.zeros((1, 2, 2), np.float32), []))
