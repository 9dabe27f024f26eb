"""A package's own method held to what it declares: its results are kept under the parameters that its steps name."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from adloc.methods import METHODS, MethodError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from adloc.planning.stages import StepStage

_NETWORK = {"backbone", "weights"}  # by which the features or images of every step are known


def readable(params: BaseModel, stage: StepStage) -> BaseModel:
    """The parameters without those that a package's step does not declare, nor a step before it; adloc's own as given.

    A step that read another one would give two settings one result.
    """
    if stage.method.name in METHODS:
        return params
    steps = (stage.step, *(before.step for before in stage.before))
    known = _NETWORK | {name for step in steps for name in step.params} | {stage.step.grows_with}
    found = params.model_copy()
    for name in type(params).model_fields.keys() - known:
        del found.__dict__[name]
    return found


@contextmanager
def held_to_declaration(stage: StepStage) -> Iterator[None]:
    """Say which parameter a step has tried to read.

    Raises:
        MethodError: it does not declare it.
    """
    try:
        yield
    except AttributeError as error:
        if not isinstance(error.obj, stage.method.params) or error.name not in stage.method.params.model_fields:
            raise
        raise MethodError(
            f"method {stage.method.name}: step {stage.step.name} reads {error.name}, which it does not declare",
            "a step depends on the parameters that it names, and on those of the steps before it: so it is kept",
            f"add {error.name} to the params of the step",
        ) from error
