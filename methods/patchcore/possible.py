"""Which parameters of PatchCore its images make impossible, without importing torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.methods.errors import MethodError
from adloc.methods.params import narrow
from adloc.methods.patchcore.params import PatchCoreParams

if TYPE_CHECKING:
    from pydantic import BaseModel

    from adloc.methods.given import Given


def require_possible(params: BaseModel, given: Given) -> None:
    """Refuse what no fit on these images could have.

    Raises:
        MethodError: a memory bank of one entry whose scores are to be weighed by its neighbours.
    """
    params = narrow(params, PatchCoreParams)
    if given.maps and given.n_images:
        grid = max(given.maps, key=lambda each: each.height * each.width)
        n_places = count_kept(grid.height, params.patch_stride) * count_kept(grid.width, params.patch_stride)
        require_neighbours(params, count_picks(params.coreset_ratio, given.n_images * n_places))


def count_kept(length: int, stride: int) -> int:
    """How many places of one side of a grid a stride keeps, at least one."""
    return len(range(min((stride - 1) // 2, (length - 1) // 2), length, stride))


def count_picks(ratio: float, n_points: int) -> int:
    """How many of n points a ratio keeps: ratio * n rounded half up, at least 1. Grows with the ratio."""
    return min(n_points, max(1, math.floor(ratio * n_points + 0.5)))


def require_neighbours(params: PatchCoreParams, n_entries: int) -> None:
    """Refuse weights of a bank that has no neighbours to weigh by."""
    if n_entries == 1 and params.reweight != "none":
        raise MethodError(
            "the memory bank has 1 entry",
            f"reweight {params.reweight} needs at least 2: with a single one every weight is 0",
            "raise coreset_ratio, or use reweight: none",
        )
