"""A tuned study behind a URL, killed among its trials and begun afresh, gone on with by machines with other caches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from adloc.record.files import files_below
from adloc.remote import lease
from commandline import adloc
from spread import recorded, trials

if TYPE_CHECKING:
    from pathlib import Path


def n_there(cache: Path, pattern: str) -> int:
    return sum(path.match(pattern) for path, _ in files_below(cache))  # of which the driver removes some meanwhile


def killed(file: Path, url: str, cache: Path, pattern: str, n_files: int, *options: str) -> None:
    """A driver on a machine with this cache, ended by SIGKILL once it has so many files of this name."""
    command = [sys.executable, "-m", "adloc", "study", "run", file, "--workspace", url, *options]
    environment = os.environ | {"ADLOC_CACHE": str(cache), "PYTHONSAFEPATH": "1"}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 300
        while driver.poll() is None and n_there(cache, pattern) < n_files and time.monotonic() < until:
            time.sleep(0.05)
        assert driver.poll() is None
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()


@pytest.mark.slow
def test_search_killed_on_one_machine_goes_on_on_another(
    spread_tuned_file: Path, spread_tuned_local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No trial twice, none lost, the runs of one process; begun afresh, nothing is taken from copies."""
    url, file = f"file://{tmp_path}/bucket", spread_tuned_file
    caches = {name: tmp_path / name for name in ("one", "other", "third")}
    monkeypatch.setattr(lease, "LEASE_S", 0.0)

    def on(name: str, *arguments: str) -> str:
        monkeypatch.setenv("ADLOC_CACHE", str(caches[name]))
        return adloc("study", arguments[0], file, "--workspace", url, *arguments[1:]).stdout

    def copy(name: str) -> Path:
        (found,) = caches[name].iterdir()
        return found

    killed(file, url, caches["one"], "trials/patchcore/r1/0*.json", 3)
    on("other", "run")
    on("one", "status")
    for name in ("one", "other"):
        assert trials(copy(name)) == trials(spread_tuned_local)
        assert recorded(copy(name)) == recorded(spread_tuned_local)
    found = json.loads(on("third", "verify", "--runs", "1", "--json"))
    assert {each["outcome"] for run in found["runs"] for each in run["compared"]} == {"equal"}

    before = {path: path.stat().st_ino for path in copy("one").glob("store/*/*/*.safetensors")}
    killed(file, url, caches["other"], "trials/patchcore/r2/0*.json", 2, "--fresh")
    on("one", "run")
    assert recorded(copy("one")) == recorded(spread_tuned_local)
    assert before
    assert not {path for path, inode in before.items() if path.exists() and path.stat().st_ino == inode}
