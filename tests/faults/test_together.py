"""Processes that start together in one workspace: the figures of the undisturbed run, once each.

$ADLOC_TOGETHER is how often they do, for long runs.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from faults.study import copy_of, figures, tracked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.study import Ended, Forks

pytestmark = pytest.mark.slow
TIMES = int(os.environ.get("ADLOC_TOGETHER", "1"))
OTHERS = (
    ("study=others", "methods=[{method: floor, grid: {unit: [deviation, grey_level], smoothing_sigma: [2.0, 4.0]}}]"),
    ("study=pictures", "heatmaps=0"),
)
OVERLAP_S = 1.0  # between a process's look into the store and its word that it begins
# What each process computes, and when, in a file for all of them.
NOTED = """
import os, time
from adloc.progress.study import Progress
file = os.open({path!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def noting(word, call):
    def told(self, stage, *rest):
        os.write(file, f"{{time.monotonic()}} {{word}} {{stage.kind}} {{stage.key}}\\n".encode())
        return call(self, stage, *rest)
    return told
for word in ("stage_started", "stage_done"):
    setattr(Progress, word, noting(word, getattr(Progress, word)))
"""


def computed(path: Path) -> tuple[Counter[str], list[str]]:
    """How often each stage was computed, and those that were begun when another process had finished them."""
    times: Counter[str] = Counter()
    done: dict[str, float] = {}
    again = []
    for line in sorted(path.read_text().splitlines(), key=lambda line: float(line.split()[0])):
        second, word, kind, key = line.split()
        if word == "stage_done":
            times[f"{kind} {key}"] += 1
            done.setdefault(f"{kind} {key}", float(second))
        elif float(second) > done.get(f"{kind} {key}", float("inf")) + OVERLAP_S:
            again.append(line)
    return times, again


def test_processes_that_begin_together_end_as_one_alone(
    forks: Forks, whole_study: Path, undisturbed: tuple[Path, Ended], tmp_path: Path, caused: Callable[..., None]
) -> None:
    """One study twice and others that share its stages: one process runs each, what is finished no other computes."""
    for number in range(TIMES):
        workspace, noted = tmp_path / f"w{number}", tmp_path / f"noted{number}"
        noting = NOTED.format(path=str(noted))
        run = ("study", "run", whole_study, "--workspace", workspace)
        others = [(*run, *(word for each in setting for word in ("--set", each))) for setting in OTHERS]
        ended = forks.together(workspace, run, run, *others[: 1 + number % 2], before=noting)
        assert "Traceback" not in "".join(each.output for each in ended)
        assert sorted(each.code for each in ended[:2]) in ([0, 2], [0, 0]), ended
        assert all("another process is running" in each.output for each in ended[:2] if each.code)
        assert {each.code for each in ended[2:]} == {0}, ended
        assert figures(workspace) == figures(undisturbed[0])
        times, again = computed(noted)
        assert not again
        assert set(times) >= {f"{kind} {key}" for kind, key in kept(workspace)}
        shown = tracked(workspace)
        assert shown.keys() == {"FINISHED", "twice"}, shown
        assert shown["twice"] == 0
        for command in (run, *others[: 1 + number % 2]):
            finished = forks.verb(workspace, *command, before=noting)
            assert finished.code == 0, finished.output
        assert computed(noted)[0] == times
        assert tracked(workspace) == shown
        caused("processes that began together in one workspace", len(ended))


def kept(workspace: Path) -> set[tuple[str, str]]:
    """Kind and key of every stage that is kept."""
    return {(path.parent.parent.name, path.stem) for path in workspace.glob("store/[!.]*/*/*.safetensors")}


def test_reports_that_are_written_together_are_whole(
    forks: Forks, whole_study: Path, undisturbed: tuple[Path, Ended], tmp_path: Path, caused: Callable[..., None]
) -> None:
    """A report may be asked for at any time, and by several."""
    for number in range(TIMES):
        workspace = copy_of(undisturbed[0], tmp_path / f"w{number}")
        report = ("study", "report", whole_study, "--workspace", workspace)
        ended = forks.together(workspace, report, report, ("study", "run", *report[2:]))
        assert {each.code for each in ended} == {0}, ended
        assert figures(workspace) == figures(undisturbed[0])
        assert not list(workspace.glob("studies/**/.*.tmp"))
        caused("reports that were written together", 2)
