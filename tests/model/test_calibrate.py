"""`adloc model calibrate`: what n normal images promise, kept in simulated lines, and set whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from adloc.errors import UserError
from adloc.model.calibrate import calibrated, choose_rank, expected_rank, images_for
from adloc.model.folder import read_model, read_spec, write_spec
from adloc.thresholds import just_above_rank
from commandline import adloc
from exported import GREY, draw, score_of, write_model

N_DRAWS = 1000


@pytest.mark.parametrize(("n", "fpr"), [(299, 0.01), (1000, 0.01), (59, 0.05), (2995, 0.001)])
def test_a_confident_rate_is_kept_in_as_many_calibrations_as_promised(n: int, fpr: float) -> None:
    """Of 1,000 lines at most 5 % flag more good parts than promised, but for chance; and the bound is no loose one.

    Scores are uniform, so that the rate of a threshold is 1 minus it, exactly; any other continuous score is one of
    these through its own distribution function, which moves no rank.
    """
    rank = choose_rank(n, fpr, 0.95, "confident")
    rng = np.random.default_rng(n)
    rates = np.array([1 - just_above_rank(rng.random(n), rank.k) for _ in range(N_DRAWS)])
    broken = float((rates > fpr).mean())
    assert broken <= 0.05 + 3 * (0.05 * 0.95 / N_DRAWS) ** 0.5
    assert rank.upper <= fpr
    assert float((rates > rank.upper).mean()) == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / N_DRAWS) ** 0.5)
    assert float(rates.mean()) == pytest.approx(rank.expected, rel=0.15)


@pytest.mark.parametrize(("n", "fpr"), [(99, 0.01), (150, 0.02), (999, 0.001)])
def test_an_expected_rate_is_kept_on_the_average(n: int, fpr: float) -> None:
    """The mean over 1,000 lines is at most the rate, within four standard errors."""
    rank = choose_rank(n, fpr, 0.95, "expected")
    rng = np.random.default_rng(n)
    rates = np.array([1 - just_above_rank(rng.random(n), rank.k) for _ in range(N_DRAWS)])
    assert rates.mean() <= fpr + 4 * rates.std() / N_DRAWS**0.5
    assert rank.expected <= fpr


def test_too_few_images_promise_nothing_and_say_how_many_would() -> None:
    """One image fewer than it takes is refused, with what these can promise; that many is not."""
    for kept, least in (("confident", 299), ("expected", 99)):
        assert images_for(0.01, 0.95, kept) == least  # type: ignore[arg-type]
        assert choose_rank(least, 0.01, 0.95, kept).k == 0  # type: ignore[arg-type]
        with pytest.raises(UserError, match=f"takes {least}"):
            choose_rank(least - 1, 0.01, 0.95, kept)  # type: ignore[arg-type]
    assert expected_rank(199, 0.01) == 1


def test_without_a_rate_none_of_the_images_is_flagged() -> None:
    """The bound of the maximum: 1 - .05^(1/n)."""
    rank = choose_rank(59, None, 0.95, "confident")
    assert rank.k == 0
    assert rank.upper == pytest.approx(1 - 0.05 ** (1 / 59))
    assert rank.expected == pytest.approx(1 / 60)


def test_a_model_gets_a_threshold_of_new_normal_images(tmp_path: Path) -> None:
    """Just above the largest score; the old one is kept beside it, and the new images are the reference."""
    model = write_model(tmp_path / "model", anomalous=(0.8, 0.9))
    for i in range(20):
        draw(tmp_path / "good" / f"{i}.png", GREY + i)
    told = json.loads(adloc("model", "calibrate", model, tmp_path / "good", "--json").stdout)
    read = read_model(model)
    highest = float(np.float32(score_of(GREY + 19)))
    assert told["before"] == pytest.approx(0.1)
    assert told["threshold"] == read.spec.threshold.image == pytest.approx(highest, abs=1e-6)
    assert read.reference.normal.max() < read.spec.threshold.image
    assert read.reference.normal.size == read.spec.reference.n_normal == 20
    assert read.reference.scores[read.reference.labels].tolist() == [np.float32(0.8), np.float32(0.9)]
    assert [former.image for former in read.spec.former] == [0.1]
    assert told["upper_fpr"] == pytest.approx(1 - 0.05 ** (1 / 20))
    assert len(list(model.glob("reference-*"))) == 1
    assert read.spec.threshold.pixel == 0.1  # takes masks
    adloc("model", "check", model)
    rows = adloc("predict", model, draw(tmp_path / "above.png", GREY + 25)).stdout.splitlines()
    assert rows[1].split(",")[2] == "1"


@pytest.mark.parametrize("what", ["too few", "broken", "none"])
def test_what_cannot_be_calibrated_changes_nothing(tmp_path: Path, what: str) -> None:
    """Too few images for the rate, a broken one, no image: exit 2, and the model is as it was."""
    model = write_model(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    folder = tmp_path / "good"
    folder.mkdir()
    if what != "none":
        for i in range(5):
            draw(folder / f"{i}.png", GREY + i)
    if what == "broken":
        (folder / "5.png").write_bytes(b"no image")
    rate = ("--fpr", "0.01") if what == "too few" else ()
    told = adloc("model", "calibrate", model, folder, *rate, expect=2).output
    assert {"too few": "takes 299", "broken": "5.png", "none": "no"}[what] in told
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_images_that_the_model_was_fitted_on_promise_nothing(tmp_path: Path) -> None:
    """Found by the content of their files, whatever they are called now."""
    drawn = [draw(tmp_path / "good" / f"{i}.png", GREY + i) for i in range(5)]
    model = write_model(tmp_path / "model", hashes=[hashlib.sha256(drawn[3].read_bytes()).hexdigest()])
    drawn[3].rename(tmp_path / "good" / "new.png")
    told = adloc("model", "calibrate", model, tmp_path / "good", expect=2).output
    assert "fitted on 1 of these 5 images" in told
    assert "new.png" in told
    assert read_spec(model).former == ()


@pytest.mark.parametrize("how", ["named twice", "copied"])
def test_an_image_counts_once_in_a_promise(tmp_path: Path, how: str) -> None:
    """The promise of 20 images is that of 20, however often each is named or copied."""
    model, folder = write_model(tmp_path / "model"), tmp_path / "good"
    for i in range(20):
        draw(folder / f"{i}.png", GREY + i)
    if how == "copied":
        (folder / "copy.png").write_bytes((folder / "3.png").read_bytes())
    images = (folder, folder) if how == "named twice" else (folder,)
    told = adloc("model", "calibrate", model, *images, expect=2).output
    assert {"named twice": "20 of these 40 images", "copied": "1 of these 21 images"}[how] in told
    assert read_spec(model).former == ()


def test_an_empty_list_calibrates_nothing(tmp_path: Path) -> None:
    """Standard input without a line: a user's mistake, told as one."""
    told = adloc("model", "calibrate", write_model(tmp_path / "model"), "-", expect=2).output
    assert "standard input names no image" in told


def test_of_two_calibrations_at_once_one_is_refused(tmp_path: Path) -> None:
    """The second would take the first one's threshold for its own beginning's, and leave it out of the former ones."""
    folder = write_model(tmp_path / "model")
    scores, nothing = np.array([0.01, 0.02, 0.03], np.float32), np.zeros((3, 0))
    first, second = read_model(folder), read_model(folder)
    rank = choose_rank(3, None, 0.95, "confident")
    calibrated(first, scores, nothing, (), rank)
    with pytest.raises(UserError, match="changed while its images were scored"):
        calibrated(second, scores * 2, nothing, (), rank)
    assert read_model(folder).reference.normal.max() == np.float32(0.03)


def test_two_writers_never_leave_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has just begun takes nothing from another's, which is about to get its name."""
    folder = write_model(tmp_path / "model")
    spec, replace = read_spec(folder), Path.replace

    def meanwhile(aside: Path, to: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        write_spec(folder, spec.model_copy(update={"created": "the other's"}))
        assert aside.read_text()
        return replace(aside, to)

    monkeypatch.setattr(Path, "replace", meanwhile)
    write_spec(folder, spec.model_copy(update={"created": "this one's"}))
    assert read_spec(folder).created == "this one's"
    assert not list(folder.glob(".*"))


def test_a_crash_between_leaves_the_old_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """model.json names the file of the reference: until it is renamed, the old pair is there, whole."""
    model = write_model(tmp_path / "model")
    for i in range(5):
        draw(tmp_path / "good" / f"{i}.png", GREY + i)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adloc.model.calibrate.write_spec", cut)
    adloc("model", "calibrate", model, tmp_path / "good", expect=130)
    assert read_model(model).spec.threshold.image == 0.1
    assert read_spec(model).former == ()
