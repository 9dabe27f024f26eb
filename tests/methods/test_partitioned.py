"""The partitioned coreset: its bound holds against the true radius and the true optimum, and it stays nested."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adloc.methods.patchcore import partitioned
from adloc.methods.patchcore.coreset import Coreset, pick_greedily
from adloc.methods.patchcore.detector import PatchCore
from adloc.methods.patchcore.params import PATCHCORE, PatchCoreParams
from adloc.methods.patchcore.partitioned import pick_in_parts
from detectors import draw_two_layers, take
from points import KINDS, draw_points


def covering_radius(points: torch.Tensor, centres: torch.Tensor) -> float:
    """By its definition."""
    return float(torch.cdist(points.double(), points[centres].double()).amin(1).max())


def picked_in_parts_of(size: int, points: torch.Tensor, n_picks: int) -> Coreset:
    """With parts of another size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitioned, "_PART", size)
        return pick_in_parts(points, n_picks)


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), n_points=st.integers(8, 14), size=st.integers(2, 14), seed=st.integers(0, 1000))
def test_radius_is_within_the_factor_of_the_best_there_is(kind: str, n_points: int, size: int, seed: int) -> None:
    """No point is further than `radius`, and no choice of as many centres is better by more than the factor."""
    points = draw_points(kind, n_points, 3, seed)
    n_picks = n_points // 4
    picked = picked_in_parts_of(size, points, n_picks)
    bound = float(picked.radius[-1])
    assert covering_radius(points, torch.from_numpy(picked.order)) <= bound * (1 + 1e-5) + 1e-5
    best = min(covering_radius(points, torch.tensor(some)) for some in combinations(range(n_points), n_picks))
    if bound > picked.reach:
        assert bound <= 2 * bound / (bound - picked.reach) * best * (1 + 1e-5) + 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_picks_are_distinct_and_nested(kind: str) -> None:
    """A smaller coreset is the beginning of a larger one, as of the exact ones."""
    points = draw_points(kind, 3000, 6)
    large, small = picked_in_parts_of(512, points, 750), picked_in_parts_of(512, points, 90)
    assert len(set(large.order)) == 750
    np.testing.assert_array_equal(small.order, large.order[:90])
    np.testing.assert_array_equal(small.radius, large.radius[:90])
    assert np.all(np.diff(large.elapsed_s) >= 0)


def test_it_covers_nearly_as_well_as_the_exact_one() -> None:
    """On points that lie in clusters, at 5 %, by a tenth worse at most."""
    points = draw_points("clusters", 4000, 8)
    parted, exact = picked_in_parts_of(512, points, 200), pick_greedily(points, 200)
    ratio = covering_radius(points, torch.from_numpy(parted.order)) / float(exact.radius[-1])
    assert 0.9 < ratio < 1.1


def test_the_factor_is_recorded() -> None:
    """Of a partitioned coreset alone; 2 would be the exact one's."""
    for asked, is_recorded in (
        ({"coreset": "partitioned", "coreset_ratio": 0.2}, True),
        ({"coreset_ratio": 0.5}, False),
    ):
        params = PatchCoreParams.model_validate({"neighbours": 4, **asked})
        results = take(PATCHCORE, params, draw_two_layers(20, seed=1), draw_two_layers(5, seed=2))
        factor = PatchCore().fit_facts(results, params).get("coreset_factor", 0)
        assert (factor >= 2) == is_recorded


def test_a_ratio_that_the_parts_cannot_give_is_refused() -> None:
    """More than the parts leave, by rule and remedy; a quarter is allowed."""
    given_params = {"backbone": "resnet18", "coreset": "partitioned"}
    assert PatchCoreParams(**given_params, coreset_ratio=0.25).coreset == "partitioned"
    with pytest.raises(ValidationError, match="among 25% of the patches"):
        PatchCoreParams(**given_params, coreset_ratio=0.26)
