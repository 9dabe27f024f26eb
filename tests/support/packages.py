"""Packages that a test makes up: importable, and with entry points if it likes, until the test ends."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.datasets import registry as kinds
from adloc.methods import registry as methods
from checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLUGIN = ROOT / "tests" / "plugin"
MEDIAN = (PLUGIN / "adloc_example" / "median.py").read_text(encoding="utf-8")
PLATES = (PLUGIN / "adloc_example" / "plates.py").read_text(encoding="utf-8")


@dataclass
class Packages:
    """A folder on the import path.

    Attributes:
        site: the folder.
    """

    site: Path

    def write(self, name: str, **modules: str) -> None:
        """Write a package of these modules, or write over one."""
        folder = self.site / name
        folder.mkdir(exist_ok=True)
        for module, text in {"__init__": "", **modules}.items():
            (folder / f"{module}.py").write_text(text.replace("adloc_example", name), encoding="utf-8")
        self.forget()

    def install(self, name: str, entries: Mapping[str, Mapping[str, str]]) -> None:
        """Let a distribution of version 1.0 have entry points, {group: {name: place}}."""
        folder = self.site / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        lines = [f"[{group}]\n" + "".join(f"{n} = {p}\n" for n, p in named.items()) for group, named in entries.items()]
        (folder / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        self.forget()

    def forget(self) -> None:
        """As in a new process: nothing of the folder is imported, nothing of it is known."""
        for name in [n for n, m in sys.modules.items() if str(getattr(m, "__file__", "")).startswith(str(self.site))]:
            del sys.modules[name]
        importlib.invalidate_caches()
        for remembered in (methods._entries, methods._load_place, kinds._entries, kinds._load_place):
            remembered.cache_clear()
