"""PRO and the other metrics of anomaly maps, against their definition and against anomalib."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from adloc.metrics.curve import Curve
from adloc.metrics.ranking import auroc
from adloc.metrics.regions import area_up_to, aupro, label_regions, pixel_metrics, pro_curve

if TYPE_CHECKING:
    from pathlib import Path

Maps = NDArray[np.floating]
Masks = NDArray[np.bool_]
Mapped = tuple[Maps, Masks]


@st.composite
def mapped(draw: st.DrawFn) -> Mapped:
    """Small non-square maps with few or many distinct values, and masks with a defect and a normal pixel."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 7)), draw(st.integers(2, 9)))
    maps = rng.integers(0, draw(st.sampled_from([2, 5, 1000])), size=shape).astype(np.float32) / 8 - 3
    masks = rng.random(shape) < draw(st.sampled_from([0.1, 0.3, 0.6]))
    masks[0, 0, 0], masks[-1, -1, -1] = True, False
    return maps, masks


@settings(max_examples=60)
@given(mapped(), st.sampled_from([0.05, 0.3, 1.0]))
def test_pro_is_its_definition(case: Mapped, limit: float) -> None:
    """PRO equals the definition, computed threshold by threshold and region by region."""
    maps, masks = case
    assert aupro(maps, masks, limit) == pytest.approx(_pro_by_definition(maps, masks, limit), abs=1e-9)


@settings(max_examples=60)
@given(mapped())
def test_the_curves_threshold_gives_its_point(case: Mapped) -> None:
    """Flagging score >= threshold gives the FPR and the mean overlap that the PRO curve shows there."""
    maps, masks = case
    curve = pro_curve(maps, masks)
    for x, y, threshold in zip(curve.x[1:], curve.y[1:], curve.thresholds[1:], strict=True):
        fpr, overlap = _rates_by_definition(maps, masks, threshold)
        assert (x, y) == (pytest.approx(fpr), pytest.approx(overlap))


@settings(max_examples=60)
@given(mapped(), st.sampled_from([0.1, 0.5]), st.sampled_from([0.05, 0.3, 1.0]))
def test_void_pixels_count_neither_way(case: Mapped, share: float, limit: float) -> None:
    """With void pixels the figures are the definitions' over the others; what scores void pixels have is the same."""
    maps, masks = case
    void = np.random.default_rng(maps.size).random(maps.shape) < share
    void[0, 0, 0] = void[-1, -1, -1] = False
    found = pixel_metrics(maps, masks, void=void)
    curve = pro_curve(maps, masks, void)
    assert area_up_to(curve, limit) == pytest.approx(_pro_by_definition(maps, masks, limit, void), abs=1e-9)
    assert found.auroc == pytest.approx(roc_auc_score(masks[~void], maps[~void]))
    assert found.auprc == pytest.approx(average_precision_score(masks[~void], maps[~void]))
    other = pixel_metrics(np.where(void, np.float32(99), maps), masks ^ (void & ~masks), void=void)
    assert found.auroc == other.auroc
    assert found.auprc == other.auprc


def test_a_region_that_is_all_void_is_none() -> None:
    """A region's size counts its valid pixels; without any it is no region, and one cut in two by a void is one."""
    masks = np.array([[[True, False, True, True, True], [False, False, False, False, False]]])
    void = np.array([[[True, False, False, True, False], [False, False, False, False, False]]])
    assert pixel_metrics(np.zeros(masks.shape, np.float32), masks).n_regions == 2
    assert pixel_metrics(np.zeros(masks.shape, np.float32), masks, void=void).n_regions == 1


@given(mapped())
def test_pro_stays_in_its_range(case: Mapped) -> None:
    """PRO is never below 0 or above 1, whatever the limit; nor does its curve ever fall."""
    maps, masks = case
    assert all(0 <= aupro(maps, masks, limit) <= 1 for limit in (0.001, 0.05, 0.3, 1.0))
    curve = pro_curve(maps, masks)
    assert (np.diff(curve.x) >= 0).all()
    assert (np.diff(curve.y) >= 0).all()


@given(mapped())
def test_only_ranks_count(case: Mapped) -> None:
    """A strictly increasing map of the scores changes no pixel metric, to the last bit."""
    maps, masks = case
    _, ranks = np.unique(maps, return_inverse=True)
    monotone = (np.exp(ranks.reshape(maps.shape) / 200) - 40).astype(np.float64)
    ours, other = pixel_metrics(maps, masks), pixel_metrics(monotone, masks)
    assert (ours.auroc, ours.aupro, ours.aupro_005) == (other.auroc, other.aupro, other.aupro_005)


@given(mapped())
def test_perfect_maps_give_1(case: Mapped) -> None:
    """Maps that rank every defect pixel above every normal one have PRO 1 and AUROC 1, at both limits."""
    maps, masks = case
    result = pixel_metrics(maps + np.float32(1000) * masks, masks)
    assert (result.auroc, result.aupro, result.aupro_005) == (1.0, 1.0, 1.0)


@given(mapped())
def test_inverted_maps_give_0(case: Mapped) -> None:
    """Maps that rank every defect pixel below every normal one have PRO 0."""
    maps, masks = case
    assert aupro(maps - np.float32(1000) * masks, masks) == 0.0


@given(mapped(), st.sampled_from([0.05, 0.3, 1.0]))
def test_a_constant_map_gives_half_the_limit(case: Mapped, limit: float) -> None:
    """A constant map's curve is the diagonal: the area to L is L * L / 2, so PRO is L / 2."""
    maps, masks = case
    assert aupro(np.zeros_like(maps), masks, limit) == pytest.approx(limit / 2)


def test_one_region_makes_pro_a_partial_roc() -> None:
    """With a single region PRO up to 1 is pixel AUROC."""
    rng = np.random.default_rng(0)
    masks = np.zeros((3, 11, 7), dtype=bool)
    masks[1, 2:6, 3:5] = True
    maps = np.round(rng.random(masks.shape, dtype=np.float32) + 0.3 * masks, 1)
    assert aupro(maps, masks, 1.0) == pytest.approx(auroc(maps, masks))


def test_regions_weigh_the_same_whatever_their_size() -> None:
    """A missed region of 2 pixels costs as much as one of 50: half of PRO when there are two."""
    masks = np.zeros((1, 20, 20), dtype=bool)
    masks[0, 0:10, 0:5] = True
    masks[0, 15, 15:17] = True
    maps = np.zeros(masks.shape, dtype=np.float32)
    found_large, found_small = maps.copy(), maps.copy()
    found_large[0, 0:10, 0:5] = found_small[0, 15, 15:17] = 1
    # From overlap 1/2 at FPR 0 the tied rest rises to 1 at FPR 1.
    expected = 0.5 + 0.5 * 0.3 / 2
    assert aupro(found_large, masks) == pytest.approx(expected)
    assert aupro(found_small, masks) == pytest.approx(expected)


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    """Regions are 8-connected, and do not reach from one image to the next."""
    masks = np.zeros((2, 3, 3), dtype=bool)
    masks[0, [0, 1, 2], [0, 1, 2]] = True
    masks[1, [0, 0], [0, 2]] = True
    region_of, n_regions = label_regions(masks)
    assert n_regions == 3
    assert region_of[:3].tolist() == [region_of[0]] * 3
    assert len(set(region_of.tolist())) == 3


def test_good_images_count_in_the_false_positive_rate() -> None:
    """Good images that score low make the FPR smaller, so PRO rises when they are added."""
    rng = np.random.default_rng(1)
    masks = rng.random((2, 8, 8)) < 0.2
    maps = rng.random(masks.shape, dtype=np.float32)
    more_maps = np.concatenate([maps, np.full_like(maps, -1)])
    more_masks = np.concatenate([masks, np.zeros_like(masks)])
    assert aupro(more_maps, more_masks) > aupro(maps, masks)
    assert aupro(more_maps, more_masks) == pytest.approx(_pro_by_definition(more_maps, more_masks, 0.3))


def test_the_curve_is_cut_by_linear_interpolation() -> None:
    """At the limit the curve is interpolated between its points; a vertical step there adds no area."""
    curve = Curve(x=np.array([0.0, 0.2, 0.4, 1.0]), y=np.array([0.0, 0.4, 0.8, 1.0]), thresholds=np.zeros(4))
    assert area_up_to(curve, 0.3) == pytest.approx(0.3)  # y = 2 x: 0.3 * 0.6 / 2 / 0.3
    step = Curve(x=np.array([0.0, 0.3, 0.3, 1.0]), y=np.array([0.0, 0.0, 1.0, 1.0]), thresholds=np.zeros(4))
    assert area_up_to(step, 0.3) == 0.0


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.1, math.nan])
def test_a_limit_outside_its_range_is_refused(limit: float) -> None:
    """The limit is a false-positive rate above 0 and at most 1."""
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        aupro(np.zeros((1, 2, 2), dtype=np.float32), np.eye(2, dtype=bool)[None], limit)


@settings(max_examples=30)
@given(mapped())
def test_pixel_auroc_is_scikit_learns(case: Mapped) -> None:
    """Pixel AUROC equals scikit-learn's over all pixels of all images."""
    maps, masks = case
    assert pixel_metrics(maps, masks).auroc == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()))


@given(mapped())
def test_one_sort_serves_every_metric(case: Mapped) -> None:
    """The record holds what the single functions give, and curves of at most the points asked for."""
    maps, masks = case
    result = pixel_metrics(maps, masks, curve_points=10)
    assert result.auroc == auroc(maps, masks)
    assert result.aupro == aupro(maps, masks, 0.3)
    assert result.aupro_005 == aupro(maps, masks, 0.05)
    assert result.n_regions == ndimage.label(masks, _within_images())[1]
    assert max(result.roc.x.size, result.pro.x.size) <= 10


@pytest.mark.parametrize("value", [False, True], ids=["no defect", "only defects"])
def test_without_regions_or_normal_pixels_nothing_is_defined(*, value: bool) -> None:
    """Without a region, or without a normal pixel, the pixel metrics are nan."""
    maps, masks = np.zeros((2, 3, 4), dtype=np.float32), np.full((2, 3, 4), fill_value=value)
    result = pixel_metrics(maps, masks)
    assert all(math.isnan(figure) for figure in (result.auroc, result.aupro, result.aupro_005))
    assert math.isnan(aupro(maps, masks))


def test_maps_with_nan_are_refused() -> None:
    """A nan in a map is an error, never a pixel that scores low."""
    maps, masks = np.zeros((1, 2, 2), dtype=np.float32), np.eye(2, dtype=bool)[None]
    maps[0, 0, 1] = math.nan
    with pytest.raises(ValueError, match="1 of 2 scores are nan"):
        pixel_metrics(maps, masks)


def test_masks_must_be_boolean() -> None:
    """A mask of 0 and 255 is refused: it must be binarised where it is read."""
    with pytest.raises(ValueError, match="must be bool"):
        pixel_metrics(np.zeros((1, 2, 2), dtype=np.float32), np.full((1, 2, 2), 255, dtype=np.uint8))


def test_maps_may_be_memory_mapped(tmp_path: Path) -> None:
    """Maps from a file that is mapped into memory give the same figures."""
    rng = np.random.default_rng(2)
    masks = rng.random((3, 6, 5)) < 0.3
    maps = rng.random(masks.shape, dtype=np.float32)
    np.save(tmp_path / "maps.npy", maps)
    assert pixel_metrics(np.load(tmp_path / "maps.npy", mmap_mode="r"), masks).aupro == aupro(maps, masks)


@pytest.mark.slow
@pytest.mark.parametrize("n_levels", [7, 300, 10**6])
@pytest.mark.parametrize("limit", [0.3, 0.05])
def test_pro_is_anomalibs(n_levels: int, limit: float) -> None:
    """PRO equals anomalib's to 1e-4: the same definition, but it accumulates in float32."""
    import torch
    from anomalib.metrics.aupro import _AUPRO

    rng = np.random.default_rng(n_levels)
    masks = np.stack([ndimage.gaussian_filter(rng.normal(size=(48, 64)), 4) > 0.1 for _ in range(6)])
    masks[4:] = False
    maps = ndimage.gaussian_filter(rng.normal(size=masks.shape), (0, 2, 2)) + 0.1 * masks
    maps = np.round((maps - maps.min()) / np.ptp(maps) * n_levels).astype(np.float32) / n_levels
    metric = _AUPRO(fpr_limit=limit)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks.astype(np.float32)))
    assert aupro(maps, masks, limit) == pytest.approx(float(metric.compute()), abs=1e-4)


def _within_images() -> Masks:
    """8-connected within an image, unconnected between images."""
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[1] = True
    return structure


def _rates_by_definition(maps: Maps, masks: Masks, threshold: float, void: Masks | None = None) -> tuple[float, float]:
    """False-positive rate and mean overlap of the regions when score >= threshold is flagged."""
    flagged, valid = maps >= threshold, np.ones_like(masks) if void is None else ~void
    regions, n_regions = ndimage.label(masks, _within_images())
    seen = [flagged[(regions == region) & valid] for region in range(1, n_regions + 1)]
    return float(flagged[~masks & valid].mean()), float(np.mean([each.mean() for each in seen if each.size]))


def _pro_by_definition(maps: Maps, masks: Masks, limit: float, void: Masks | None = None) -> float:
    """The area of the trapezoids between the points of all thresholds, every distinct score one."""
    points = [(0.0, 0.0)]
    points += [_rates_by_definition(maps, masks, value, void) for value in np.unique(maps)[::-1]]
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 == x0 or x0 >= limit:
            continue
        end = min(x1, limit)
        area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    return area / limit
