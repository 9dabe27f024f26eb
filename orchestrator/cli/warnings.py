"""Warnings, on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adloc.printed import printable

if TYPE_CHECKING:
    from collections.abc import Iterable


def warn(sentences: Iterable[str]) -> None:
    """A line each."""
    for sentence in sentences:
        click.echo(f"WARNING: {printable(sentence)}", err=True)
