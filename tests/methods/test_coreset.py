"""The greedy coreset picks exactly what the plain definition picks, in the same order."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adloc.methods.errors import MethodError
from adloc.methods.patchcore import coreset, cover
from adloc.methods.patchcore.coreset import pick_greedily, projection_matrix
from adloc.methods.patchcore.grid import Grid
from adloc.methods.patchcore.possible import count_picks
from points import KINDS, draw_points

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def pick_plainly(points: Tensor, n_picks: int, first: int | None = None) -> NDArray[np.int64]:
    """Greedy k-centre by its definition, every distance of every pick, in integers."""
    integers = Grid.of(points).rows(slice(None)).numpy().astype(np.int64)
    mean = np.rint(integers.sum(0) / len(integers)).astype(np.int64)
    order = [int(((integers - mean) ** 2).sum(1).argmax()) if first is None else first]
    nearest = np.full(len(points), np.iinfo(np.int64).max)
    while len(order) < n_picks:
        np.minimum(nearest, ((integers - integers[order[-1]]) ** 2).sum(1), out=nearest)
        nearest[order[-1]] = -1
        order.append(int(nearest.argmax()))
    return np.array(order)


@pytest.mark.parametrize("kind", KINDS)
def test_picks_equal_the_definition(kind: str) -> None:
    """Many points, few of them candidates: the picks are those of the definition, ties by lowest index."""
    points = draw_points(kind, 6000, 8)
    np.testing.assert_array_equal(pick_greedily(points, 600).order, pick_plainly(points, 600))


@pytest.mark.parametrize("first", [0, 17, 299])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_centre_can_be_named(kind: str, first: int) -> None:
    """The named point is the first centre, whatever the mean, and all others follow from it by the definition."""
    points = draw_points(kind, 300, 5)
    picked = pick_greedily(points, 300, first)
    np.testing.assert_array_equal(picked.order, pick_plainly(points, 300, first))
    assert picked.order[0] == first
    assert np.isfinite(picked.radius).all()


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    n_points=st.integers(1, 90),
    dimension=st.integers(1, 5),
    seed=st.integers(0, 1000),
    fewest=st.integers(1, 8),
    group=st.integers(1, 20),
)
def test_picks_to_the_last_point_equal_the_definition(
    kind: str, n_points: int, dimension: int, seed: int, fewest: int, group: int
) -> None:
    """However few candidates, and however small the groups that are left out or not, the order is the definition's."""
    points = draw_points(kind, n_points, dimension, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coreset, "_FEWEST", fewest)
        patch.setattr(coreset, "_MOST", 2 * fewest)
        patch.setattr(coreset, "_IN_TABLE", max(1, fewest // 2))
        patch.setattr(cover, "_GROUP", group)
        patch.setattr(cover, "_REGROUPED_AT", 2)
        patch.setattr(cover, "_GROUP_BYTES", 64)
        order = pick_greedily(points, n_points).order
    np.testing.assert_array_equal(order, pick_plainly(points, n_points))


def test_radius_is_the_covering_radius() -> None:
    """After each pick the worst covered point is that far from its nearest centre; at the end nothing is left."""
    points = draw_points("clusters", 400, 6)
    picked = pick_greedily(points, 400)
    doubles = points.double()
    for n_centres in (1, 2, 17, 399, 400):
        distances = torch.cdist(doubles, doubles[picked.order[:n_centres]]).amin(1)
        assert picked.radius[n_centres - 1] == pytest.approx(float(distances.max()), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_coreset_is_a_set(kind: str) -> None:
    """No point is picked twice, radius never grows, time never runs back."""
    picked = pick_greedily(draw_points(kind, 500, 4), 500)
    assert sorted(picked.order) == list(range(500))
    assert np.all(np.diff(picked.radius) <= 0)
    assert np.all(np.diff(picked.elapsed_s) >= 0)


def test_smaller_coresets_are_prefixes() -> None:
    """A coreset computed alone is the beginning of a larger one, bit by bit."""
    points = draw_points("clusters", 5000, 16)
    large, small = pick_greedily(points, 1000), pick_greedily(points, 130)
    np.testing.assert_array_equal(small.order, large.order[:130])
    np.testing.assert_array_equal(small.radius, large.radius[:130])


def test_picks_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes of blocks and candidate sets are a matter of speed alone."""
    points = draw_points("noise", 5000, 128)
    expected = pick_greedily(points, 300).order
    monkeypatch.setattr(cover, "_GROUP_BYTES", 10_000)
    monkeypatch.setattr(coreset, "_FEWEST", 70)
    np.testing.assert_array_equal(pick_greedily(points, 300).order, expected)


@pytest.mark.parametrize(("kind", "most"), [("clusters", 0.5), ("noise", 1.0)])
def test_pruned_distances_have_the_bits_of_all_pairs(kind: str, most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In clusters most groups are out of a new centre's reach; the others are given what all pairs give."""
    points = draw_points(kind, 4000, 16)
    grid, order = Grid.of(points), torch.from_numpy(pick_greedily(points, 300).order)
    monkeypatch.setattr(cover, "_GROUP", 128)
    pruned, full = cover.PrunedCover(grid, int(order[0])), cover.Cover(grid, int(order[0]))
    computed: list[int] = []
    update = cover.PrunedCover._update

    def counted(*arguments: Any) -> None:
        groups, number, centres = arguments[1:4]
        computed.append((groups.starts[number + 1] - groups.starts[number]) * len(centres))
        update(*arguments)

    monkeypatch.setattr(cover.PrunedCover, "_update", counted)
    for picks in (order[1:40], order[40:150], order[150:]):
        computed.clear()
        pruned.add(picks)
        full.add(picks)
        assert torch.equal(pruned.nearest, full.nearest)
        assert computed
    assert sum(computed) <= most * 150 * len(points)


def test_shortened_float32_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch may shorten float32 in products, the bound on their error does not hold, and float64 is taken."""
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    monkeypatch.setattr(cover.PrunedCover, "__init__", None)
    points = draw_points("clusters", 300, 5)
    np.testing.assert_array_equal(pick_greedily(points, 100).order, pick_plainly(points, 100))


@pytest.mark.parametrize("dimension", [1, 128, 1536, 4096])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_grid_has_no_rounding_error(dimension: int, scale: float) -> None:
    """On the grid, products and sums are the exact integers, and the grid is as fine as is said."""
    points = draw_points("noise", 40, dimension) * scale
    grid = Grid.of(points)
    integers, unit = grid.rows(slice(None)), grid.unit
    exact = [[int(value) for value in row] for row in integers.tolist()]
    squared = torch.addmm(integers.double().square().sum(1), integers.double(), integers.double().T, alpha=-2)
    squared += integers.double().square().sum(1, keepdim=True)
    for row, column in ((0, 1), (5, 30), (39, 39)):
        expected = sum((a - b) ** 2 for a, b in zip(exact[row], exact[column], strict=True))
        assert int(squared[row, column]) == expected
    assert (integers * unit - points).abs().max() <= 2e-6 * points.abs().max()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_points_that_are_not_finite_are_refused(value: float) -> None:
    """Broken features are an error, not a coreset of nonsense."""
    points = draw_points("noise", 10, 3)
    points[4, 1] = value
    with pytest.raises(MethodError, match="NaN or infinity"):
        pick_greedily(points, 3)


def test_number_of_picks() -> None:
    """A ratio keeps its share rounded half up: at least one patch, all of them at 1, never fewer for more."""
    assert [count_picks(r, 1000) for r in (1e-9, 0.0014, 0.0015, 0.05, 1)] == [1, 1, 2, 50, 1000]
    assert count_picks(0.01, 3) == 1
    counts = [count_picks(r, 783) for r in np.linspace(0.001, 1, 500)]
    assert all(a <= b for a, b in pairwise(counts))


def test_projection_keeps_distances_and_follows_its_seed() -> None:
    """Squared distances keep their mean; the seed decides; nothing is projected to more dimensions."""
    first, again, other = (projection_matrix(1000, 128, seed) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    points = draw_points("noise", 60, 1000)
    share = torch.pdist(points @ first).square().mean() / torch.pdist(points).square().mean()
    assert float(share) == pytest.approx(1, abs=0.05)
    assert projection_matrix(128, 128, 1) is None
    assert projection_matrix(1000, None, 1) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_picks_on_a_gpu(kind: str) -> None:
    """A GPU picks the same points."""
    points = draw_points(kind, 6000, 8)
    np.testing.assert_array_equal(pick_greedily(points.cuda(), 600).order, pick_greedily(points, 600).order)
