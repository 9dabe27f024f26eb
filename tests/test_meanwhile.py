"""Work that a fork does meanwhile: the same answer whether it may fork, is killed or fails, and nothing half done."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from adloc import meanwhile as module
from adloc.meanwhile import meanwhile

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux alone")


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.fixture
def no_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # a worker of the tests has one that talks to its master


def processes_of(path: Path) -> list[int]:
    """Who did the work, in order."""
    return [int(line) for line in path.read_text(encoding="utf-8").split()]


def said(path: Path) -> int:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    return 42


@pytest.mark.usefixtures("no_other_threads")
def test_another_process_does_it_while_the_block_goes_on(tmp_path: Path) -> None:
    with meanwhile(lambda: said(tmp_path / "who")) as answer:
        for _ in range(1000):
            if (tmp_path / "who").exists():
                break
            time.sleep(0.01)
        assert answer() == answer() == 42
    (who,) = processes_of(tmp_path / "who")
    assert who != os.getpid()


@pytest.mark.usefixtures("two_cores")
def test_beside_another_thread_it_is_done_here_before_the_block(tmp_path: Path) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with meanwhile(lambda: said(tmp_path / "who")) as answer:
            assert processes_of(tmp_path / "who") == [os.getpid()]
            assert answer() == 42
    finally:
        end.set()
        thread.join()
    assert processes_of(tmp_path / "who") == [os.getpid()]


@pytest.mark.usefixtures("no_other_threads")
def test_a_fork_that_is_killed_costs_only_its_time(tmp_path: Path) -> None:
    here = os.getpid()

    def work() -> int:
        done = said(tmp_path / "who")
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    with meanwhile(work) as answer:
        assert answer() == 42
    first, second = processes_of(tmp_path / "who")
    assert first != here
    assert second == here


@pytest.mark.usefixtures("no_other_threads")
def test_an_error_is_that_of_this_process(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise ValueError("no room")

    with meanwhile(work) as answer, pytest.raises(ValueError, match="no room"):
        answer()
    assert capfd.readouterr().err == ""  # the fork says nothing of its own


@pytest.mark.usefixtures("no_other_threads")
def test_what_it_writes_is_whole_where_the_block_fails(tmp_path: Path) -> None:
    def work() -> bytes:
        time.sleep(0.2)
        (tmp_path / "table").write_text("whole", encoding="utf-8")
        return bytes(10_000_000)  # more than a pipe holds: nobody reads it

    with pytest.raises(RuntimeError, match="block"), meanwhile(work):
        raise RuntimeError("the block failed")
    assert (tmp_path / "table").read_text(encoding="utf-8") == "whole"


def test_a_fork_does_not_outlive_its_process_and_its_locks(tmp_path: Path) -> None:
    script = """
import fcntl, os, sys, time
from adloc.meanwhile import meanwhile
os.sched_getaffinity = lambda _: {0, 1}
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
def work():
    print("begun", flush=True)
    time.sleep(60)
with meanwhile(work) as answer:
    answer()
"""
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.kill()
    with path.open("w") as lock:
        for _ in range(1000):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.01)
            else:
                return
    pytest.fail("the lock is held by a process that has outlived its parent")


def test_a_process_with_one_core_does_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr(module, "get_context", lambda _: pytest.fail("it forked"))
    with meanwhile(lambda: 42) as answer:
        assert answer() == 42
