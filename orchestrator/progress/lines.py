"""Plain lines for those who call adloc from a program or a notebook."""

from __future__ import annotations

import sys

from rich.console import Console


def plain_console(*, quiet: bool = False) -> Console:
    """Lines on the standard output, in a notebook too: nothing is written over, no colours."""
    return Console(
        file=sys.stdout,
        quiet=quiet,
        force_terminal=False,
        force_jupyter=False,
        color_system=None,
        highlight=False,
        emoji=False,
    )
