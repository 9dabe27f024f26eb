"""`adloc methods` and `adloc datasets`: what a study file may name, adloc's own and what installed packages bring."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import click

from adloc.cli.options import AS_JSON, fields, user_errors
from adloc.cli.say import say, say_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adloc.catalogue import Key, OfferedKind, OfferedMethod

WIDTH = 80
_HELD = "\u00a0"
NAMES = click.argument("names", nargs=-1)


@click.command("methods")
@NAMES
@AS_JSON
@user_errors
def methods_command(names: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """List the methods that a study file may name, with their parameters; those named, with what each parameter is.

    Methods are adloc's own, those of installed packages (entry points of the group adloc.methods) and any that is named
    as package.module:METHOD.
    """
    from adloc.catalogue import offered_methods

    found = offered_methods(names)
    if as_json:
        click.echo(json.dumps([fields(method) for method in found], indent=1))
        return
    for method in found:
        say_text("\n".join(_of_method(method, brief=not names)))
    if not names:
        say("adloc methods NAME: what each parameter is, and the default search space")


@click.command("datasets")
@NAMES
@AS_JSON
@user_errors
def datasets_command(names: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """List the kinds of dataset that a study file may name, with their keys; those named, with what each key is.

    Of published ones also the licence and the publisher's page. Kinds are adloc's own, those of installed packages
    (entry points of the group adloc.datasets) and any that is named as package.module:CONFIG.
    """
    from adloc.catalogue import offered_kinds

    found = offered_kinds(names)
    if as_json:
        click.echo(json.dumps([fields(kind) for kind in found], indent=1))
        return
    for kind in found:
        say_text("\n".join(_of_kind(kind, brief=not names)))
    if not names:
        say("adloc datasets NAME: what each key is")


def _of_method(method: OfferedMethod, *, brief: bool) -> Iterator[str]:
    if method.problem:
        yield from _of_missing(method.name, method.origin, method.problem)
        return
    where = "says where a defect is" if method.maps else "scores whole images alone"
    yield from _wrapped(f"{method.name} ({method.origin}): reads {method.reads}, {where}", "")
    yield from _wrapped(method.what, "  ")
    yield from _of_keys(method.params, brief=brief)
    space = method.default_space or {}
    if brief and space:
        yield from _wrapped(f"tuned by default: {', '.join(space)}", "  ")
    elif space:
        yield "  default search space, tune: {space: auto}"
        for name, dimension in space.items():
            yield from _wrapped(f"{name}: {_plain(dimension)}", "    ")
    yield ""


def _of_kind(kind: OfferedKind, *, brief: bool) -> Iterator[str]:
    if kind.problem:
        yield from _of_missing(kind.kind, kind.origin, kind.problem)
        return
    yield from _wrapped(f"{kind.kind} ({kind.origin}): {kind.what}", "")
    if kind.page:
        yield from _wrapped(f"{kind.name}, {kind.licence}", "  ")
        yield f"  {kind.page}"
    yield from _of_keys(kind.keys, brief=brief)
    yield ""


def _of_missing(name: str, origin: str, problem: str) -> Iterator[str]:
    yield from _wrapped(f"{name} ({origin}): cannot be had", "")
    yield from _wrapped(problem, "  ")
    yield ""


def _of_keys(keys: Sequence[Key], *, brief: bool) -> Iterator[str]:
    """Names with defaults on a line, or each with what it is."""
    if brief and keys:
        yield from _wrapped(", ".join(_with_default(key) for key in keys), "  ")
    for key in () if brief else keys:
        yield from _wrapped(_with_default(key), "  ")
        yield from _wrapped(key.description, "      ")


def _with_default(key: Key) -> str:
    """On one line: textwrap does not break at a no-break space."""
    return f"{key.name}{_HELD}(required)" if key.required else f"{key.name}:{_HELD}{_plain(key.default)}"


def _plain(value: object) -> str:
    """A value as it would stand in a study file."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_plain(each)}' for name, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(each) for each in value)}]"
    return str(value) if isinstance(value, str) and value else json.dumps(value)


def _wrapped(text: str, indent: str) -> list[str]:
    lines = textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
    return [line.replace(_HELD, " ") for line in lines]
