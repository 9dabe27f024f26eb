"""A study file into a validated spec: every mistake as file, line, key, value, rule and remedy, all at once."""

from __future__ import annotations

import re
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


def _translate(
    error: ValidationError, model: type[BaseModel], file: StudyFile, root: Loc, skip: int = 0
) -> list[Complaint]:
    """Pydantic's errors as complaints, one a key; the first `skip` parts of a location are not in the YAML."""
    complaints: dict[Loc, Complaint] = {}
    for item in error.errors(include_url=False):
        loc, field, owner = _follow(item["loc"], model, file, root, skip)
        kind, found = item["type"], _show(item.get("input"))
        extra = field.json_schema_extra if field and isinstance(field.json_schema_extra, dict) else {}
        rule, remedy = _advice(item, field, extra)
        if kind == "extra_forbidden":
            keys = sorted(owner.model_fields) if owner else []
            complaint = file.complaint(
                loc, "is not a key here", f"the keys here are {', '.join(keys)}", nearest(str(loc[-1]), keys)
            )
        elif kind == "missing":
            complaint = file.complaint(loc, "is missing", rule, f"add `{loc[-1]}:`")
        elif extra and kind == "literal_error" and _is_branch(str(item["loc"][-1])):  # other kinds of values fit too
            complaint = file.complaint(loc, f"is {found}", rule, remedy)
        elif kind in ("union_tag_invalid", "literal_error") and isinstance(item.get("input"), str | dict):
            tag = item.get("ctx", {})
            choices = [c.strip(" '") for c in re.split(r",| or ", str(tag.get("expected_tags") or tag.get("expected")))]
            value = str(tag.get("tag") or item.get("input"))
            if kind == "union_tag_invalid":
                loc = (*loc, str(tag.get("discriminator", "")).strip("'"))
            complaint = file.complaint(
                loc, f"is {value}", f"it must be one of {', '.join(choices)}", nearest(value, choices)
            )
        elif kind == "union_tag_not_found":
            key = str(item.get("ctx", {}).get("discriminator", "")).strip("'")
            complaint = file.complaint((*loc, key), "is missing", "it says which kind this is", f"add `{key}:`")
        elif kind == "rule":  # a method's own, with its remedy
            complaint = file.complaint(loc, f"is {found}", str(item["ctx"]["rule"]), str(item["ctx"]["remedy"]))
        elif kind == "value_error" and not extra:
            head, _, tail = str(item["ctx"]["error"]).partition("\n")
            state = f"is {found}" if loc != root else ""
            complaint = file.complaint(loc, state, head.strip(), tail.strip() or remedy)
        else:
            complaint = file.complaint(loc, f"is {found}", rule, remedy)
        complaints.setdefault(loc, _unquoted(kind, loc, file) or complaint)
    # A list with a wrong item is also "too short" to Pydantic, and no branch of a union: the item says it best.
    return [c for loc, c in complaints.items() if not any(other[: len(loc)] == loc != other for other in complaints)]


def _unquoted(kind: str, loc: Loc, file: StudyFile) -> Complaint | None:
    """What to say of a number in a list of names, as in categories: [01, 02]."""
    written = file.number(loc) if kind == "string_type" and isinstance(loc[-1], int) else None
    if written is None:
        return None
    return file.complaint(
        loc, f"is {written}, which YAML reads as a number", "a name is text", f'put it in quotes: "{written}"'
    )


def _follow(
    item_loc: Loc, model: type[BaseModel], file: StudyFile, root: Loc, skip: int
) -> tuple[Loc, FieldInfo | None, type[BaseModel] | None]:
    """The YAML path of a Pydantic location (without its union tags), the field there and its model."""
    data: Any = file.data
    for part in root:
        data = data[part]
    path: list[str | int] = list(root)
    field, owner, candidates = None, model, [model]
    for index, part in enumerate(item_loc):
        inside = _holds(data, part)
        named = next((m for m in candidates if part in m.model_fields), None)
        is_tag = not inside and len(candidates) > 1 and any(part in _tags(m) for m in candidates)
        if named is not None and isinstance(part, str) and not is_tag:
            field, owner = named.model_fields[part], named
            candidates = _models(field.annotation)
            if KindConfig in candidates:
                candidates = [*kinds_for(data[part] if inside else None)]
        elif is_tag or (not inside and (index < len(item_loc) - 1 or not isinstance(part, str) or _is_branch(part))):
            candidates = [m for m in candidates if part in _tags(m)] or candidates  # a union's tag
            continue
        elif isinstance(part, str) and candidates:  # not so in a plain mapping, which its own field describes
            field, owner = None, candidates[0]
        if index >= skip:
            path.append(part)
            data = data[part] if inside else None
    return tuple(path), field, owner


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


def _advice(item: ErrorDetails, field: FieldInfo | None, extra: Mapping[str, object]) -> tuple[str, str]:
    """Rule and remedy: as the field has them, else what it is, else what Pydantic says."""
    if not extra and item["type"] in ("model_type", "model_attributes_type"):
        models = _models(field.annotation) if field else []
        one = len(models) == 1 and models[0] is not KindConfig
        keys = f"keys, of {', '.join(models[0].model_fields)}" if one else "keys: kind, and those of that kind"
        return f"it must hold {keys}", "write them below it, indented; see `adloc schema`"
    rule = str(extra.get("rule") or (field.description if field else "") or item["msg"])
    return rule, str(extra.get("remedy") or "see `adloc schema`, or a file of studies/")


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
