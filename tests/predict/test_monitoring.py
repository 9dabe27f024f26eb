"""`adloc predict --monitor` and `adloc model drift`: what they say, and that a stopped watch goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.errors import UserError
from adloc.model.folder import read_model
from adloc.predict.monitoring import Level, Monitoring
from commandline import adloc
from exported import GREY, draw, write_model

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(7)
NORMAL = RNG.uniform(0.0, 0.04, 60).tolist()  # greys of 51 to 61
DEFECTS = (0.3, 0.35, 0.4)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Sixty normal reference images, three defects, and a threshold between them."""
    return write_model(tmp_path / "model", normal=NORMAL, anomalous=DEFECTS)


def rows(path: Path, scores: np.ndarray) -> Path:
    """As `adloc predict` writes them."""
    lines = [f"{i}.png,{score},0,0.1," for i, score in enumerate(scores.tolist())]
    path.write_text("\n".join(["path,score,anomalous,threshold,error", *lines, "broken.png,,,0.1,why"]) + "\n")
    return path


def test_scores_like_the_references_are_fine(model: Path, tmp_path: Path) -> None:
    """No change, exit code 0; broken images are no images of the stream."""
    file = rows(tmp_path / "s.csv", RNG.uniform(0.0, 0.04, 300))
    found = json.loads(adloc("model", "drift", model, file, "--json").stdout)
    assert (found["verdict"], found["n_seen"], found["alarm"]) == ("fine", 300, None)
    assert "fine after 300 images" in adloc("model", "drift", model, file).output


def test_scores_that_rise_towards_the_threshold_ask_for_a_new_one(model: Path, tmp_path: Path) -> None:
    """Where the defects are still far above, a new threshold is all it takes; exit code 3."""
    scores = np.concatenate([RNG.uniform(0.0, 0.04, 100), RNG.uniform(0.08, 0.14, 100)])
    found = json.loads(adloc("model", "drift", model, rows(tmp_path / "s.csv", scores), "--json", expect=3).stdout)
    assert found["verdict"] == "recalibrate"
    assert 100 < found["alarm"]["image"] <= 115
    assert 95 <= found["alarm"]["since"] <= 105
    assert found["alarm"]["direction"] == "up"


def test_scores_as_high_as_the_defects_ask_for_a_new_fit(model: Path, tmp_path: Path) -> None:
    """No threshold tells them apart any more."""
    scores = np.concatenate([RNG.uniform(0.0, 0.04, 100), RNG.uniform(0.25, 0.5, 100)])
    told = adloc("model", "drift", model, rows(tmp_path / "s.csv", scores), expect=3).output
    assert "REFIT IT" in told
    assert "score went up since about image 10" in told


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_every_kind_of_rows_is_read(model: Path, tmp_path: Path, suffix: str) -> None:
    """As predict wrote them."""
    for i in range(5):
        draw(tmp_path / "in" / f"{i}.png", GREY + i)
    file = tmp_path / f"rows{suffix}"
    adloc("predict", model, tmp_path / "in", "--output", file)
    assert json.loads(adloc("model", "drift", model, file, "--json").stdout)["n_seen"] == 5


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("s.csv", "path,points\na,1\n", "no column score"),
        ("s.csv", "path,score\na,nan\n", "row 1: score is nan"),
        ("s.csv", "path,score\na,high\n", "could not convert"),
        ("s.csv", "path,score\na,\n", "no score in it"),
        ("s.jsonl", "{", "Expecting"),
        ("s.parquet", "PAR", "s.parquet"),
        ("s.txt", "1", "s.txt"),
        ("gone.csv", None, "No such file"),
    ],
)
def test_what_holds_no_scores_is_told(model: Path, tmp_path: Path, name: str, text: str | None, words: str) -> None:
    """Which file, what is wrong and how it is made."""
    if text is not None:
        (tmp_path / name).write_text(text)
    assert words in adloc("model", "drift", model, tmp_path / name, expect=2).output


def test_images_are_watched_as_they_are_scored(model: Path, tmp_path: Path) -> None:
    """A batch by itself: nothing is kept, so the same images again are no second half of a stream."""
    for i in range(30):
        draw(tmp_path / "a" / f"{i:02}.png", GREY + i % 8)
        draw(tmp_path / "b" / f"{i:02}.png", GREY + 25 + i % 8)
    watch = ("predict", model, "--output", tmp_path / "rows.csv", "--monitor")
    for _ in range(2):
        assert "monitor: fine after 30 images" in adloc(*watch, tmp_path / "a").stderr
    moved = adloc(*watch, tmp_path / "a", tmp_path / "b").stderr
    assert "RECALIBRATE IT" in moved
    assert "score went up since about image 31" in moved
    assert "the scores alone are watched" in moved  # the made-up reference has no statistics
    assert not list(tmp_path.glob("*.monitor.json"))


def test_a_stopped_watch_goes_on(model: Path, tmp_path: Path) -> None:
    """The second begins where the first ended, says so, and ends as one that was never stopped."""
    read, kept, said = read_model(model), tmp_path / "rows.csv.monitor.json", list[str]()
    scores = np.concatenate([RNG.uniform(0.0, 0.04, 40), RNG.uniform(0.08, 0.14, 40)])
    whole = Monitoring(read, (), 0.1, Level(), said.append)
    whole.observe((score,) for score in scores)
    for part in (scores[:50], scores[50:]):
        watch = Monitoring(read, (), 0.1, Level(), said.append, kept)
        watch.observe((score,) for score in part)
        watch.end()
    assert "monitor: going on after 50 images" in said
    assert (watch.state, watch.advice) == (whole.state, whole.advice)
    for text, level, words in (
        (kept.read_text(), Level(alpha=0.001), "of another watch"),
        (kept.read_text()[:-30], Level(), "rows.csv.monitor.json"),
        ("[]", Level(), "TypeError"),
        ("[" * 100_000, Level(), "nested too deep"),
        (kept.read_text().replace("8", "9", 1), Level(), "DamagedError"),
    ):
        kept.write_text(text)
        with pytest.raises(UserError, match=words):
            Monitoring(read, (), 0.1, level, said.append, kept)
        assert kept.read_text() == text


def test_defects_of_before_a_calibration_say_nothing(model: Path, tmp_path: Path) -> None:
    """How they would score beside the new images nobody knows, and the advice says so."""
    for i in range(30):
        draw(tmp_path / "good" / f"{i}.png", GREY + i % 15, spot=GREY + i)
    adloc("model", "calibrate", model, tmp_path / "good")
    scores = np.concatenate([RNG.uniform(0.0, 0.1, 60), RNG.uniform(0.3, 0.5, 60)])
    told = adloc("model", "drift", model, rows(tmp_path / "s.csv", scores), expect=3).output
    assert "No defect's score is known beside these" in told


def test_few_references_are_said_to_see_little(tmp_path: Path) -> None:
    """Twelve normal images cannot tell a change that is there from the start."""
    few = write_model(tmp_path / "few", normal=NORMAL[:12])
    file = rows(tmp_path / "s.csv", np.array(NORMAL[:10]))
    assert "only 12 normal reference images" in adloc("model", "drift", few, file).output
    none = write_model(tmp_path / "none", normal=(), anomalous=DEFECTS)
    assert "no normal reference images" in adloc("model", "drift", none, file, expect=2).output


def test_a_watch_that_cannot_begin_leaves_earlier_rows_alone(tmp_path: Path) -> None:
    """Refused before the file of rows is opened anew."""
    model, output = write_model(tmp_path / "none", normal=(), anomalous=DEFECTS), tmp_path / "rows.csv"
    output.write_text("earlier")
    adloc("predict", model, draw(tmp_path / "a.png"), "--monitor", "--output", output, expect=2)
    assert output.read_text() == "earlier"
