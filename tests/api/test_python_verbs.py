"""Every verb of the command line has its counterpart in Python, with the same options."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click
import pytest

import adloc
from adloc import api
from adloc.api import asked
from adloc.cli import cli
from adloc.model import engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What the objects were made with: a study's file, overrides and workspace; a model's folder.
MADE_WITH = {"file", "overrides", "workspace", "model_path"}


@dataclass(frozen=True)
class Counterpart:
    """A verb in Python.

    Attributes:
        verb: what is called.
        renamed: the argument of each option that has another name there.
        absent: options that Python has no use for, with the reason.
    """

    verb: Callable[..., Any]
    renamed: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


FRAME = "a data frame is written by its own methods"
NO_STUDY = "the study is the object"
VERBS = {
    "study validate": Counterpart(api.Study.validate),
    "study plan": Counterpart(api.Study.plan),
    "study run": Counterpart(api.Study.run),
    "study status": Counterpart(api.Study.status),
    "study results": Counterpart(api.Study.results, absent={"form": FRAME, "output": FRAME}),
    "study report": Counterpart(api.Study.report),
    "study track": Counterpart(api.Study.track),
    "study verify": Counterpart(api.Study.verify, renamed={"n_runs": "runs"}),
    "study compare": Counterpart(api.compare),
    "study seal": Counterpart(api.Study.seal),
    "study explain": Counterpart(api.Study.explain),
    "study export-private": Counterpart(api.Study.export_private),
    "data check": Counterpart(api.Study.check_data),
    "data preview": Counterpart(api.Study.preview),
    "init": Counterpart(api.Study.init, absent={"only_print": "the file is there to be read"}),
    "model export": Counterpart(api.Study.export, absent={"file": NO_STUDY}),
    "model check": Counterpart(api.Model.check),
    "model calibrate": Counterpart(api.Model.calibrate, renamed={"kept": "promise"}),
    "model drift": Counterpart(api.Model.drift, renamed={"rows": "scores"}),
    "predict": Counterpart(
        api.Model.predict,
        absent={
            "kind": FRAME,
            "watch": "a call returns; a program that watches calls for each image",
            "settle_s": "belongs to watch",
        },
    ),
    "methods": Counterpart(api.list_methods),
    "datasets": Counterpart(api.list_datasets),
    "store ls": Counterpart(api.Store.ls),
    "store gc": Counterpart(api.Store.gc),
    "store verify": Counterpart(api.Store.verify),
    "schema": Counterpart(api.schema),
    "doctor": Counterpart(api.examine),
}
NOT_IN_PYTHON = {"ui": "it serves pages until Ctrl-C"}


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every verb of the command line without the first word."""
    for name, each in group.commands.items():
        if isinstance(each, click.Group):
            yield from commands(each, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", each


COMMANDS = dict(commands(cli))


def test_every_verb_has_its_counterpart() -> None:
    """In the table above, or among those that make no sense in Python."""
    assert set(COMMANDS) == set(VERBS) | set(NOT_IN_PYTHON)


@pytest.mark.parametrize("name", VERBS)
def test_options_are_keyword_arguments_of_the_same_name(name: str) -> None:
    """With the same choices and the same default; --json is what every verb returns."""
    counterpart = VERBS[name]
    arguments = inspect.signature(counterpart.verb).parameters
    annotations = annotations_of(counterpart.verb)
    for option in COMMANDS[name].params:
        known = str(option.name)
        if known in counterpart.absent or known == "as_json" or (known in MADE_WITH and known not in arguments):
            continue
        argument = arguments[counterpart.renamed.get(known, known)]
        if isinstance(option.type, click.Choice):
            assert choices(annotations[argument.name]) == set(option.type.choices), known
        if isinstance(option, click.Option) and not option.multiple and not option.required:
            unsaid = False if option.is_flag else None
            default = option.default if isinstance(option.default, str | int | float) else unsaid
            assert argument.default == default, known


def annotations_of(verb: Callable[..., Any]) -> dict[str, Any]:
    """Of its arguments, with the names that only type checkers import."""
    known = {**vars(asked), **vars(engines), **vars(sys.modules[verb.__module__])}
    raw = inspect.unwrap(verb).__annotations__
    return {name: eval(text, known) for name, text in raw.items() if "Literal" in repr(known.get(text.split(" ")[0]))}  # noqa: S307


def choices(annotation: object) -> set[str]:
    """The words of a Literal, of one among others in a union too."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {word for each in get_args(annotation) for word in choices(each)}


def test_import_loads_nothing() -> None:
    """Not even NumPy: a name is loaded when it is first used; and a name that is none is told as Python does."""
    code = (
        "import sys; import adloc; heavy = {'numpy', 'pandas', 'pydantic', 'torch', 'mlflow'};"
        "assert not heavy & set(sys.modules); assert set(adloc.__all__) <= set(dir(adloc));"
        "adloc.Study; assert not {'torch', 'mlflow', 'optuna', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        adloc.nothing_of_the_kind  # noqa: B018
    assert all(getattr(adloc, name) is getattr(api, name) for name in api.__all__)
