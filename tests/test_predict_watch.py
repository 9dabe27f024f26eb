"""A watched folder, as a process of its own: what arrives is scored once, also over a stop; a stop is orderly."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exported import draw, write_model

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

DEADLINE_S = 120.0


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """`adloc predict` in a process, which a signal reaches."""
    command = [sys.executable, "-P", "-m", "adloc", "predict", *map(str, arguments), "--watch", "--settle", "0.3"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something to hold while the process lives."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def end(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send the signal; what it wrote to stderr."""
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    return told


def rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_arrives_is_scored_once(tmp_path: Path) -> None:
    """Over a stop by SIGTERM, a row torn by a crash and a stop by Ctrl-C; half-written files wait for their end."""
    model, folder, output = write_model(tmp_path / "model"), tmp_path / "in", tmp_path / "rows.csv"
    draw(folder / "there.png", 60)
    whole = draw(tmp_path / "whole.png", 200).read_bytes()

    process = start(model, folder, "--output", output)
    until(lambda: len(rows(output)) == 1, process)
    with (folder / "late.png").open("wb") as file:  # written bit by bit, slower than a file settles in all
        for piece in (whole[:20], whole[20:40], whole[40:]):
            file.write(piece)
            file.flush()
            time.sleep(0.2)
    (folder / "sub").mkdir()
    os.replace(draw(tmp_path / "moved.png", 120), folder / "sub" / "moved.png")  # noqa: PTH105  as a camera does
    until(lambda: len(rows(output)) == 3, process)
    told = end(process, signal.SIGTERM)
    assert "interrupted: 3 scored, 2 anomalous, 0 broken" in told
    found = {Path(row["path"]).name: row["score"] for row in rows(output)}
    assert {name: round(float(score) * 255) for name, score in found.items()} == {
        "there.png": 9, "late.png": 149, "moved.png": 69,
    }  # fmt: skip

    lines = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join(lines[:-1]) + lines[-1][:15])
    torn = next(csv.reader([lines[-1].decode()]))[0]
    (folder / "broken.png").write_bytes(whole[:30])
    process = start(model, folder, "--output", output)
    until(lambda: len(rows(output)) == 4, process)
    end(process, signal.SIGINT)
    assert [row["path"] for row in rows(output)][2] == torn
    assert sorted(Path(row["path"]).name for row in rows(output)) == [
        "broken.png",
        "late.png",
        "moved.png",
        "there.png",
    ]
    assert [Path(row["path"]).name for row in rows(output) if row["error"]] == ["broken.png"]
