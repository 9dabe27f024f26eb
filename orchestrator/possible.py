"""Whether the runs of a plan can be: parameters that images or network make impossible are told before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.cost.networks import map_shapes
from adloc.errors import Complaint, UserError
from adloc.methods.errors import MethodError
from adloc.methods.given import Given
from adloc.methods.registry import require_possible

if TYPE_CHECKING:
    from adloc.planning.plan import Plan, Run
    from adloc.study_file.reader import StudyFile


def require_possible_runs(file: StudyFile, plan: Plan) -> None:
    """Ask the method of every run about its parameters, as far as the shapes of its network are known.

    Raises:
        UserError: naming each value that is impossible, once.
    """
    found: dict[str, Complaint] = {}
    alike = {(run.variant, len(run.train_part)): run for run in plan.runs}  # regimes and repeats differ in nothing here
    for run in alike.values():
        try:
            require_possible(run.variant.method, run.variant.params, _given(run))
        except MethodError as error:
            found.setdefault(
                error.found, Complaint(f"{_where(file, run, error)}: {error.found}", error.rule, error.remedy)
            )
    if found:
        raise UserError(*found.values())


def _given(run: Run) -> Given:
    image, params = run.variant.image, run.variant.params
    backbone, layers = getattr(params, "backbone", None), getattr(params, "layers", ())
    return Given(len(run.train_part), image.input_size, map_shapes(str(backbone), layers, image))


def _where(file: StudyFile, run: Run, error: MethodError) -> str:
    """The place of the parameter that the error names, as far as the file has it."""
    for index, entry in enumerate(file.data["methods"]):
        if entry["method"] != run.variant.method.name:
            continue
        for section in ("grid", "params"):
            for key, value in (entry.get(section) or {}).items():
                values = value if section == "grid" else [value]
                if key in error.found and getattr(run.variant.params, key, None) in values:
                    return file.where(("methods", index, section, key))
    return str(file.path)
