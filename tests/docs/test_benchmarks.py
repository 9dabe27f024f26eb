"""The benchmarks that the pages name, as `make bench` starts them."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from checkout import ROOT

FOLDER = ROOT / "tests" / "benchmarks"
STARTED = sorted(
    {
        node.args[0].value
        for node in ast.walk(ast.parse((FOLDER / "kernels.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_apart"
        if isinstance(node.args[0], ast.Constant)
    }
)
CALLED = (
    "import sys; sys.path.insert(0, sys.argv[1]); import kernels; print(kernels._apart(sys.argv[2], *sys.argv[3:]))"
)
SMALL = {
    "grow.py": ["3000"],
    "grow_bank.py": ["ivf", "4000", "float32", "1"],
    "grow_maps.py": ["exact", "64", "64"],
    "grow_padim.py": ["8", "20", "low_rank"],
}


@pytest.mark.slow
@pytest.mark.parametrize("script", STARTED)
def test_scripts_of_their_own_start_as_make_starts_them(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PYTHONSAFEPATH set for all: a script still finds the files beside it."""
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    command = [sys.executable, "-c", CALLED, str(FOLDER), script, *SMALL[script]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert isinstance(ast.literal_eval(done.stdout.splitlines()[-1]), dict)
