"""What is said while a study runs where no line can be written over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from adloc.cli import progress
from adloc.cli.progress import Progress
from adloc.stages import FeatureStage, StepStage

if TYPE_CHECKING:
    import pytest


def stage_of(kind: type[FeatureStage | StepStage]) -> FeatureStage | StepStage:
    """A stage of a category, as far as progress looks at it."""
    stage = kind.__new__(kind)
    part = SimpleNamespace(category="bottle")
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
