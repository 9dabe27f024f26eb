"""What the trials of a search compute, before any was made: the stages of the middle of its space, and how often."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

from adloc.planning.plan import walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.planning.stages import Stage
    from adloc.study_file.tuning import Dimension
    from adloc.tuning.state import SearchState


def middle(dimension: Dimension) -> object:
    """The middle of a range, on its own scale, or of choices in their order."""
    if dimension.choices is not None:
        return dimension.choices[len(dimension.choices) // 2]
    low, high = float(dimension.low or 0.0), float(dimension.high or 0.0)
    value = math.sqrt(low * high) if dimension.log else (low + high) / 2
    return round(value) if dimension.type == "int" else value


def n_left(state: SearchState) -> int:
    """Trials that are still to be made."""
    return max(0, state.search.config.trials - len(state.trials))


def tried(state: SearchState, n_trials: int) -> dict[Stage, float]:
    """What so many trials compute, each stage with how often.

    A stage is computed once for each setting of what its key depends on, at most once a trial; one that grows with a
    dimension reaches to its largest value at once.
    """
    space = state.search.space
    values = {name: middle(dimension) for name, dimension in space.items()}
    stages = _stages(state, values)
    times = dict.fromkeys(stages, 1.0)
    for name, dimension in space.items():
        others = _stages(state, values | {name: _other(dimension)})
        for key in stages.keys() - others.keys():
            times[key] *= _n_values(dimension)
    for key, stage in stages.items():
        name = str(stage.grows_with)
        grown = space.get(name)
        if stage.extent is not None and grown is not None:
            most = grown.most(stage.extent)
            stages[key] = _stages(state, values | {name: round(most) if grown.type == "int" else most}).get(key, stage)
    return {stage: min(float(n_trials), times[key]) for key, stage in stages.items()}


def _stages(state: SearchState, values: Mapping[str, object]) -> dict[str, Stage]:
    """By key, inputs first; none where the values do not fit together, which ends a trial before it computes."""
    with suppress(ValueError):
        variant, made = state.search.variant(values), state.stages
        lasts = (last(variant, category) for category in made.calibration for last in (made.evaluation, made.threshold))
        return {stage.key: stage for last in lasts for stage in walk(last)}
    return {}


def _other(dimension: Dimension) -> object:
    """A value that is not the middle."""
    if dimension.choices is None:
        return round(dimension.low or 0) if dimension.type == "int" else dimension.low
    return dimension.choices[0] if len(dimension.choices) > 1 else middle(dimension)


def _n_values(dimension: Dimension) -> float:
    if dimension.choices is not None:
        return float(len(dimension.choices))
    return math.inf if dimension.type == "float" else float(dimension.high or 0) - float(dimension.low or 0) + 1
