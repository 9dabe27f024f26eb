"""The command line, called in the process of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner

from adloc.cli import cli

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def call(*arguments: str | Path) -> Result:
    """Run `adloc` with these arguments, whatever its exit code; an exception that reaches it is raised here."""
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def adloc(*arguments: str | Path, expect: int = 0) -> Result:
    """The same, which must end with this exit code."""
    result = call(*arguments)
    assert result.exit_code == expect, result.output
    return result
