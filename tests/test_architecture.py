"""The structure that docs/architecture.md promises: imports that flow one way, one importer a library, a true map."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

import click
import pytest

from adloc.cli import cli
from checkout import ROOT
from pages import everything, page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOMS = {"orchestrator": "adloc", "methods": "adloc.methods", "datasets": "adloc.datasets"}
FILES = {room: sorted((ROOT / room).rglob("*.py")) for room in ROOMS}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
MOST_COMPLEX = 12


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file names in an import, wherever in the file."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    return frozenset(found)


@pytest.mark.parametrize("room", ["methods", "datasets"])
def test_rooms_know_nothing_of_each_other(room: str) -> None:
    """`datasets` and `methods` import neither each other nor the study around them."""
    own = ROOMS[room]
    for path in FILES[room]:
        foreign = {n for n in imports(path) if n.split(".")[0] == "adloc" and not f"{n}.".startswith(f"{own}.")}
        assert foreign - {"adloc"} == set(), path


def test_imports_flow_one_way() -> None:
    """Between the rooms and files of `orchestrator/`, what is imported on import forms no circle."""
    needs: dict[str, set[str]] = {}
    for path in FILES["orchestrator"]:
        own = path.relative_to(ROOT / "orchestrator").with_suffix("").parts[0]
        named = [node.module or "" for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        others = {name.split(".")[1] for name in named if name.startswith("adloc.")}
        needs.setdefault(own, set()).update(others - {own, "methods", "datasets"})
    assert needs["run"] >= {"answer", "record", "study"}  # it reads what it says it reads
    while free := {name for name, others in needs.items() if not others & needs.keys()}:
        needs = {name: others for name, others in needs.items() if name not in free}
    assert not needs


def complexity(function: ast.AST) -> int:
    """McCabe's number with all that branches: 1 and each `if`, loop, `except`, `case`, `and`, `or` and ternary.

    Of a comprehension its `if`s count: what maps one value after the other takes one way. Nested functions count apart.
    """
    found, nodes = 1, list(ast.iter_child_nodes(function))
    while nodes:
        node = nodes.pop()
        match node:
            case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While() | ast.ExceptHandler() | ast.Assert():
                found += 1
            case ast.comprehension():
                found += len(node.ifs)
            case ast.BoolOp():
                found += len(node.values) - 1
            case ast.match_case():
                found += not (isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None)
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            nodes += ast.iter_child_nodes(node)
    return found


def test_complexity_counts_every_branch() -> None:
    """By hand: if, elif, two `or`, for, if in a comprehension, ternary, except, one case of two; not the inner if."""
    text = """
def outer(x):
    if x or x or x: pass
    elif x: pass
    for i in [j for j in x if j]: y = 1 if i else 2
    try: pass
    except ValueError: pass
    match x:
        case 1: pass
        case _: pass
    def inner():
        if x: pass
"""
    outer, inner = (node for node in ast.walk(ast.parse(text)) if isinstance(node, FUNCTIONS))
    assert (complexity(outer), complexity(inner)) == (10, 2)


def test_no_function_branches_too_often() -> None:
    """A reader follows every function; ruff's C901 counts statements alone."""
    counted = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": complexity(node)
        for paths in FILES.values()
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, FUNCTIONS)
    }
    assert {name: n for name, n in counted.items() if n > MOST_COMPLEX} == {}


def test_no_two_files_need_each_other() -> None:
    """Not even for a type, or within a function: of any two, one can be read without the other."""
    files = {}
    for room, paths in FILES.items():
        for path in paths:
            parts = path.relative_to(ROOT / room).with_suffix("").parts
            files[".".join([ROOMS[room], *(part for part in parts if part != "__init__")])] = path
    needs: dict[str, set[str]] = {}
    for name, path in files.items():
        froms = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        named = {(node.module or "", f"{node.module}.{alias.name}") for node in froms for alias in node.names}
        needs[name] = {full if full in files else module for module, full in named} & files.keys()
    assert "adloc.datasets.shift_parameters" in needs["adloc.datasets.shift_pixels"]  # it reads what stands there
    TopologicalSorter(needs).prepare()  # raises a CycleError that names them


def test_tests_stand_in_the_rooms_names() -> None:
    """Beside three of their own; and none imports another, so that any may go."""
    tests = ROOT / "tests"
    folders = {path.parent.name for path in tests.glob("*/test_*.py")}
    rooms = {path.name for path in (ROOT / "orchestrator").iterdir()} | ROOMS.keys()
    assert folders - rooms == {"docs", "faults", "studies"}
    found = {path.stem for path in tests.rglob("test_*.py")}
    for path in tests.rglob("*.py"):
        assert not found & {name.split(".")[0] for name in imports(path)}, path


@pytest.mark.parametrize(
    ("library", "importers"),
    [
        (
            "mlflow",
            {
                f"orchestrator/tracking/{name}.py"
                for name in ("experiment", "runs", "reach", "pictures", "machine", "mlmodel", "models")
            },
        ),
        (
            "faiss",
            {
                "methods/patchcore/search.py",
                "methods/patchcore/approximate/index.py",
                "orchestrator/computing/environment.py",
                "orchestrator/doctor.py",
            },
        ),
        ("fsspec", {"datasets/objects.py"}),
        ("anomalib", {"methods/anomalib/library.py"}),
        ("lightning", {"methods/anomalib/training.py", "methods/anomalib/library.py"}),
        (
            "click",
            {str(path.relative_to(ROOT)) for path in (ROOT / "orchestrator" / "cli").glob("*.py")},
        ),
        ("ray", {"orchestrator/executors/cluster.py"}),
        ("onnxruntime", {"methods/engines/onnx_runtime.py"}),
        ("openvino", {"methods/engines/open_vino.py"}),
    ],
)
def test_a_library_has_one_home(library: str, importers: set[str]) -> None:
    """A library whose interface changes costs one file (environment and doctor only set threads and look)."""
    found = {
        str(path.relative_to(ROOT))
        for paths in FILES.values()
        for path in paths
        if any(name.split(".")[0] == library for name in imports(path))
    }
    assert found <= importers


def test_every_folder_is_a_package_of_the_build() -> None:
    """A wheel holds all that a checkout holds."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {path.parent for paths in FILES.values() for path in paths if path.name == "__init__.py"}
    rooms = {path.relative_to(ROOT).parts for path in folders}
    assert sorted(listed) == sorted(".".join([ROOMS[parts[0]], *parts[1:]]) for parts in rooms)


PURE = [
    "study_file/spec",
    "study_file/variants",
    "study_file/conditions",
    "planning/training_images",
    "planning/study_parts",
    "planning/absent",
    "answer/axes",
    "planning/plan",
    "planning/stages",
    "study_file/regimes",
    "keys",
    "answer/comparisons",
]


@pytest.mark.parametrize("name", PURE)
def test_pure_parts_import_nothing_heavy(name: str) -> None:
    """What is asked and what is planned needs no torch, no tracking and no clock."""
    named = {n.split(".")[0] for n in imports(ROOT / "orchestrator" / f"{name}.py")}
    assert named.isdisjoint({"torch", "mlflow", "optuna", "faiss", "anomalib", "time", "datetime", "random"})


def test_help_and_validate_import_nothing_heavy() -> None:
    """`adloc --help` loads no Pydantic, and reading a study file no torch: both answer at once."""
    code = (
        "import sys; import adloc.cli; assert 'pydantic' not in sys.modules and 'numpy' not in sys.modules;"
        "import adloc.study_file.validation; assert not {'torch', 'mlflow', 'numpy', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)


def test_the_tree_itself_shadows_no_package_where_adloc_is_run_in_it() -> None:
    """`python -m adloc` at the root of a checkout does not find its folder datasets as a package of that name."""
    code = (
        "import sys; from importlib.util import find_spec; from adloc import __main__ as entry\n"
        "root, sys.argv = sys.argv[1], ['adloc', '--version']\n"
        "try:\n    entry.main()\nexcept SystemExit:\n    pass\n"
        "found = find_spec('datasets')\n"
        "assert found is None or not str(found.origin).startswith(root), found"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "datasets")], cwd=ROOT, env=environment, check=True, timeout=60
    )


def modules_with_examples() -> list[str]:
    """Import names of the modules whose docstrings hold examples."""
    names = []
    for room, package in ROOMS.items():
        for path in FILES[room]:
            if ">>>" in path.read_text(encoding="utf-8"):
                parts = path.relative_to(ROOT / room).with_suffix("").parts
                names.append(".".join([package, *(p for p in parts if p != "__init__")]))
    return names


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_run(name: str) -> None:
    """An example that no longer holds fails here (doctests, by the modules' import names)."""
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def commands(group: click.Group, prefix: str = "adloc") -> Iterator[tuple[str, click.Command]]:
    """Every verb of the command line with its full name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


@pytest.mark.parametrize(("name", "command"), list(commands(cli)), ids=[name for name, _ in commands(cli)])
def test_every_verb_is_documented(name: str, command: click.Command) -> None:
    """A verb, and every option of it, has help; README or a page of docs/ names the verb."""
    assert command.help
    assert name in everything()
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not isinstance(parameter.type, click.Choice):
            assert parameter.help, parameter.name


def test_file_tree_of_the_documentation_is_the_disks() -> None:
    """Every file of the three rooms and of studies/ is in the tree of docs/architecture.md, and nothing else."""
    block = re.search(r"```text\nadloc/\n(.*?)```", page("architecture"), re.DOTALL)
    assert block
    named: set[str] = set()
    folders: list[str] = []
    for line in block[1].splitlines():
        entry = line.split("#")[0].rstrip()
        depth = (len(entry) - len(entry.lstrip())) // 2 - 1
        for name in entry.split():
            if name.endswith("/"):
                folders[depth:] = [name]
            else:
                named.add("".join([*folders[:depth], name]))
    files = {p for paths in FILES.values() for p in paths} | set((ROOT / "studies").glob("*.yaml"))
    on_disk = {str(p.relative_to(ROOT)) for p in files if p.name != "__init__.py"}
    assert {n for n in named if n.endswith((".py", ".yaml")) and "/" in n} == on_disk
