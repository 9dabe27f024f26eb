"""A study file into a validated spec: every mistake as file, line, key, value, rule and remedy, all at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from adloc.datasets.config import KindConfig
from adloc.datasets.registry import kinds_for
from adloc.errors import Complaint, UserError, nearest
from adloc.study_file.axes_checks import check_axes
from adloc.study_file.domains_checks import check_domains
from adloc.study_file.evaluation_checks import check_evaluation
from adloc.study_file.reader import Loc, StudyFile
from adloc.study_file.size import require_size
from adloc.study_file.spec import StudySpec
from adloc.study_file.tuning_checks import check_tuning
from adloc.study_file.variants import check_methods

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

LONGEST_VALUE = 80  # characters of a value in a message


def load_study(path: Path, overrides: Sequence[str] = ()) -> tuple[StudyFile, StudySpec]:
    """Read, expand, override and validate a study file; the file says where each key stands.

    Raises:
        UserError: with every mistake found.
    """
    file = StudyFile(path, overrides)
    try:
        spec = StudySpec.model_validate(file.data)
    except ValidationError as error:
        raise UserError(*_translate(error, StudySpec, file, ())) from None
    categories = getattr(spec.dataset, "categories", None)
    require_size(file, spec, len(categories) if isinstance(categories, tuple) else 1)
    complaints: list[Complaint] = []
    found = (
        *check_methods(spec),
        *check_tuning(spec),
        *check_axes(spec),
        *check_domains(spec),
        *check_evaluation(spec),
    )
    for problem in found:
        if isinstance(problem.error, ValidationError):
            complaints += _translate(problem.error, problem.model, file, problem.loc, skip=problem.skip)
        else:
            complaints.append(file.complaint(problem.loc, problem.state, problem.rule, problem.remedy))
    if spec.thresholds.objective == "cost" and spec.operating is None:
        complaints.append(
            file.complaint(
                ("thresholds", "objective"),
                "is cost, and the study has no operating",
                "what a threshold costs depends on how rare defects are and on what each mistake costs",
                "add operating: {prevalence: 0.002, cost_miss: 50, cost_false_alarm: 1}",
            )
        )
    if complaints:
        raise UserError(*complaints)
    return file, spec


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one of Pydantic's errors stands.

    Attributes:
        loc: its path in the YAML.
        field: what is there; None for a key that no model has.
        owner: the model whose key it is, or would be.
    """

    loc: Loc
    field: FieldInfo | None
    owner: type[BaseModel] | None

    @property
    def extra(self) -> Mapping[str, object]:
        """Rule and remedy as the field has them; empty where it has none."""
        extra = self.field.json_schema_extra if self.field else None
        return extra if isinstance(extra, dict) else {}


def _translate(
    error: ValidationError, model: type[BaseModel], file: StudyFile, root: Loc, skip: int = 0
) -> list[Complaint]:
    """Pydantic's errors as complaints, one a key; the first `skip` parts of a location are not in the YAML."""
    complaints: dict[Loc, Complaint] = {}
    for item in error.errors(include_url=False):
        place = _follow(item, model, file, root, skip)
        complaints.setdefault(place.loc, _complaint(item, place, file, root))
    # A list with a wrong item is also "too short" to Pydantic, and no branch of a union: the item says it best.
    return [c for loc, c in complaints.items() if not any(other[: len(loc)] == loc != other for other in complaints)]


def _complaint(item: ErrorDetails, place: _Place, file: StudyFile, root: Loc) -> Complaint:
    """What to say of one of Pydantic's errors: of a key, of a choice, or of a value."""
    loc, kind = place.loc, item["type"]
    if kind == "extra_forbidden":
        keys = sorted(place.owner.model_fields) if place.owner else []
        rule = f"the keys here are {', '.join(keys)}"
        return file.complaint(loc, "is not a key here", rule, nearest(str(loc[-1]), keys))
    if kind == "missing":
        return file.complaint(loc, "is missing", _advice(item, place)[0], f"add `{loc[-1]}:`")
    if kind == "union_tag_not_found":
        key = _discriminator(item)
        return file.complaint((*loc, key), "is missing", "it says which kind this is", f"add `{key}:`")
    # a field with a rule of its own may have branches of other kinds, whose values fit too
    one_of_several = bool(place.extra) and kind == "literal_error" and _is_branch(str(item["loc"][-1]))
    if kind in ("union_tag_invalid", "literal_error") and isinstance(item["input"], str | dict) and not one_of_several:
        return _of_choice(item, loc, file)
    return _of_value(item, place, file, root)


def _of_choice(item: ErrorDetails, loc: Loc, file: StudyFile) -> Complaint:
    """A word that is none of those that fit."""
    context = item.get("ctx", {})
    expected = str(context.get("expected_tags") or context.get("expected"))
    choices = [c.strip(" '") for c in re.split(r",| or ", expected)]
    value = str(context.get("tag") or item["input"])
    return file.complaint(loc, f"is {value}", f"it must be one of {', '.join(choices)}", nearest(value, choices))


def _of_value(item: ErrorDetails, place: _Place, file: StudyFile, root: Loc) -> Complaint:
    """A value against the rule of its field, of its method, or of the section it stands in."""
    loc, kind = place.loc, item["type"]
    written = file.number(loc) if kind == "string_type" and isinstance(loc[-1], int) else None
    if written is not None:  # in a list of names, as in categories: [01, 02]
        state = f"is {written}, which YAML reads as a number"
        return file.complaint(loc, state, "a name is text", f'put it in quotes: "{written}"')
    state = f"is {_show(item['input'])}"
    rule, remedy = _advice(item, place)
    if kind == "rule":  # a method's own, with its remedy
        rule, remedy = str(item["ctx"]["rule"]), str(item["ctx"]["remedy"])
    elif kind == "value_error" and not place.extra:
        head, _, tail = str(item["ctx"]["error"]).partition("\n")
        state = state if loc != root else ""
        rule, remedy = head.strip(), tail.strip() or remedy
    return file.complaint(loc, state, rule, remedy)


def _discriminator(item: ErrorDetails) -> str:
    """The key that says which branch of a union is meant."""
    return str(item.get("ctx", {}).get("discriminator", "")).strip("'")


def _inside(field: FieldInfo, value: object) -> list[type[BaseModel]]:
    """The models that may describe the value of a field."""
    found = _models(field.annotation)
    return [*kinds_for(value)] if KindConfig in found else found


def _follow(item: ErrorDetails, model: type[BaseModel], file: StudyFile, root: Loc, skip: int) -> _Place:
    """The YAML path of a Pydantic location (without its union tags), the field there and its model."""
    data: Any = reduce(getitem, root, file.data)
    path: list[str | int] = list(root)
    field, owner, candidates = None, model, [model]
    for index, part in enumerate(item["loc"]):
        inside = _holds(data, part)
        value = data[part] if inside else None
        if not inside and _names_a_branch(part, candidates, last=index == len(item["loc"]) - 1):
            candidates = _tagged(candidates, part) or candidates
            continue
        if isinstance(part, str) and candidates:  # not so in a plain mapping, which its own field describes
            owner = next((m for m in candidates if part in m.model_fields), candidates[0])
            field = owner.model_fields.get(part)
            if field is not None:
                candidates = _inside(field, value)
        if index >= skip:
            path.append(part)
            data = value
    if item["type"] == "union_tag_invalid":
        path.append(_discriminator(item))
    return _Place(tuple(path), field, owner)


def _names_a_branch(part: str | int, candidates: Sequence[type[BaseModel]], *, last: bool) -> bool:
    """Whether a part of a location that is not in the YAML is a union's, and no key that is missing or unknown."""
    if len(candidates) > 1 and _tagged(candidates, part):
        return True
    if any(part in m.model_fields for m in candidates):
        return False
    return not last or not isinstance(part, str) or _is_branch(part)


def _holds(data: object, part: str | int) -> bool:
    """Whether a YAML node has this key or item."""
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _is_branch(part: str) -> bool:
    """Whether a location's part names a branch of a union ("list[str]", "literal['all']") and not a key."""
    return bool(
        re.fullmatch(r"[a-z_]+\[.*\]|constrained-\w+|int|float|str|bool|dict|list|tuple|none|function-\S+", part)
    )


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401  # a type expression
    """The Pydantic models named in a type expression."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models(part)]


def _advice(item: ErrorDetails, place: _Place) -> tuple[str, str]:
    """Rule and remedy: as the field has them, else what it is, else what Pydantic says."""
    field, extra = place.field, place.extra
    if not extra and item["type"] in ("model_type", "model_attributes_type"):
        models = _models(field.annotation) if field else []
        one = len(models) == 1 and models[0] is not KindConfig
        keys = f"keys, of {', '.join(models[0].model_fields)}" if one else "keys: kind, and those of that kind"
        return f"it must hold {keys}", "write them below it, indented; see `adloc schema`"
    rule = str(extra.get("rule") or (field.description if field else "") or item["msg"])
    return rule, str(extra.get("remedy") or "see `adloc schema`, or a file of studies/")


def _tagged(models: Sequence[type[BaseModel]], tag: str | int) -> list[type[BaseModel]]:
    """Those that a discriminated union picks by this value."""
    return [m for m in models if tag in _tags(m)]


def _tags(model: type[BaseModel]) -> set[str]:
    """Values by which a discriminated union picks this model."""
    return {
        str(value)
        for field in model.model_fields.values()
        for value in getattr(field.annotation, "__args__", ())
        if isinstance(value, str)
    }


def _show(value: object) -> str:
    """A value as it would stand in YAML, cut to one line."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) and not value.strip() else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
