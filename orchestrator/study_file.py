"""Read a study file: YAML with its line numbers, variables and overrides, into a validated spec.

Every mistake is reported as file, line, key, the value found, the rule and the remedy, all of them at once.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from adloc.errors import Complaint, UserError
from adloc.spec import StudySpec
from adloc.variants import check_methods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo

Loc = tuple[str | int, ...]
MVTEC_AD_REMEDY = (
    "MVTec AD is free for research from MVTec Software's website (search for 'MVTec Anomaly Detection Dataset'); "
    "unpack it and `export MVTEC_AD_ROOT=/path/to/it`.\n"
    "  To try this study without it, on the embedded textures:"
    " add --set 'dataset={kind: textures, categories: all}'"
)


class StudyFile:
    """A parsed study file that knows where each key stands.

    Attributes:
        path: of the file.
        data: plain values, variables expanded and overrides applied.
    """

    def __init__(self, path: Path, overrides: Sequence[str] = ()) -> None:
        """Read the file and apply `key=value` overrides.

        Raises:
            UserError: no such file, not YAML, an unset variable, a malformed override.
        """
        self.path = path
        self._overridden: dict[Loc, str] = {}
        tree = self._parse()
        self._lines: dict[Loc, int] = {}
        self._record_lines(tree, ())
        data = _plain(tree)
        for override in overrides:
            self._override(data, override)
        self._complaints: list[Complaint] = []
        self.data = self._expand(data, ())
        if self._complaints:
            raise UserError(*self._complaints)

    def where(self, loc: Loc) -> str:
        """ "studies/x.yaml:14", the line of the key or of its nearest ancestor; or the override that set it."""
        for end in range(len(loc), -1, -1):
            if loc[:end] in self._overridden:
                return f"--set {self._overridden[loc[:end]]}"
            if loc[:end] in self._lines:
                return f"{self.path}:{self._lines[loc[:end]]}"
        return f"{self.path}"

    def complaint(self, loc: Loc, state: str, rule: str, remedy: str) -> Complaint:
        """A complaint about one key: `state` follows the key, as in "is 0"."""
        return Complaint(f"{self.where(loc)}: {dotted(loc)} {state}".rstrip(), rule, remedy)

    def _parse(self) -> CommentedMap:
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise UserError(
                Complaint(f"{self.path}: {reason}", "a study file must be readable", "check the path")
            ) from None
        try:
            tree = YAML(typ="rt").load(text)
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise UserError(
                Complaint(
                    f"{self.path}:{line}: {error.problem}",
                    "a study file must be YAML",
                    "look at this line and the one before: indentation, a missing colon, an open bracket,"
                    " a key given twice",
                )
            ) from None
        if not isinstance(tree, CommentedMap):
            raise UserError(
                Complaint(
                    f"{self.path}:1: no keys found",
                    "a study file must hold keys such as study, dataset, methods",
                    "start from studies/quickstart.yaml",
                )
            )
        return tree

    def _record_lines(self, node: object, loc: Loc) -> None:
        if isinstance(node, CommentedMap):
            for key in node:
                self._lines[(*loc, key)] = node.lc.key(key)[0] + 1
                self._record_lines(node[key], (*loc, key))
        elif isinstance(node, CommentedSeq):
            for index, item in enumerate(node):
                self._lines[(*loc, index)] = node.lc.item(index)[0] + 1
                self._record_lines(item, (*loc, index))

    def _override(self, data: dict[str, Any], override: str) -> None:
        key, equals, text = override.partition("=")
        loc = tuple(
            int(part) if part.isdigit() else part for part in re.sub(r"\[(\d+)\]", r".\1", key.strip()).split(".")
        )
        bad = UserError(
            Complaint(
                f"--set {override}",
                "an override must be dotted.key=value, the value in YAML",
                "write for example --set image.size=128 or --set methods[0].params.neighbours=5",
            )
        )
        if not equals or not all(part != "" for part in loc):
            raise bad
        try:
            value = _plain(YAML(typ="rt").load(text))
        except MarkedYAMLError:
            raise bad from None
        node: Any = data
        try:
            for here, following in zip(loc, loc[1:], strict=False):
                if isinstance(node, dict) and here not in node:
                    node[here] = {} if isinstance(following, str) else []
                node = node[here]
                if node is None:
                    raise TypeError
            if isinstance(node, list) and not (isinstance(loc[-1], int) and loc[-1] < len(node)):
                raise IndexError
            node[loc[-1]] = value
        except (KeyError, IndexError, TypeError):
            raise UserError(
                Complaint(
                    f"--set {override}: there is no {dotted(loc[:-1])} to set it in",
                    "an override follows the keys of the study file",
                    "see the resolved keys with `adloc study validate FILE --json`",
                )
            ) from None
        self._overridden[loc] = override

    def _expand(self, node: Any, loc: Loc) -> Any:  # noqa: ANN401  # any YAML value
        if isinstance(node, dict):
            return {key: self._expand(value, (*loc, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self._expand(value, (*loc, index)) for index, value in enumerate(node)]
        if not isinstance(node, str):
            return node
        for name in re.findall(r"\$\{(\w+)\}", node):
            if name not in os.environ:
                remedy = (
                    MVTEC_AD_REMEDY
                    if name == "MVTEC_AD_ROOT"
                    else f"`export {name}=...`, or write the value into the file"
                )
                self._complaints.append(
                    self.complaint(
                        loc,
                        f"is {node}, and {name} is not set",
                        "a variable in a study file must be set in the environment",
                        remedy,
                    )
                )
        text = re.sub(r"\$\{(\w+)\}", lambda m: os.environ.get(m[1], m[0]), node)
        return os.path.expanduser(text) if text.startswith("~") else text  # noqa: PTH111  # not always a path


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
    complaints: list[Complaint] = []
    for problem in check_methods(spec):
        if isinstance(problem.error, ValidationError):
            complaints += _translate(problem.error, problem.model, file, problem.loc, skip=problem.skip)
        else:
            complaints.append(file.complaint(problem.loc, problem.state, problem.rule, problem.remedy))
    if complaints:
        raise UserError(*complaints)
    return file, spec


def dotted(loc: Loc) -> str:
    """("methods", 0, "grid") -> "methods[0].grid"."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def nearest(word: str, choices: Sequence[str]) -> str:
    """ "did you mean X?", or the list of choices."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(choices)}"


def _plain(node: Any) -> Any:  # noqa: ANN401  # any YAML value
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(item) for item in node]
    for kind in (bool, int, float, str):  # ruamel's scalars are subclasses that keep their notation
        if isinstance(node, kind):
            return kind(node)
    return node if node is None else str(node)


def _translate(
    error: ValidationError, model: type[BaseModel], file: StudyFile, root: Loc, skip: int = 0
) -> list[Complaint]:
    """Pydantic's errors as complaints, one a key; the first `skip` parts of a location are not in the YAML."""
    complaints: dict[Loc, Complaint] = {}
    for item in error.errors(include_url=False):
        loc, field, owner = _follow(item["loc"], model, file.data, root, skip)
        kind, found = item["type"], _show(item.get("input"))
        extra = field.json_schema_extra if field and isinstance(field.json_schema_extra, dict) else {}
        rule = str(extra.get("rule") or (field.description if field else "") or item["msg"])
        remedy = str(extra.get("remedy") or "see `adloc schema`, or a file of studies/")
        if kind == "extra_forbidden":
            keys = sorted(owner.model_fields) if owner else []
            complaint = file.complaint(
                loc, "is not a key here", f"the keys here are {', '.join(keys)}", nearest(str(loc[-1]), keys)
            )
        elif kind == "missing":
            complaint = file.complaint(loc, "is missing", rule, f"add `{loc[-1]}:`")
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
        elif kind == "value_error" and not extra:
            head, _, tail = str(item["ctx"]["error"]).partition("\n")
            state = f"is {found}" if loc != root else ""
            complaint = file.complaint(loc, state, head.strip(), tail.strip() or remedy)
        else:
            complaint = file.complaint(loc, f"is {found}", rule, remedy)
        complaints.setdefault(loc, complaint)
    # A list with a wrong item is also "too short" to Pydantic, and no branch of a union: the item says it best.
    return [c for loc, c in complaints.items() if not any(other[: len(loc)] == loc != other for other in complaints)]


def _follow(
    loc: Loc,
    model: type[BaseModel],
    data: Any,  # noqa: ANN401  # any YAML value
    root: Loc,
    skip: int,
) -> tuple[Loc, FieldInfo | None, type[BaseModel] | None]:
    """The YAML path of a Pydantic location (without its union tags), the field there and its model."""
    for part in root:
        data = data[part]
    path: list[str | int] = list(root)
    field: FieldInfo | None = None
    owner: type[BaseModel] | None = model
    candidates: list[type[BaseModel]] = [model]
    for index, part in enumerate(loc):
        if index < skip:
            field = model.model_fields[str(part)]
            owner, candidates = model, _models(field.annotation)
            continue
        here = next((m for m in candidates if part in m.model_fields), None) if isinstance(part, str) else None
        in_data = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if here is not None and isinstance(part, str):
            field, owner = here.model_fields[part], here
            candidates = _models(field.annotation)
        elif not in_data and index < len(loc) - 1:
            tagged = [m for m in candidates if part in _tags(m)]
            candidates = tagged or candidates
            continue
        elif not in_data and not (isinstance(part, str) and candidates):
            continue
        elif isinstance(part, str):
            if not in_data and _is_branch(part):
                continue
            if candidates:  # else a key of a plain mapping, which the mapping's own field describes
                field, owner = None, candidates[0] if len(candidates) == 1 else None
        path.append(part)
        data = data[part] if in_data else None
    if candidates and len(candidates) == 1 and field is None and owner is None:
        owner = candidates[0]
    return tuple(path), field, owner


def _is_branch(part: str) -> bool:
    """Whether a location's part names a branch of a union ("list[str]", "literal['all']") and not a key."""
    return bool(re.fullmatch(r"[a-z_]+\[.*\]|int|float|str|bool|dict|list|tuple|none|function-\S+", part))


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401  # a type expression
    """The Pydantic models named in a type expression."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models(part)]


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
    text = {True: "true", False: "false", None: "empty"}.get(value, str(value)) if isinstance(value, bool | None) else (  # type: ignore[call-overload]
        f'"{value}"' if isinstance(value, str) and not value.strip() else str(value)
    )
    return text if len(text) <= 80 else text[:77] + "..."
