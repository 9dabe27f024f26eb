"""What is said while a study runs where no line can be written over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from rich.console import Console

from adloc.planning.sources import FeatureStage
from adloc.planning.stages import StepStage
from adloc.progress import study as progress
from adloc.progress.live import Board, LiveBlock
from adloc.progress.study import Progress

if TYPE_CHECKING:
    import pytest


def stage_of(kind: type[FeatureStage | StepStage]) -> FeatureStage | StepStage:
    """A stage of a category, as far as progress looks at it."""
    stage = kind.__new__(kind)
    part = SimpleNamespace(category="bottle", domain="clean")
    stage.__dict__["key"] = "its key"
    if isinstance(stage, FeatureStage):
        stage.__dict__["part"] = part
    else:
        method, step = SimpleNamespace(name="anomalib"), SimpleNamespace(name="training")
        stage.__dict__.update(source=SimpleNamespace(part=part), method=method, step=step)
    return cast("FeatureStage | StepStage", stage)


def test_a_training_tells_its_epochs_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step's count is not called images of a backbone, and not every one of it is a line."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    told, stage = Progress(), stage_of(StepStage)
    told.stage_started(stage)
    for epoch in range(1, 21):
        clock[0] += 10.0
        told.stage_progress(stage, epoch, 20)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"  bottle: anomalib.training {epoch} of 20" for epoch in (3, 6, 9, 12, 15, 18)]


def test_features_are_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    """When all images of a part have passed."""
    told, stage = Progress(), stage_of(FeatureStage)
    for done in range(1, 6):
        told.stage_progress(stage, done, 5)
    assert capsys.readouterr().err == "  bottle: backbone features of 5 images\n"


def test_the_live_block_fits_the_terminal() -> None:
    """One line for the study, one for what is computed, one a worker; long names are cut, figures are not."""
    board = Board(done=3, total=24, n_failed=1, now="a category of a long name and its method " * 3, n_planned=192)
    stage = stage_of(FeatureStage)
    board.ended(stage, 2.0, 10)
    for number in range(3):
        board.began(stage)
        board.heard(f"host-{number}:1234", stage, 1.5)
    console = Console(width=80)
    with console.capture() as captured:
        console.print(LiveBlock(board, lambda: "about 4.2 min left"))
    lines = captured.get().splitlines()
    assert len(lines) == 2 + 3
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("[3/24] a category")
    assert lines[0].rstrip().endswith("about 4.2 min left, 1 failed")
    assert lines[1].strip().startswith("features bottle")
    assert lines[1].rstrip().endswith("1 of 192 stages, 5.0 images/s")
    assert lines[2].split() == ["host-0:1234", "last", "features", "bottle", "(1.5", "s)", "1", "tasks,", "2", "s"]
    assert board.machines() == [f"host-{number}: 1 worker, 1 tasks, 1 s of work" for number in range(3)]


def test_what_is_left_of_a_search_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten trials, one done in 10 s: 90 s are left, and fewer while the second one goes on and on."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    told = Progress(quiet=True)
    told._begin(10, 0)
    clock[0] = 10.0
    told._count()
    left = []
    for clock[0] in (10.0, 40.0, 95.0, 200.0):
        left.append(told._left_s())
    assert left == [90.0, 60.0, 5.0, 0.0]
