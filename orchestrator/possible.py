"""Whether the runs of a study can be: parameters that images or network make impossible are told before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.cost.networks import map_shapes
from adloc.errors import Complaint, UserError
from adloc.methods.backbone import check_layers
from adloc.methods.errors import MethodError
from adloc.methods.given import Given
from adloc.methods.registry import require_possible
from adloc.study_file.variants import variants
from adloc.tuning.search import searches

if TYPE_CHECKING:
    from adloc.planning.plan import Plan, Run
    from adloc.study_file.reader import StudyFile
    from adloc.study_file.spec import StudySpec
    from adloc.study_file.variants import Variant


def require_layers(file: StudyFile, spec: StudySpec) -> None:
    """Ask the named networks whether they have the layers that are asked of them; needs neither images nor weights.

    Raises:
        UserError: naming each layer that is not there, once.
    """
    asked = [(variant, getattr(variant.params, "layers", ())) for variant in variants(spec)]
    asked += [(variant, each.layers()) for each in searches(spec, ["any"]) for variant in each.networks()]
    found: dict[str, Complaint] = {}
    for variant, layers in asked:
        try:
            check_layers(str(getattr(variant.params, "backbone", None)), layers)
        except MethodError as error:
            where = _where(file, variant, "layers")
            found.setdefault(error.found, Complaint(f"{where}: {error.found}", error.rule, error.remedy))
    if found:
        raise UserError(*found.values())


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
                error.found,
                Complaint(f"{_where(file, run.variant, error.found)}: {error.found}", error.rule, error.remedy),
            )
    if found:
        raise UserError(*found.values())


def _given(run: Run) -> Given:
    image, params = run.variant.image, run.variant.params
    backbone, layers = getattr(params, "backbone", None), getattr(params, "layers", ())
    return Given(len(run.train_part), image.input_size, map_shapes(str(backbone), layers, image))


def _where(file: StudyFile, variant: Variant, told: str) -> str:
    """The place of the parameter that is named in what is told, as far as the file has it."""
    for index, entry in enumerate(file.data["methods"]):
        if entry["method"] != variant.method.name:
            continue
        for section in ("grid", "params"):
            for key, value in (entry.get(section) or {}).items():
                values = value if section == "grid" else [value]
                asked = getattr(variant.params, key, None)
                if key in told and (list(asked) if isinstance(asked, tuple) else asked) in values:
                    return file.where(("methods", index, section, key))
    return str(file.path)
