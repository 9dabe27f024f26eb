"""What it takes until the first stage is computed: libraries, networks, MLflow's database, the processes of Ray.

In seconds, and in the memory that a process then holds for as long as it lives.
"""

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
        n_bytes: that it then holds, resident.
    """

    name: str
    compiled: float
    first: float
    n_bytes: float


START: Final = "start"  # the phase: libraries, networks, tracking

# Processor seconds on the machine of `adloc.cost.typical`, whose rates turn them into those of this one.
# Of memory two thirds are torch with its CUDA; what a study measures of its own start takes the place of these.
COMPUTING = (
    Library("torch", 3.0, 9.0, 838e6),
    Library("torchvision", 2.5, 8.0, 180e6),
    Library("timm", 0.5, 2.5, 31e6),
)
TRACKED = Library("mlflow", 2.5, 6.0, 137e6)
OF_METHODS = (Library("anomalib", 4.5, 11.5, 200e6),)  # after those above
INTERPRETER = 90e6  # bytes of a process that has planned a study, without any of them
NETWORKS = 90e6  # of loading one or two, and MLflow's database
USED = 230e6  # of what a process has used: a first pass, and arrays that are gone and that its allocator keeps
RAY = 40e6  # of a process that is of a cluster
DATABASE = 3.4  # of making MLflow's
LOADING = 0.8  # of loading one or two
CLUSTER = 5.0  # of starting Ray's own processes


@dataclass(frozen=True, slots=True)
class Start:
    """What is there, and what is not, when a study begins: later a part of it is.

    Attributes:
        common_s: what every study takes, in seconds on the machine above.
        of_methods_s: what importing a method's library takes, by its name.
        of_methods: bytes that it then holds, by the same name.
        n_bytes: that every study's process holds before its first stage, without those.
    """

    common_s: float
    of_methods_s: Mapping[str, float]
    of_methods: Mapping[str, float]
    n_bytes: float

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
        held = INTERPRETER + NETWORKS + sum(library.n_bytes for library in (*COMPUTING, TRACKED))
        return cls(
            seconds,
            {library.name: _here(library) for library in local},
            {library.name: library.n_bytes for library in local},
            held + RAY * (executor == "ray"),
        )

    def work(self, methods: Iterable[Method]) -> Work:
        """Of a study that computes with these methods: in seconds, so that what one took tells of another."""
        named = _named(methods)
        seconds = self.common_s + sum(self.of_methods_s.get(name, 0.0) for name in named)
        held = self.n_bytes + sum(self.of_methods.get(name, 0.0) for name in named)
        return Work(START, "", seconds, held_bytes=held)


def worker_bytes(methods: Iterable[Method]) -> float:
    """What a process of a cluster holds before its first stage: nothing of it tracks."""
    named = _named(methods)
    libraries = (*COMPUTING, *(library for library in OF_METHODS if library.name in named))
    return INTERPRETER + NETWORKS + RAY + sum(library.n_bytes for library in libraries)


def _named(methods: Iterable[Method]) -> set[str]:
    """Names of the libraries that these methods import."""
    return {method.library.partition(".")[0] for method in methods}


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
