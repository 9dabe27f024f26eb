"""What SECURITY.md promises of the code: nothing unpickles, evaluates or starts a shell, and servers stay at home."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from adloc import ui
from checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = sorted(path for room in ("orchestrator", "methods", "datasets") for path in (ROOT / room).rglob("*.py"))
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "marshal", "shelve", "dill", "joblib", "jsonpickle"}
RUNS_TEXT = {"eval", "exec", "builtins.eval", "builtins.exec", "os.system", "os.popen", "subprocess.getoutput"}
LOADS = {"pandas.read_pickle", "torch.hub.load", "torch.jit.load"}
ARRAYS = {"numpy.load", "numpy.savez", "numpy.save", "numpy.savez_compressed"}
CAUGHT = "pickle.UnpicklingError"  # what torch raises of a file that it refuses: naming it unpickles nothing


def names_of(tree: ast.Module) -> dict[str, str]:
    """What each imported name of a file stands for: {"np": "numpy", "load": "torch.load"}."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                top = each.name.split(".")[0]
                found |= {each.asname: each.name} if each.asname else {top: top}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """The full name of what an expression names, "" where it is no name of an import or of Python itself."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id if node.id in RUNS_TEXT else "")
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, names)
        return f"{before}.{node.attr}" if before else ""
    return ""


def gives(call: ast.Call, keyword: str, value: object) -> bool:
    """Whether a call gives this keyword this value, as a literal."""
    return any(k.arg == keyword and isinstance(k.value, ast.Constant) and k.value.value == value for k in call.keywords)


def is_refused(name: str) -> bool:
    """Whether using what has this full name could run what data holds."""
    top, _, rest = name.partition(".")
    return (top in PICKLES and bool(rest) and name != CAUGHT) or top == "yaml" or name in RUNS_TEXT | LOADS


def is_unguarded(name: str, call: ast.Call) -> bool:
    """Whether a call lacks the argument that keeps it from making objects or starting a shell."""
    return (
        (name in {"torch.load", "torch.serialization.load"} and not gives(call, "weights_only", value=True))
        or (name in ARRAYS and not gives(call, "allow_pickle", value=False))
        or (name == "ruamel.yaml.YAML" and gives(call, "typ", value="unsafe"))
        or any(k.arg == "shell" and not gives(call, "shell", value=False) for k in call.keywords)
    )


def untrusting(source: str) -> Iterator[str]:
    """Everything in a file that could run what data holds, with its line."""
    tree = ast.parse(source)
    names = names_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and is_refused(dotted(node, names)):
            yield f"{node.lineno}: {dotted(node, names)}"
        elif isinstance(node, ast.Call) and is_unguarded(dotted(node.func, names), node):
            yield f"{node.lineno}: {dotted(node.func, names) or 'a call'} lacks its guard"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_runs_what_data_holds(path: Path) -> None:
    """No pickle, no text that is run, no shell; weights load as tensors, arrays as arrays."""
    assert list(untrusting(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle; pickle.loads(b'')",
        "from pickle import load; load(f)",
        "import marshal as m; m.loads(b'')",
        "import joblib; joblib.load(p)",
        "import torch; torch.load(p)",
        "import torch; torch.load(p, weights_only=False)",
        "from torch import load; load(p, weights_only=flag)",
        "import numpy as np; np.load(p)",
        "import numpy as np; np.load(p, allow_pickle=True)",
        "import yaml; yaml.load(t)",
        "from ruamel.yaml import YAML; YAML(typ='unsafe')",
        "eval(t)",
        "run = exec; run(t)",
        "import os; os.system(t)",
        "from os import popen; popen(t)",
        "import subprocess; subprocess.run(t, shell=True)",
        "import subprocess as s; s.Popen(t, shell=flag)",
        "import pandas as pd; pd.read_pickle(p)",
    ],
)
def test_what_is_looked_for_is_found(source: str) -> None:
    """The walk above sees each kind of it, also under another name."""
    assert list(untrusting(source))


def test_servers_of_ui_and_cluster_stay_on_loopback() -> None:
    """MLflow and the Optuna dashboard are started on 127.0.0.1; a Ray that is started here has no dashboard."""
    assert ui.HOST == "127.0.0.1"
    tree = ast.parse((ROOT / "orchestrator" / "ui.py").read_text(encoding="utf-8"))
    elements = [node.elts for node in ast.walk(tree) if isinstance(node, ast.Tuple)]
    hosts = [
        after
        for each in elements
        for before, after in pairwise(each)
        if isinstance(before, ast.Constant) and before.value == "--host"
    ]
    assert len(hosts) == 2
    assert all(isinstance(host, ast.Name) and host.id == "HOST" for host in hosts)
    cluster = (ROOT / "orchestrator" / "executors" / "cluster.py").read_text(encoding="utf-8")
    assert '{"address": "local", "include_dashboard": False' in cluster


def test_deployed_services_listen_where_deploy_host_says() -> None:
    """Its default is loopback; every address that a script listens on is that variable, and Ray has no dashboard."""
    assert "DEPLOY_HOST=${DEPLOY_HOST:-127.0.0.1}" in (ROOT / "deploy" / "settings.sh").read_text(encoding="utf-8")
    for path in (ROOT / "deploy").glob("*.sh"):
        text = path.read_text(encoding="utf-8")
        for given in re.findall(r"--(?:host|node-ip-address)[ =](\S+)", text):
            assert given == '"$DEPLOY_HOST"', path
        assert "0.0.0.0" not in text, path  # noqa: S104
        assert text.count("--include-dashboard") == text.count("--include-dashboard false"), path
