"""Streamed pixel metrics: within their stated bounds of the exact ones, and in bounded memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adloc.metrics.chunk import Chunk
from adloc.metrics.classification import confusion
from adloc.metrics.pimo import aupimo
from adloc.metrics.regions import pixel_metrics
from adloc.metrics.streaming import StreamedMetrics, ordered, stream_pixel_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]


def streamed(
    maps: Maps, masks: Masks, n_bins: int, chunk: int = 2, void: NDArray[np.bool_] | None = None
) -> StreamedMetrics:
    """The metrics of maps that come a few images at a time."""
    anomalous = masks.any(axis=(1, 2))

    def read() -> Iterator[Chunk]:
        for start in range(0, len(maps), chunk):
            images = slice(start, start + chunk)
            yield Chunk(maps[images], masks[images], anomalous[images], None if void is None else void[images])

    return stream_pixel_metrics(read, int((~anomalous).sum()), n_bins=n_bins)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Maps, Masks]:
    """Maps of every kind of score (few values and many, tiny and huge, negative and infinite), and masks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 5)), draw(st.integers(3, 12)), draw(st.integers(3, 9)))
    masks = rng.random(shape) < draw(st.sampled_from([0.05, 0.3, 0.8]))
    masks[0, 0, 0], masks[-1, -1, -1] = True, False
    maps = rng.standard_normal(shape) * draw(st.sampled_from([1e-30, 1e-3, 1.0, 1e20]))
    maps += masks * draw(st.sampled_from([0.0, 1.0])) + draw(st.sampled_from([0.0, 1000.0]))
    if draw(st.booleans()):
        maps = np.round(maps)
    if draw(st.booleans()):
        maps[rng.random(shape) < 0.05] = rng.choice([np.inf, -np.inf, -0.0, 0.0])
    return maps.astype(np.float32), masks


@settings(max_examples=80, deadline=None)
@given(scored(), st.sampled_from([1, 40, 5000, 1 << 18]), st.integers(1, 3), st.sampled_from([0, 0.3]))
def test_exact_figures_lie_within_the_stated_bounds(
    case: tuple[Maps, Masks], n_bins: int, chunk: int, share: float
) -> None:
    """Whatever the scores, the void pixels and the bins, no figure is further from the exact one than it says."""
    maps, masks = case
    void = np.random.default_rng(maps.size).random(maps.shape) < share
    void[0, 0, 0] = void[-1, -1, -1] = False
    masks[-1] = masks[-1] & (len(masks) == 1)  # a normal image
    found, exact = streamed(maps, masks, n_bins, chunk, void), pixel_metrics(maps, masks, void=void)
    assert abs(found.metrics.auprc - exact.auprc) <= found.auprc_error
    assert 0 <= exact.best_f1.f1 - found.metrics.best_f1.f1 <= found.f1_error
    anomalous = masks.any(axis=(1, 2))
    assert found.aupimo == pytest.approx(aupimo(maps, masks, anomalous, void), nan_ok=True)
    assert abs(found.metrics.auroc - exact.auroc) <= found.auroc_error
    assert abs(found.metrics.aupro - exact.aupro) <= found.aupro_error
    assert abs(found.metrics.aupro_005 - exact.aupro_005) <= found.aupro_005_error
    assert found.metrics.n_regions == exact.n_regions


def test_bounds_of_overlapping_scores_are_small() -> None:
    """On smooth maps whose two classes overlap, the default bins leave less than a hundred-thousandth."""
    rng = np.random.default_rng(0)
    maps = rng.gamma(4.0, 1.0, (20, 64, 64)).astype(np.float32)
    masks = np.zeros(maps.shape, dtype=bool)
    masks[::2, 20:40, 10:30] = True
    maps[masks] += 1
    found, exact = streamed(maps, masks, 1 << 18), pixel_metrics(maps, masks)
    bounds = (found.auroc_error, found.auprc_error, found.aupro_error, found.aupro_005_error, found.f1_error)
    assert max(bounds) < 1e-4
    assert max(found.auroc_error, found.aupro_error, found.aupro_005_error) < 1e-5
    assert found.metrics.aupro == pytest.approx(exact.aupro, abs=1e-5)


def test_fewer_bins_have_larger_bounds() -> None:
    """The bound says what a coarser division costs."""
    rng = np.random.default_rng(1)
    maps = rng.random((6, 40, 40), dtype=np.float32)
    masks = rng.random(maps.shape) < 0.1
    bounds = [streamed(maps, masks, n).aupro_error for n in (1, 1000, 100_000)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > 10 * bounds[-1]


def test_curves_pass_through_true_points() -> None:
    """Flagging score >= threshold gives the rates that the streamed ROC curve shows there."""
    rng = np.random.default_rng(2)
    maps = rng.random((4, 20, 20), dtype=np.float32)
    masks = rng.random(maps.shape) < 0.2
    curve = streamed(maps, masks, 30).metrics.roc
    assert curve.x.size > 10
    for x, y, threshold in zip(curve.x[1:-1], curve.y[1:-1], curve.thresholds[1:-1], strict=True):
        flagged = maps >= threshold
        assert (x, y) == (pytest.approx(flagged[~masks].mean()), pytest.approx(flagged[masks].mean()))


def test_codes_keep_the_order_of_scores() -> None:
    """From the lowest to the highest float32, with one code for both zeros."""
    scores = np.array([-np.inf, -3e38, -1, -1e-45, 0, 1e-45, 1, np.nextafter(np.float32(1), 2), 3e38, np.inf], "f4")
    codes = ordered(scores).astype(np.int64)
    assert (np.diff(codes) > 0).all()
    assert ordered(np.float32([-0.0]))[0] == ordered(np.float32([0.0]))[0]


def test_the_threshold_of_the_largest_f1_gives_that_f1() -> None:
    """Flagging from the streamed threshold upwards counts to the stated F1 exactly, whatever the bins."""
    rng = np.random.default_rng(4)
    masks = rng.random((4, 20, 20)) < 0.2
    maps = (rng.random(masks.shape) + masks * 0.5).astype(np.float32)
    best = streamed(maps, masks, 30).metrics.best_f1
    assert best.f1 == pytest.approx(confusion(maps, masks, best.threshold).f1)
    assert best.f1 > 0.5


def test_one_class_is_undefined() -> None:
    """Without a defect pixel there is no figure and no bound."""
    maps = np.zeros((2, 3, 3), np.float32)
    found = streamed(maps, np.zeros(maps.shape, dtype=bool), 100)
    figures = (found.metrics.auroc, found.metrics.aupro, found.metrics.best_f1.threshold, found.aupimo,
               found.auroc_error, found.auprc_error, found.aupro_005_error, found.f1_error)  # fmt: skip
    assert all(math.isnan(figure) for figure in figures)


@pytest.mark.parametrize(
    ("maps", "match"), [(np.full((1, 2, 2), np.nan, "f4"), "nan"), (np.zeros((1, 2, 2)), "float32")]
)
def test_scores_without_a_rank_are_refused(maps: Maps, match: str) -> None:
    """Nan, and scores that are not float32: their bits would be counted wrongly."""
    with pytest.raises(ValueError, match=match):
        streamed(maps, np.ones(maps.shape, dtype=bool), 100)
