"""Models whose export or calibration is ended at moments of their writing: whole or absent, then written after all.

$ADLOC_KILLS sets their number, for long runs.
"""

from __future__ import annotations

import os
import shutil
import signal
from random import Random
from typing import TYPE_CHECKING

import pytest

from adloc.errors import UserError
from adloc.model.folder import read_model
from faults.study import copy_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adloc.model.folder import Model
    from faults.study import Ended, Forks

pytestmark = pytest.mark.slow
KILLS = max(3, int(os.environ.get("ADLOC_KILLS", "6")) // 2)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def whole(folder: Path) -> Model | None:
    """The model of a folder; None where there is none that would be used."""
    try:
        return read_model(folder)
    except UserError:
        return None


def scores_alike(model: Model, other: Model) -> bool:
    """Whether they have the same fit, threshold and reference, to the bit, whenever they were made."""
    mine, theirs = (each.spec.threshold.model_copy(update={"set_on": ""}) for each in (model, other))
    same = mine == theirs and model.fit.keys() == other.fit.keys()
    arrays = [(model.reference.scores, other.reference.scores)]
    arrays += [
        (model.fit[step].arrays[name], each) for step in other.fit for name, each in other.fit[step].arrays.items()
    ]
    return same and all(array.tobytes() == like.tobytes() for array, like in arrays)


def kills(moments: int, random: Random) -> list[dict[str, object]]:
    """From all of the writing, and from each part of it."""
    return [
        {
            "moment": 1 + int((number + random.random()) / KILLS * moments),
            "signal": int(SIGNALS[number % len(SIGNALS)]),
            "edge": random.choice(["before", "after"]),
        }
        for number in range(KILLS)
    ]


def test_killed_export_leaves_a_whole_model_or_none(
    forks: Forks, whole_study: Path, undisturbed: tuple[Path, Ended], tmp_path: Path, caused: Callable[..., None]
) -> None:
    """Not under its name, and not beside it; and the next one is written as the undisturbed one was."""
    workspace = copy_of(undisturbed[0], tmp_path / "w")
    models = tmp_path / "models"

    def export(to: Path, **kill: object) -> Ended:
        asked = ("model", "export", "--study", whole_study, "--workspace", workspace, "--output", to)
        return forks.verb(models, *asked, **kill)

    first = export(models / "undisturbed")
    assert first.code == 0, first.output
    assert len(first.moments) > KILLS
    expected = read_model(models / "undisturbed")
    for number, kill in enumerate(kills(len(first.moments), Random(11))):  # noqa: S311
        place = models / f"m{number}"
        ended = export(place, **kill)
        assert ended.code in (0, 130, -int(str(kill["signal"]))), f"{kill}\n{ended.output}"
        assert "Traceback" not in ended.output, f"{kill}\n{ended.output}"
        assert not place.exists() or whole(place), kill
        left = [found for path in models.glob(f".{place.name}.*") if (found := whole(path)) is not None]
        assert all(scores_alike(found, expected) for found in left), kill
        shutil.rmtree(place, ignore_errors=True)
        caused("kills of an export")
    again = export(place)
    assert again.code == 0, again.output
    assert scores_alike(read_model(place), expected)


def test_killed_calibration_leaves_the_old_model_or_the_new_one(
    forks: Forks, whole_study: Path, undisturbed: tuple[Path, Ended], tmp_path: Path, caused: Callable[..., None]
) -> None:
    """A threshold and the scores that it rests on change together."""
    asked = ("model", "export", "--study", whole_study, "--workspace", undisturbed[0], "--output", tmp_path / "before")
    assert forks.verb(tmp_path, *asked).code == 0
    images = sorted((whole_study.parent / "data" / "gear" / "test").glob("*/*.png"))

    def calibrate(model: Path, **kill: object) -> Ended:
        return forks.verb(model, "model", "calibrate", model, *images, "--fpr", 0.5, "--promise", "expected", **kill)

    calibrated = copy_of(tmp_path / "before", tmp_path / "after")
    first = calibrate(calibrated)
    assert first.code == 0, first.output
    before, after = read_model(tmp_path / "before"), read_model(calibrated)
    assert not scores_alike(before, after)
    for number, kill in enumerate(kills(len(first.moments), Random(12))):  # noqa: S311
        model = copy_of(tmp_path / "before", tmp_path / f"m{number}")
        ended = calibrate(model, **kill)
        assert ended.code in (0, 130, -int(str(kill["signal"]))), f"{kill}\n{ended.output}"
        found = read_model(model)
        assert scores_alike(found, before) or scores_alike(found, after), kill
        again = calibrate(model)
        assert again.code == 0, again.output
        assert scores_alike(read_model(model), after), kill
        caused("kills of a calibration")
