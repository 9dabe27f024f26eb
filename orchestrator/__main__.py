"""`adloc` and `python -m adloc`."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the command line."""
    here = Path.cwd()
    if here == Path(__file__).resolve().parent.parent:
        # At the root of our own tree the folder datasets/ would shadow the package of that name.
        sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != here]
    from adloc.cli import cli

    cli()


if __name__ == "__main__":
    main()
