"""Which methods there are: adloc's own, those of installed packages, and any that a study file names by its place.

A package offers its methods by entry points of the group "adloc.methods"; a study file may name one without them, as
package.module:METHOD. What a plug-in computes is kept under a key that holds the hash of its source, so that a changed
plug-in is computed again.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import logging
import re
import warnings
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel

from adloc.methods.anomalib.params import ANOMALIB
from adloc.methods.dfm.params import DFM
from adloc.methods.errors import MethodError
from adloc.methods.floor.params import FLOOR
from adloc.methods.knn.params import KNN
from adloc.methods.mahalanobis.params import MAHALANOBIS
from adloc.methods.method import Method
from adloc.methods.padim.params import PADIM
from adloc.methods.patchcore.params import PATCHCORE
from adloc.methods.place import PLACE, import_place
from adloc.methods.softpatch.params import SOFTPATCH
from adloc.methods.spade.params import SPADE
from adloc.methods.uniad.params import UNIAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from adloc.methods.detector import Detector
    from adloc.methods.given import Given

_OWN = (
    PATCHCORE,
    PADIM,
    SOFTPATCH,
    SPADE,
    DFM,
    KNN,
    MAHALANOBIS,
    FLOOR,
    UNIAD,
    ANOMALIB,
)
METHODS: Mapping[str, Method] = {method.name: method for method in _OWN}
GROUP = "adloc.methods"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ORDER = ("fit", "calibrate", "score")
_STANDARD = "the object must be an adloc.methods.method.Method"


@dataclass(frozen=True, slots=True)
class Offered:
    """A method as a study file may name it.

    Attributes:
        name: to write after `method:`.
        origin: "adloc", or the package that brings it with its version.
        method: None where it cannot be had.
        problem: why not.
    """

    name: str
    origin: str
    method: Method | None
    problem: str = ""


def find_method(name: str) -> Method:
    """The method of that name, of an installed package's entry point, or at "package.module:METHOD".

    Raises:
        MethodError: there is none, or what is there is no method.

    Example:
        >>> [step.name for step in find_method("patchcore").steps]
        ['coreset', 'index', 'search', 'scores']
    """
    if name in METHODS:
        return METHODS[name]
    if PLACE.fullmatch(name):
        return _load_place(name)
    found = _entries().get(name, ())
    if len(found) > 1:
        raise MethodError(
            f"method {name} is brought by {' and '.join(_origin(entry) for entry in found)}",
            "a name has one method",
            f"name one by its place: method: {found[0].value}, or uninstall the other package",
        )
    if found:
        return _named(name, _load_place(found[0].value))
    known = [each.name for each in offered() if each.method is not None]
    near = difflib.get_close_matches(name, known, n=1)
    raise MethodError(
        f"method is {name!r}",
        f"it must be one of {', '.join(known)}, or package.module:METHOD for one of your own",
        f"use {near[0]}" if near else "see `adloc methods` for what each of them is",
    )


def is_method(name: str) -> bool:
    """Whether `find_method` finds it."""
    try:
        find_method(name)
    except MethodError:
        return False
    return True


def offered() -> Iterator[Offered]:
    """Every method that is there by name: adloc's own, then those of installed packages."""
    for name, method in METHODS.items():
        yield Offered(name, "adloc", method)
    for name, found in _entries().items():
        origin = " and ".join(_origin(entry) for entry in found)
        if name in METHODS:
            yield Offered(name, origin, None, f"adloc has a method {name} of its own, which is the one that is taken")
            continue
        try:
            yield Offered(name, origin, find_method(name))
        except MethodError as error:
            yield Offered(name, origin, None, f"{error.found}: {error.rule}")


def import_library(method: Method) -> None:
    """Import the library of a method's steps, which takes seconds, without its notices about its own use."""
    if not method.library:
        return
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(method.library)
    finally:
        logging.disable(before)


def load_detector(method: Method) -> Detector:
    """An instance of the class that computes a method's steps; imports torch, which takes seconds.

    Raises:
        MethodError: a plug-in's class is not there.
    """
    module, _, name = method.detector.partition(":")
    if method.name in METHODS:
        own: Detector = getattr(importlib.import_module(module), name)()
        return own
    rule = "`detector` must name a class that can be imported and made without arguments"
    what = f"method {method.name}: its detector"
    made = import_place(what, method.detector, rule)
    missing = [step.name for step in method.steps if not callable(getattr(made, step.name, None))]
    if not isinstance(made, type) or missing:
        found = f"has no step {missing[0]}" if isinstance(made, type) else f"is of type {type(made).__name__}"
        raise MethodError(f"{what} {method.detector} {found}", rule, "correct the Method's detector")
    try:
        detector: Detector = made()
    except Exception as error:  # whatever a foreign class raises is its own fault, and said as such
        raise MethodError(
            f"{what} {method.detector} cannot be made ({type(error).__name__}: {error})",
            rule,
            "correct the Method's detector, or install what it imports",
        ) from error
    return detector


def require_possible(method: Method, params: BaseModel, given: Given) -> None:
    """Ask a method whether it could be fitted on this with these parameters, as far as is known beforehand.

    Raises:
        MethodError: it could not.
    """
    if method.possible:
        rule = "`possible` must name a function of parameters and what is given"
        check = import_place(f"method {method.name}: its check", method.possible, rule)
        cast("Callable[[BaseModel, Given], None]", check)(params, given)


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
def _load_place(place: str) -> Method:
    """The method at "package.module:METHOD", with the hash of its source.

    Raises:
        MethodError: it cannot be imported, or is none.
    """
    found = import_place("method", place, "package.module:METHOD must name an adloc.methods.method.Method")
    if not isinstance(found, Method):
        raise MethodError(
            f"method {place} is of type {type(found).__name__}",
            _STANDARD,
            "correct the path: the module must be importable here, and on every machine that computes",
        )
    _check(place, found)
    return replace(found, code=_hash_source(place.partition(":")[0], found.detector.partition(":")[0]))


def _named(name: str, method: Method) -> Method:
    """The method of an entry point, which must have its name: results are told apart by it."""
    if method.name != name:
        raise MethodError(
            f"entry point {name} of {GROUP} is the method {method.name}",
            "an entry point has the name of its method",
            "give the two one name",
        )
    return method


def _check(place: str, method: Method) -> None:
    """Refuse a declaration that cannot be planned with.

    Raises:
        MethodError: saying what is wrong with it.
    """
    named = {name for step in method.steps for name in (*step.params, step.grows_with, step.builds_on) if name}
    parts = [step.part for step in method.steps]
    fields = set(method.params.model_fields) if issubclass(method.params, BaseModel) else set()
    needed = {"backbone", "weights", "layers"} if method.reads == "features" else set()
    unread = fields - named - {"backbone", "weights", *method.map_params}
    problems = {
        f"its name is {method.name!r}": _NAME.fullmatch(method.name) is None,
        f"its name {method.name} is a method of adloc's own": method.name in METHODS,
        "its params are no Pydantic class": not issubclass(method.params, BaseModel),
        "it has no fit step, or no score step after it": (
            parts != sorted(parts, key=_ORDER.index) or not {"fit", "score"} <= set(parts)
        ),
        f"its steps name unknown parameters: {', '.join(sorted(named - fields))}": bool(named - fields),
        f"no step and no map names its parameters {', '.join(sorted(unread))}": bool(unread),
        f"it reads features, and lacks the parameters {', '.join(sorted(needed - fields))}": bool(needed - fields),
    }
    found = [text for text, holds in problems.items() if holds]
    if found:
        raise MethodError(
            f"method {place}: {'; '.join(found)}",
            "a method declares a name of small letters, digits and _, its parameters, fit steps and then score steps",
            "see the example under `Add a method` in docs/extending.md",
        )


def _hash_source(*modules: str) -> str:
    """SHA-256 over the files of the packages that these modules are in, hexadecimal."""
    digest = hashlib.sha256()
    for name in dict.fromkeys(_outermost(module) for module in modules):
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            continue
        origin = Path(spec.origin)
        for path in sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _outermost(module: str) -> str:
    """The package that a module is in, whose other modules it may import; the module itself where it is in none."""
    parts = module.split(".")
    names = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    specs = ((name, importlib.util.find_spec(name)) for name in names)
    return next((name for name, spec in specs if spec is not None and spec.origin), module)
