"""What can be wrong with the search spaces of a study file, each mistake at its place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.methods import find_method, is_method
from adloc.study_file.variants import IMAGE_KEYS, MethodProblem, check_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from adloc.methods.method import Method
    from adloc.study_file.spec import MethodEntry, StudySpec
    from adloc.study_file.tuning import Dimension, TuneConfig

    Loc = tuple[str | int, ...]


def check_tuning(spec: StudySpec) -> list[MethodProblem]:
    """Every mistake in the spaces of a study, and in how tuning fits its parts and scopes."""
    problems: list[MethodProblem] = []
    for index, entry in enumerate(spec.methods):
        if entry.tune is not None and is_method(entry.method):
            problems += _check_entry(("methods", index), entry, entry.tune, spec)
    if problems or not any(entry.tune for entry in spec.methods):
        return problems
    if spec.features.keep == "none":
        return [
            MethodProblem(
                ("features", "keep"),
                state="is none, and a method is tuned",
                rule="every trial reads the features of all its images",
                remedy="use features.keep: train, which keeps those of the images that trials see",
            )
        ]
    return list(_check_study(spec))


def _check_entry(root: Loc, entry: MethodEntry, tune: TuneConfig, spec: StudySpec) -> Iterator[MethodProblem]:
    method, fixed = find_method(entry.method), {**entry.params, **entry.grid}
    space = tune.dimensions(method, fixed)
    if not space:
        yield MethodProblem(
            (*root, "tune", "space"),
            state="is auto, and params and grid fix all of it" if tune.space == "auto" else "is empty",
            rule="there must be something to search",
            remedy="name a hyperparameter with its range or choices, for example"
            " space: {coreset_ratio: {low: 0.01, high: 0.25, log: true}}",
        )
    wrong = False
    for key, dimension in space.items():
        loc = (*root, "tune", "space", key)
        found = list(_check_dimension(method, loc, key, dimension))
        if key in fixed:
            found = [_stands_twice(loc, f"{root[0]}[{root[1]}].{'params' if key in entry.params else 'grid'}")]
        wrong = wrong or bool(found)
        yield from found
    if not wrong:
        yield from _check_start(root, method, tune, space, spec)


def _stands_twice(loc: Loc, other: str) -> MethodProblem:
    return MethodProblem(
        loc,
        state=f"is also in {other}",
        rule="a key stands in one of params, grid and tune",
        remedy="delete one of the two",
    )


def _check_dimension(method: Method, loc: Loc, key: str, dimension: Dimension) -> Iterator[MethodProblem]:
    """The form of a range or of choices, then each of its values."""
    low, high, choices = dimension.low, dimension.high, dimension.choices
    if choices is not None and (low, high) == (None, None) and not dimension.log:
        yield from _check_choices(method, loc, key, choices)
    elif choices is None and low is not None and high is not None:
        yield from _check_range(method, loc, key, dimension, (low, high))
    else:
        yield MethodProblem(
            loc,
            state=f"has {', '.join(sorted(dimension.model_fields_set)) or 'nothing'}",
            rule="a hyperparameter has choices, or a range with low and high",
            remedy=f"write {key}: {{choices: [...]}} or {key}: {{low: ..., high: ...}}",
        )


def _check_choices(method: Method, loc: Loc, key: str, choices: Sequence[object]) -> Iterator[MethodProblem]:
    if len(choices) < 2 or len({repr(c) for c in choices}) < len(choices):  # noqa: PLR2004
        yield MethodProblem(
            (*loc, "choices"),
            state=f"is {list(choices)}",
            rule="choices must be two different values or more",
            remedy=f"move a single value to params: {key}",
        )
    for number, value in enumerate(choices):
        problem = check_value(method, (*loc, "choices", number), key, value)
        yield from [problem] if problem else []


def _impossible(
    method: Method, loc: Loc, key: str, dimension: Dimension, ends: tuple[float, float]
) -> MethodProblem | None:
    """What is wrong with a range whatever its ends are values of; None where nothing is."""
    low, high = ends
    state = f"goes from {low:g} to {high:g}"
    if low >= high:
        rule, remedy = "low must be below high", "exchange them, or move a single value to params"
    elif dimension.log and low <= 0:
        rule, remedy = "a logarithmic range must begin above 0", "raise low, or delete log: true"
    elif dimension.type == "int" and not (float(low).is_integer() and float(high).is_integer()):
        rule, remedy = "a range of whole numbers must have whole ends", "use whole ends, or delete type: int"
    elif dimension.type == "float" and _takes_whole_numbers_only(method, loc, key, ends):
        state, rule, remedy = "is a range of fractions", f"{key} takes whole numbers", "add type: int"
    else:
        return None
    return MethodProblem(loc, state=state, rule=rule, remedy=remedy)


def _check_range(
    method: Method, loc: Loc, key: str, dimension: Dimension, ends: tuple[float, float]
) -> Iterator[MethodProblem]:
    if (impossible := _impossible(method, loc, key, dimension, ends)) is not None:
        yield impossible
        return
    for end, number in zip(("low", "high"), ends, strict=True):
        problem = check_value(method, (*loc, end), key, int(number) if dimension.type == "int" else float(number))
        if problem:
            yield problem
            if problem.error is None:  # no such hyperparameter: once is enough
                return


def _takes_whole_numbers_only(method: Method, loc: Loc, key: str, ends: tuple[float, float]) -> bool:
    """Whether a whole number of the range is taken, and a fraction in it refused."""
    low, high = ends
    fraction = low + min(0.5, (high - low) / 2) if float(low).is_integer() else low
    whole = check_value(method, loc, key, math.ceil(low)) is None
    return whole and check_value(method, loc, key, fraction) is not None


def _check_start(
    root: Loc, method: Method, tune: TuneConfig, space: Mapping[str, Dimension], spec: StudySpec
) -> Iterator[MethodProblem]:
    for key, value in tune.start.items():
        loc = (*root, "tune", "start", key)
        if key not in space:
            yield MethodProblem(
                loc,
                state="is not in the space",
                rule=f"the setting to start from has values of what is searched: {', '.join(space)}",
                remedy="move it to params",
            )
        elif value not in space[key]:
            yield MethodProblem(
                loc,
                state=f"is {value}, which is not in the space",
                rule="the setting to start from is the first trial",
                remedy="widen the space, or start from a value in it",
            )
    for key, dimension in space.items():
        default = default_value(method, key, spec)
        if key not in tune.start and default not in dimension:
            yield MethodProblem(
                (*root, "tune", "space", key),
                state=f"does not hold {default}, the untuned setting's value",
                rule="the untuned setting is the first trial, so that the winner is never worse on the validation part",
                remedy=f"widen the space, or say what to start from in tune.start: {{{key}: ...}}",
            )


def default_value(method: Method, key: str, spec: StudySpec) -> object:
    """What a hyperparameter is when nobody sets it: of an image key, what the study says."""
    if key in IMAGE_KEYS:
        return spec.image.model_dump(mode="json").get(IMAGE_KEYS[key])  # no tiles are left out
    default: object = method.params.model_fields[key].default
    return default


def _check_study(spec: StudySpec) -> Iterator[MethodProblem]:
    if spec.split.train_fraction == 1 or spec.split.validation_defects == 0:
        key = "train_fraction" if spec.split.train_fraction == 1 else "validation_defects"
        yield MethodProblem(
            ("split", key),
            state=f"is {getattr(spec.split, key):g}, and a method is to be tuned",
            rule="tuning compares normal and anomalous images of the validation part",
            remedy="use split: {train_fraction: 0.8, validation_defects: 0.3}",
        )
    if spec.tuning.across == "category" and "unified" in spec.scopes:
        yield MethodProblem(
            ("tuning", "across"),
            state="is category, and scopes has unified",
            rule="one model for all categories has one setting",
            remedy="use tuning.across: macro, or scopes: [category]",
        )
