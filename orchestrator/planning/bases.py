"""Steps that go on from each other's results: which from which, and how far each must therefore reach. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from adloc.planning.stages import StepStage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adloc.planning.stages import Stage


def find_bases(stages: Iterable[Stage]) -> dict[str, StepStage]:
    """By key: the stage of the same family with the next smaller value, from small to large."""
    families: dict[str, dict[float, StepStage]] = {}
    for stage in stages:
        if isinstance(stage, StepStage) and stage.family is not None:
            families.setdefault(stage.family, {})[float(getattr(stage.params, str(stage.step.builds_on)))] = stage
    return {
        family[larger].key: family[smaller]
        for family in families.values()
        for smaller, larger in pairwise(sorted(family))
    }


def deepen(extents: dict[str, float], bases: Mapping[str, StepStage]) -> None:
    """Let every step reach at least as far as all that goes on from its result, at any remove.

    Args:
        extents: by key; raised where needed.
        bases: see `find_bases`.
    """
    for key in bases:
        extent, base = extents.get(key), bases.get(key)
        while extent is not None and base is not None:
            extents[base.key] = max(extents.get(base.key, 0.0), extent)
            base = bases.get(base.key)
