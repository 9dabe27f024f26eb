"""Which kinds of dataset there are: adloc's own, those of installed packages, and any that is named by its place.

A package offers its kinds by entry points of the group "adloc.datasets", each the name of a class derived from
`adloc.datasets.config.KindConfig`; a study file may name one without them, as package.module:CONFIG. Packages are
looked for only when a study file names a kind that is none of adloc's own.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import Field, GetPydanticSchema, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from adloc.datasets.config import KindConfig
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.readers.aebad_s import AebadSConfig
from adloc.datasets.readers.btad import BtadConfig
from adloc.datasets.readers.folder import FolderConfig
from adloc.datasets.readers.kolektor import KolektorSdd2Config, KolektorSddConfig
from adloc.datasets.readers.mpdd import MpddConfig
from adloc.datasets.readers.mvtec_ad import MvtecAdConfig
from adloc.datasets.readers.mvtec_ad_2 import MvtecAd2Config
from adloc.datasets.readers.mvtec_loco import MvtecLocoConfig
from adloc.datasets.readers.real_iad import RealIadConfig
from adloc.datasets.readers.table import TableConfig
from adloc.datasets.readers.visa import VisaConfig
from adloc.datasets.textures import TexturesConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import GetCoreSchemaHandler, ValidatorFunctionWrapHandler

OwnDataset = (
    MvtecAdConfig
    | TexturesConfig
    | FolderConfig
    | TableConfig
    | MvtecAd2Config
    | MvtecLocoConfig
    | VisaConfig
    | BtadConfig
    | MpddConfig
    | KolektorSddConfig
    | KolektorSdd2Config
    | RealIadConfig
    | AebadSConfig
)
KINDS: Mapping[str, type[KindConfig]] = {each.model_fields["kind"].default: each for each in get_args(OwnDataset)}
GROUP = "adloc.datasets"
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_STANDARD = "it must name a class derived from adloc.datasets.config.KindConfig, with a kind of its own and a listing"
_EXAMPLE = "see the example under `Add a dataset` in docs/extending.md"


@dataclass(frozen=True, slots=True)
class Offered:
    """A kind of dataset as a study file may name it.

    Attributes:
        name: to write after `kind:`.
        origin: "adloc", or the package that brings it with its version.
        config: None where it cannot be had.
        problem: why not.
    """

    name: str
    origin: str
    config: type[KindConfig] | None
    problem: str = ""


def find_kind(name: str) -> type[KindConfig]:
    """The configuration of that kind, of an installed package's entry point, or at "package.module:CONFIG".

    Raises:
        DatasetError: there is none, or what is there is no kind of dataset.

    Example:
        >>> find_kind("textures").__name__
        'TexturesConfig'
    """
    if name in KINDS:
        return KINDS[name]
    if _PLACE.fullmatch(name):
        return _load_place(name)
    found = _entries().get(name, ())
    if len(found) > 1:
        origins = " and ".join(_origin(entry) for entry in found)
        remedy = f"name one by its place: kind: {found[0].value}, or uninstall the other package"
        raise _refusal(f"kind {name} is brought by {origins}", "a name has one kind", remedy)
    if found:
        return _named(name, _load_place(found[0].value))
    known = [each.name for each in offered() if each.config is not None]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise DatasetError(
        Problem(
            f"kind is {name}",
            f"it must be one of {', '.join(known)}, or package.module:CONFIG for one of your own",
            f"did you mean {near[0]}?" if near else "see `adloc datasets`, or use kind: folder for your own images",
            ("kind",),
        )
    )


def offered() -> Iterator[Offered]:
    """Every kind that is there by name: adloc's own, then those of installed packages."""
    for name, config in KINDS.items():
        yield Offered(name, "adloc", config)
    for name, found in _entries().items():
        origin = " and ".join(_origin(entry) for entry in found)
        if name in KINDS:
            yield Offered(name, origin, None, f"adloc has a kind {name} of its own, which is the one that is taken")
            continue
        try:
            yield Offered(name, origin, find_kind(name))
        except DatasetError as error:
            yield Offered(name, origin, None, f"{error.problems[0].found}: {error.problems[0].rule}")


def read_config(values: Mapping[str, object]) -> KindConfig:
    """The keys of `dataset` in a study file as the configuration of their kind.

    Raises:
        ValidationError: of Pydantic, naming each key that is wrong.
    """
    config: KindConfig = TypeAdapter(DatasetConfig).validate_python(dict(values))
    return config


def kinds_for(values: object) -> list[type[KindConfig]]:
    """The configurations that these keys of a study file may be for; all of adloc's own where that is not clear."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind in KINDS:
        return list(KINDS.values())
    try:
        return [find_kind(kind)]
    except DatasetError:
        return list(KINDS.values())


def _validate(values: object, own: ValidatorFunctionWrapHandler) -> KindConfig:
    """Adloc's own kinds by Pydantic's union, all others by the class that they name."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if isinstance(values, KindConfig):
        return values
    if not isinstance(values, dict) or not isinstance(kind, str) or kind in KINDS:
        found: KindConfig = own(values)
        return found
    try:
        config = find_kind(kind)
    except DatasetError as error:
        raise _at_kind(kind, error.problems[0]) from None
    found = config.model_validate(values | {"kind": config.model_fields["kind"].default})
    return found.at(kind) if _PLACE.fullmatch(kind) else found


def _at_kind(kind: str, problem: Problem) -> ValidationError:
    """The problem as Pydantic's error of the key `kind`."""
    rule = problem.rule if problem.found == f"kind is {kind}" else f"{problem.found}: {problem.rule}"
    error = PydanticCustomError("rule", "{rule}", {"rule": rule, "remedy": problem.remedy})
    return ValidationError.from_exception_data("dataset", [InitErrorDetails(type=error, loc=("kind",), input=kind)])


def _schema(_source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
    """Pydantic's schema of a `dataset`: adloc's own kinds in JSON Schema, each kind written by its own class."""
    own = handler.generate_schema(Annotated[OwnDataset, Field(discriminator="kind")])
    written = core_schema.wrap_serializer_function_ser_schema(
        lambda value, write: write(value), schema=core_schema.any_schema()
    )
    return core_schema.no_info_wrap_validator_function(_validate, own, serialization=written)


# What stands under `dataset` in a study file.
DatasetConfig = Annotated[KindConfig, GetPydanticSchema(_schema)]


@cache
def _entries() -> dict[str, tuple[EntryPoint, ...]]:
    """Different entry points by name; more than one where packages do not agree."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUP)):
        found.setdefault(entry.name, {})[entry.value] = entry
    return {name: tuple(entries.values()) for name, entries in found.items()}


def _origin(entry: EntryPoint) -> str:
    """ "adloc-example 1.0", or its place where no package is known."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


@cache
def _load_place(place: str) -> type[KindConfig]:
    """The configuration at "package.module:CONFIG".

    Raises:
        DatasetError: it cannot be imported, or is none.
    """
    module, _, attribute = place.partition(":")
    remedy = "correct the path: the module must be importable here, and on every machine that computes"
    outermost = module.partition(".")[0]
    if outermost in sys.stdlib_module_names or outermost == "__main__":
        raise _refusal(f"kind {place}: {outermost} is a part of Python", _STANDARD, _EXAMPLE)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # whatever a foreign module raises or ends is its own fault
        reason = f"{type(error).__name__}: {error}"
        raise _refusal(f"kind {place}: cannot be imported ({reason})", _STANDARD, remedy) from error
    if not isinstance(found, type):
        raise _refusal(f"kind {place} is of type {type(found).__name__}", _STANDARD, _EXAMPLE)
    if not issubclass(found, KindConfig):
        raise _refusal(f"kind {place} is the class {found.__name__}", _STANDARD, _EXAMPLE)
    name = found.model_fields["kind"].default
    problems = {
        "it has no listing": inspect.isabstract(found),
        "its kind has no default": not isinstance(name, str),
        f"its kind {name} is one of adloc's own": name in KINDS,
        "it takes keys that it does not have": found.model_config.get("extra") != "forbid",
        "it can be changed": not found.model_config.get("frozen"),
    }
    wrong = [text for text, holds in problems.items() if holds]
    if wrong:
        raise _refusal(f"kind {place}: {'; '.join(wrong)}", _STANDARD, _EXAMPLE)
    return found


def _named(name: str, config: type[KindConfig]) -> type[KindConfig]:
    """The configuration of an entry point, which must have its name: a study file is read by it."""
    kind = config.model_fields["kind"].default
    if kind != name:
        rule = "an entry point has the name of its kind"
        raise _refusal(f"entry point {name} of {GROUP} is the kind {kind}", rule, "give the two one name")
    return config


def _refusal(found: str, rule: str, remedy: str) -> DatasetError:
    return DatasetError(Problem(found, rule, remedy, ("kind",)))
