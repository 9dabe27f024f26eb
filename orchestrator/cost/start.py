"""What it takes until the first stage is computed: libraries, networks, MLflow's database, the processes of Ray."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from adloc.cost.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adloc.methods.method import Method
    from adloc.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Library:
    """What importing one takes, after those before it, with what it imports itself.

    Attributes:
        name: of the library.
        compiled: seconds where Python has compiled it once before.
        first: seconds where it never has, or may not keep what it compiles.
    """

    name: str
    compiled: float
    first: float


START: Final = "start"  # the phase: libraries, networks, tracking

# Processor seconds on the machine of `adloc.cost.typical`, whose rates turn them into those of this one.
COMPUTING = (Library("torch", 3.0, 9.0), Library("torchvision", 2.5, 8.0), Library("timm", 0.5, 2.5))
TRACKED = Library("mlflow", 2.5, 6.0)
OF_METHODS = (Library("anomalib", 4.5, 11.5),)  # after those above
DATABASE = 3.4  # of making MLflow's
LOADING = 0.8  # of loading one or two
CLUSTER = 5.0  # of starting Ray's own processes


@dataclass(frozen=True, slots=True)
class Start:
    """What is there, and what is not, when a study begins: later a part of it is.

    Attributes:
        common_s: what every study takes, in seconds on the machine above.
        of_methods_s: what importing a method's library takes, by its name.
    """

    common_s: float
    of_methods_s: Mapping[str, float]

    @classmethod
    def now(cls, workspace: Workspace, executor: Literal["local", "ray"]) -> Start:
        """Of a study in this workspace, if it begins now."""
        seconds = LOADING + sum(_here(library) for library in (*COMPUTING, TRACKED))
        if not workspace.tracking_path.exists():
            seconds += DATABASE
        if executor == "ray":  # its first workers look around; those that compute begin anew
            seconds += CLUSTER + 2 * sum(_there(library) for library in COMPUTING)
        # Ray's workers import a method's library when they first compute a step of it.
        local = OF_METHODS if executor == "local" else ()
        return cls(seconds, {library.name: _here(library) for library in local})

    def work(self, methods: Iterable[Method]) -> Work:
        """Of a study that computes with these methods: in seconds, so that what one took tells of another."""
        named = {method.library.partition(".")[0] for method in methods}
        return Work(START, "", self.common_s + sum(self.of_methods_s.get(name, 0.0) for name in named))


def _here(library: Library) -> float:
    """Seconds of importing it, nothing where this process has."""
    if library.name in sys.modules:
        return 0.0
    return library.compiled if _is_compiled(library) else library.first


def _there(library: Library) -> float:
    """Seconds in another process, after this one."""
    return library.compiled if _is_compiled(library) or not sys.dont_write_bytecode else library.first


def _is_compiled(library: Library) -> bool:
    found = find_spec(library.name)
    origin = None if found is None else found.origin
    return origin is None or Path(cache_from_source(origin)).exists()
