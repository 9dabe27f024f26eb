"""Signals to a process of its own: a watched folder is scored once, over stops and crashes; a stop is orderly."""

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
    command = [sys.executable, "-P", "-m", "adloc", "predict", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def watch(*arguments: str | Path) -> subprocess.Popen[str]:
    """The same on a watched folder."""
    return start(*arguments, "--watch", "--settle", "0.3")


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

    process = watch(model, folder, "--output", output)
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
    process = watch(model, folder, "--output", output)
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


def test_a_folder_by_another_name_is_the_same_folder(tmp_path: Path) -> None:
    """Rows of `in` are known when /the/whole/path/in is watched: no image counts twice, in the rows or the monitor."""
    folder, output = tmp_path / "in", tmp_path / "rows.csv"
    draw(folder / "old.png", 60)
    draw(folder / "new.png", 70)
    model, short = write_model(tmp_path / "model"), os.path.relpath(folder)
    output.write_text(f"path,score,anomalous,threshold,error\n{short}/old.png,0.1,0,0.2,\n")
    process = watch(model, folder, "--output", output)
    until(lambda: len(rows(output)) > 1, process)
    assert "interrupted: 1 scored" in end(process, signal.SIGTERM)
    assert [row["path"] for row in rows(output)] == [f"{short}/old.png", str(folder / "new.png")]


def test_rows_come_while_the_list_does(tmp_path: Path) -> None:
    """Who writes a path to standard input gets its row before the next; Ctrl-C ends it there, with what is written."""
    model, image = write_model(tmp_path / "model"), draw(tmp_path / "a.png", 60)
    process = start(model, "-", "--report", tmp_path / "page.html")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline().startswith("path,")
    for _ in range(2):
        process.stdin.write(f"{image}\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(f"{image},")
    told = end(process, signal.SIGINT)
    assert "interrupted: 2 scored" in told
    assert "page.html is not written" in told
    assert not (tmp_path / "page.html").exists()


def test_an_interrupted_parquet_is_absent(tmp_path: Path) -> None:
    """Nothing of it is left behind."""
    model = write_model(tmp_path / "model")
    draw(tmp_path / "in" / "a.png", 60)
    process = start(model, "-", "--output", tmp_path / "rows.parquet")
    until((tmp_path / ".rows.parquet.tmp").exists, process)
    assert "rows.parquet is not written" in end(process, signal.SIGTERM)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "model"]
