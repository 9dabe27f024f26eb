"""What a study file names by its place: package.module:NAME, of one's own package or an installed one."""

from __future__ import annotations

import difflib
import importlib
import re
import sys

from adloc.methods.errors import MethodError

PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def import_place(what: str, place: str, rule: str) -> object:
    """What stands at a place; its module is imported, which runs it, and nothing is called.

    Args:
        what: which key names it: "backbone".
        place: as `PLACE` has it.
        rule: what must stand there.

    Raises:
        MethodError: the module is a part of Python, cannot be imported, or has no such name; or what stands there
            is a part of Python that the module has imported.
    """
    module_name, _, name = place.partition(":")
    _require_own(what, place, module_name, rule)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a foreign module raises or ends on import is its own fault
        absent = isinstance(error, ModuleNotFoundError)
        raise MethodError(
            f"{what} {place}: cannot be imported ({type(error).__name__}: {error})",
            rule,
            "install the package, or put its folder into PYTHONPATH, here and on every machine that computes"
            if absent
            else "correct the module: it must be importable here, and on every machine that computes",
        ) from error
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, [each for each in vars(module) if not each.startswith("_")], n=1)
        raise MethodError(
            f"{what} {place}: {name} does not exist in {module_name}",
            rule,
            f"use {module_name}:{near[0]}" if near else "correct the name",
        )
    found: object = getattr(module, name)
    _require_own(what, place, str(getattr(found, "__module__", None) or module_name), rule)
    return found


def _require_own(what: str, place: str, module: str, rule: str) -> None:
    outermost = module.partition(".")[0]
    if outermost in sys.stdlib_module_names or outermost == "__main__":
        raise MethodError(
            f"{what} {place}: {outermost} is a part of Python",
            rule,
            "name something of a package of your own, or of an installed one that was made for this",
        )
