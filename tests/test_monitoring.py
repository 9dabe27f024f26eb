"""`adloc predict --monitor` and `adloc model drift`: what they say, and that a stopped watch goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

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


def test_a_watch_over_images_says_what_moved_and_goes_on(model: Path, tmp_path: Path) -> None:
    """Rows beside a state: the second call knows the first's images, and a changed level begins anew."""
    for i in range(30):
        draw(tmp_path / "a" / f"{i}.png", GREY + i % 8)
        draw(tmp_path / "b" / f"{i}.png", GREY + 25 + i % 8)
    output = tmp_path / "rows.csv"
    watch = ("predict", model, "--output", output, "--monitor")
    first = adloc(*watch, tmp_path / "a").stderr
    assert "monitor: fine after 30 images" in first
    second = adloc(*watch, tmp_path / "b").stderr
    assert "going on after 30 images" in second
    assert "RECALIBRATE IT" in second
    assert "score went up since about image 31" in second
    assert "the watch begins anew" in adloc(*watch, tmp_path / "b", "--alpha", "0.001").stderr
    kept = tmp_path / "rows.csv.monitor.json"
    kept.write_text(kept.read_text()[:-30])
    assert "rows.csv.monitor.json" in adloc(*watch, tmp_path / "b", expect=2).output


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
