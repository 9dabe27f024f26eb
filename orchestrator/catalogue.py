"""What a study file may name, for people who choose: methods and kinds of dataset, of adloc and of packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import PydanticUndefined, to_jsonable_python

from adloc.datasets import registry as kinds
from adloc.methods import registry as methods

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel, JsonValue


@dataclass(frozen=True, slots=True)
class Key:
    """One parameter of a method, or key of a kind of dataset.

    Attributes:
        name: as in a study file.
        required: whether a study file must give it.
        default: as a plain value; None also where it is required.
        description: what it is.
        rule: what a value must hold; empty where nothing is said.
    """

    name: str
    required: bool
    default: JsonValue
    description: str
    rule: str


@dataclass(frozen=True, slots=True)
class OfferedMethod:
    """A method.

    Attributes:
        name: to write after `method:`.
        origin: "adloc", or the package that brings it with its version.
        what: in a sentence.
        reads: "features" or "images"; None where the method cannot be had.
        maps: whether it says where a defect is; None where the method cannot be had.
        params: its parameters.
        default_space: that is searched by `tune: {space: auto}`, by parameter.
        problem: why it cannot be had; empty where it can.
    """

    name: str
    origin: str
    what: str = ""
    reads: str | None = None
    maps: bool | None = None
    params: tuple[Key, ...] = ()
    default_space: Mapping[str, Mapping[str, object]] | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class OfferedKind:
    """A kind of dataset.

    Attributes:
        kind: to write after `kind:`.
        origin: "adloc", or the package that brings it with its version.
        what: in a sentence.
        name: of the published dataset; None for one's own images, and for those that are made.
        licence: of the published dataset.
        page: the publisher's.
        keys: beside `kind`.
        problem: why it cannot be had; empty where it can.
    """

    kind: str
    origin: str
    what: str = ""
    name: str | None = None
    licence: str | None = None
    page: str | None = None
    keys: tuple[Key, ...] = ()
    problem: str = ""


def offered_methods(names: Sequence[str] = ()) -> list[OfferedMethod]:
    """Every method that is there, or those named, which may also be package.module:METHOD.

    Raises:
        MethodError: there is none of that name.
    """
    there = list(methods.offered())
    known = {each.name: each for each in there}
    asked = [known.get(n) or methods.Offered(n, n, methods.find_method(n)) for n in names] if names else there
    return [_method(each) for each in asked]


def offered_kinds(names: Sequence[str] = ()) -> list[OfferedKind]:
    """Every kind of dataset that is there, or those named, which may also be package.module:CONFIG.

    Raises:
        DatasetError: there is none of that name.
    """
    there = list(kinds.offered())
    known = {each.name: each for each in there}
    asked = [known.get(n) or kinds.Offered(n, n, kinds.find_kind(n)) for n in names] if names else there
    return [_kind(each) for each in asked]


def _method(offered: methods.Offered) -> OfferedMethod:
    method = offered.method
    if method is None:
        return OfferedMethod(offered.name, offered.origin, problem=offered.problem)
    return OfferedMethod(
        name=offered.name,
        origin=offered.origin,
        what=_first_sentence(method.params),
        reads=method.reads,
        maps=method.maps,
        params=_keys(method.params),
        default_space={name: dict(dimension) for name, dimension in method.default_space.items()},
    )


def _kind(offered: kinds.Offered) -> OfferedKind:
    config = offered.config
    if config is None:
        return OfferedKind(offered.name, offered.origin, problem=offered.problem)
    facts = config.published
    return OfferedKind(
        kind=offered.name,
        origin=offered.origin,
        what=_first_sentence(config),
        name=facts.name if facts else None,
        licence=facts.licence if facts else None,
        page=facts.page if facts else None,
        keys=tuple(key for key in _keys(config) if key.name != "kind"),
    )


def _first_sentence(model: type[BaseModel]) -> str:
    """The first line of a docstring, without its full stop."""
    return (model.__doc__ or "").partition("\n")[0].rstrip(".")


def _keys(model: type[BaseModel]) -> tuple[Key, ...]:
    found = []
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        plain = None if default is PydanticUndefined else to_jsonable_python(default)
        found.append(Key(name, field.is_required(), plain, field.description or "", str(extra.get("rule", ""))))
    return tuple(found)
