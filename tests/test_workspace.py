"""What several processes may do in one workspace at the same time, and what one at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from adloc.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

TAKE_TURN = """
import sys
from pathlib import Path
from adloc.workspace import Workspace
print("here", flush=True)
with Workspace(Path(sys.argv[1])).turn("x"):
    print("in", flush=True)
"""
OPEN_MLFLOW = """
import sys
from pathlib import Path
from adloc.study_file.validation import load_study
from adloc.tracking.experiment import Tracking
from adloc.tracking.place import Place
from adloc.workspace import Workspace
_, spec = load_study(Path(sys.argv[2]), ["study=" + sys.argv[3]])
print("here", flush=True)
sys.stdin.readline()
print(Tracking(Place(Workspace(Path(sys.argv[1]))), spec, []).parent_id)
"""
STUDY = """\
study: any
dataset: {kind: textures}
methods:
  - {method: patchcore, params: {backbone: efficientnet_lite0}}
"""


def start(code: str, *arguments: Path | str) -> subprocess.Popen[str]:
    """A Python process that has come as far as its first word, "here"."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return process


def test_turn_is_one_threads_at_a_time(tmp_path: Path) -> None:
    """Threads that ask at the same time go one after the other; another name is another turn."""
    inside, most = 0, 0

    def take(_: int) -> None:
        nonlocal inside, most
        with Workspace(tmp_path / "new").turn("x"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    with Workspace(tmp_path / "new").turn("another"), ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(8)))
    assert most == 1


def test_turn_is_one_processs_at_a_time(tmp_path: Path) -> None:
    """Another process waits until the turn is over."""
    with Workspace(tmp_path).turn("x"):
        process = start(TAKE_TURN, tmp_path)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
    assert process.communicate(timeout=60)[0] == "in\n"
    assert process.returncode == 0


@pytest.mark.slow
def test_two_processes_open_mlflow_at_once(tmp_path: Path) -> None:
    """A new database is migrated by one of them while the other waits; each has its experiment."""
    (tmp_path / "any.yaml").write_text(STUDY)
    processes = [start(OPEN_MLFLOW, tmp_path / "workspace", tmp_path / "any.yaml", name) for name in ("one", "two")]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(set(found)) == 2
