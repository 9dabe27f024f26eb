"""What a search takes before it was made: the stages of the middle of its space, how often, and what it may find."""

from __future__ import annotations

import math
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING

from adloc.planning.plan import walk
from adloc.study_file.variants import Winner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.planning.stages import Stage
    from adloc.study_file.tuning import Dimension
    from adloc.tuning.state import SearchState


def middle(dimension: Dimension) -> object:
    """The middle of a range, on its own scale, or of choices in their order."""
    return _at(dimension, 0.5)


def _at(dimension: Dimension, share: float) -> object:
    """What lies after so much of a range."""
    if dimension.choices is not None:
        return dimension.choices[int(share * len(dimension.choices))]
    low, high = float(dimension.low or 0.0), float(dimension.high or 0.0)
    value = low * (high / low) ** share if dimension.log else low + share * (high - low)
    return round(value) if dimension.type == "int" else value


def n_best(n_trials: int, n_objectives: int) -> float:
    """How many of so many trials none of the others beats in every objective, where objectives do not agree at all.

    On the average over all orders (Bentley, Kung, Schkolnick and Thompson, On the average number of maxima in a set of
    vectors, Journal of the ACM 25 (1978)): 1 of one objective, of two the sum of 1 / k for k up to the trials.

    Example:
        >>> n_best(4, 2)
        2.083333333333333
    """
    found = [1.0] * n_trials
    for _ in range(n_objectives - 1):
        found = list(accumulate(before / k for k, before in enumerate(found, 1)))
    return found[-1] if found else 0.0


def n_distinct(n_trials: int, n_settings: float) -> float:
    """How many of so many settings are tried by trials that take any of them, each as likely.

    On the average (classical occupancy: Feller, An Introduction to Probability Theory and Its Applications I, IV.2). A
    sampler that comes back to what was good takes fewer.

    Args:
        n_trials: how many.
        n_settings: one at least; infinity for those of which no two are alike.

    Example:
        >>> round(n_distinct(3, 2.0), 9)
        1.75
    """
    if n_settings == 1.0 or math.isinf(n_settings):
        return min(float(n_trials), n_settings)
    # v (1 - (1 - 1/v)^n), of a space of 1e18 settings too
    return -n_settings * math.expm1(n_trials * math.log1p(-1.0 / n_settings))


def likely(state: SearchState) -> list[Winner]:
    """What a search that goes on may add to the plan: settings spread over its space, as many as may be best."""
    search, config = state.search, state.search.config
    n = round(n_best(config.trials, len(config.objectives)))
    found = []
    for number in range(n):
        values = {name: _at(each, (number + 1) / (n + 1)) for name, each in search.space.items()}
        with suppress(ValueError):  # values that do not fit together
            search.variant(values)
            setting = f"likely_{number}"
            found.append(Winner(search.index, search.combination, search.repeat, search.category, setting, values))
    return found


def n_left(state: SearchState) -> int:
    """Trials that are still to be made."""
    return max(0, state.search.config.trials - len(state.trials))


def tried(state: SearchState, n_trials: int) -> dict[Stage, float]:
    """What so many trials compute, each stage with how often.

    A stage is computed once for each setting of what its key depends on that some trial has; one that grows with a
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
    return {stage: n_distinct(n_trials, times[key]) for key, stage in stages.items()}


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
