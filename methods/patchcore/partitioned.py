"""A coreset picked in two rounds, for millions of patches: the greedy one of the greedy picks of parts.

Notation: n points of d dimensions, m picks; R the largest covering radius of a part by its own picks.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.patchcore.coreset import pick_greedily
from adloc.methods.patchcore.params import PARTITIONED_SHARE

if TYPE_CHECKING:
    from torch import Tensor

    from adloc.methods.patchcore.coreset import Coreset

_PART = 4096  # points of a part, at most


def pick_in_parts(points: Tensor, n_picks: int) -> Coreset:
    """Pick greedily among the points that greedy picks of parts leave, a quarter of all.

    The composition of k-centre coresets (Malkomes et al. 2015, "Fast distributed k-center clustering with outliers on
    massive data"; Ceccarello et al. 2019), with the bound measured instead of assumed. Let the candidates be covered to
    within r by m picks, the last one at a distance of at least r from those before it. Every point is within R of a
    candidate, so within r + R of a pick. The picks and the candidate that is worst covered are m + 1 points at least r
    from one another, two of which share their nearest centre whatever m centres are chosen: no m centres cover all
    points to within less than r / 2. So the covering radius is at most 2 (1 + R / r) times the least that there is; of
    the exact greedy one it is 2.

    Part number i of P has the points i, i + P, i + 2 P: patches of all images. Costs 2 n m d / 4 float64 operations,
    and those of the parts, which grow with n alone.

    Args:
        points: float32 (n, d), on any device.
        n_picks: from 1 to a quarter of n, rounded half up.

    Returns:
        `radius` is r + R, which the covering radius does not exceed; `reach` is R.

    Raises:
        MethodError: a point is not finite.
    """
    start = time.perf_counter()
    n_parts = math.ceil(len(points) / _PART)
    candidates, reach = [], 0.0
    for number in range(n_parts):
        own = points[number::n_parts].contiguous()
        picked = pick_greedily(own, math.ceil(PARTITIONED_SHARE * len(own)))
        candidates.append(number + n_parts * picked.order)
        reach = max(reach, float(picked.radius[-1]))
    indices = np.sort(np.concatenate(candidates))
    parted_s = np.float32(time.perf_counter() - start)
    picked = pick_greedily(points[torch.from_numpy(indices).to(points.device)], n_picks)
    return replace(
        picked,
        order=indices[picked.order],
        radius=picked.radius + np.float32(reach),
        elapsed_s=picked.elapsed_s + parted_s,
        reach=reach,
    )
