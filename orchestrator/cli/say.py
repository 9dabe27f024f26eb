"""What the verbs of the command line tell people: lines in which no name is an order to the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from adloc.printed import printable

if TYPE_CHECKING:
    from collections.abc import Iterable


def say(*lines: str, err: bool = False) -> None:
    """A line each; an empty one without any."""
    for line in lines or ("",):
        click.echo(printable(line), err=err)


def say_text(text: str, *, err: bool = False) -> None:
    """Lines that stand in one text already."""
    say(*text.split("\n"), err=err)


def warn(sentences: Iterable[str]) -> None:
    """A line each, on standard error."""
    for sentence in sentences:
        say(f"WARNING: {sentence}", err=True)


def hand_out(text: str) -> None:
    """What programs read, to its last letter; on a terminal, which no program reads, without orders to it."""
    click.echo(printable(text, keep="\n") if sys.stdout.isatty() else text, nl=False)
