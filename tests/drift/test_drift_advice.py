"""What the drift watch advises, where the answer can be worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from adloc.drift.advice import Known, advise, look_ahead
from adloc.drift.monitor import Alarm
from adloc.errors import UserError

ALARM = Alarm(image=40, statistic="score", direction="up", since=11)
NORMAL = np.arange(1.0, 101)  # 1 to 100
# Two in a hundred normal images are flagged, and every defect is found.
KNOWN = Known(NORMAL, np.arange(201.0, 221), 99.0)


def test_without_an_alarm_all_is_fine() -> None:
    """Whatever the scores: the watch has looked at them already."""
    advice = advise(None, np.array([1e9]), KNOWN)
    assert (advice.verdict, advice.outlook) == ("fine", None)


def test_scores_that_stayed_are_fine() -> None:
    """Brightness changed, the scores did not: the threshold holds, and the reasons send one to look at the light."""
    advice = advise(replace(ALARM, statistic="brightness"), NORMAL, KNOWN)
    assert advice.verdict == "fine"
    assert "brightness went up since about image 11" in advice.reasons[0]
    assert any("look at light" in reason for reason in advice.reasons)


def test_a_small_move_asks_for_a_new_threshold() -> None:
    """Scores 50 higher flag half of the images, and are still all below the defects: no separation is lost."""
    advice = advise(ALARM, NORMAL + 50, KNOWN)
    assert advice.verdict == "recalibrate"
    outlook = advice.outlook
    assert outlook is not None
    assert (outlook.flagged_before, outlook.flagged_now) == (0.02, 0.52)
    assert np.mean(outlook.threshold <= NORMAL + 50) == 0.02
    assert (outlook.found_before, outlook.found_if_stay, outlook.found_if_move) == (1, 1, 1)
    assert outlook.loss == pytest.approx(0)


def test_scores_that_fell_ask_for_a_new_threshold() -> None:
    """No image is flagged any more, which is no good news: a defect would not be either."""
    advice = advise(replace(ALARM, direction="down"), NORMAL - 60, KNOWN)
    assert advice.verdict == "recalibrate"


def test_scores_in_the_midst_of_the_defects_ask_for_a_new_fit() -> None:
    """Normal images that score as defects did: between none and all of the defects would be found."""
    recent = np.arange(161.0, 261)  # the median moved by 160
    advice = advise(ALARM, recent, KNOWN)
    assert advice.verdict == "refit"
    outlook = advice.outlook
    assert outlook is not None
    assert outlook.auroc_before == 1
    assert outlook.auroc_if_stay == pytest.approx(0.5)
    assert outlook.auroc_if_move == 1
    assert (outlook.found_if_stay, outlook.found_if_move) == (0, 1)
    assert any("between 0% (if the scores of defects stay) and 100%" in reason for reason in advice.reasons)


def test_the_loss_is_that_of_the_larger_of_defect_and_background() -> None:
    """Counted over all triples of a defect, its background and another image."""
    rng = np.random.default_rng(0)
    recent, known = rng.normal(1, 1.5, 15), Known(rng.normal(size=20), rng.normal(2, 1, 12), 1.0)

    def separation(normal: np.ndarray) -> float:
        wins = [
            (max(defect, background) > other) + 0.5 * (defect < other == background)
            for defect in known.anomalous for background in normal for other in normal
        ]  # fmt: skip
        return float(np.mean(wins))

    loss = look_ahead(recent, known).loss
    assert loss == pytest.approx(separation(known.normal) - separation(recent), abs=1e-12)


@pytest.mark.parametrize(("full", "verdict"), [(0.9, "refit"), (0.71, "recalibrate")])
def test_the_study_knows_what_a_new_fit_is_worth(full: float, verdict: str) -> None:
    """Separation is lost; where a new fit did not bring it back under the study's shift, none is advised."""
    regimes = {"clean": 0.95, "no_adaptation": 0.5, "threshold_only": 0.7, "full_adaptation": full}
    advice = advise(ALARM, np.arange(161.0, 261), replace(KNOWN, regimes=regimes))
    assert advice.verdict == verdict
    assert any("was worth +0.200 of F1" in reason for reason in advice.reasons)


def test_without_defects_no_new_fit_is_advised() -> None:
    """Nobody can say what is lost, and the reasons say so."""
    advice = advise(ALARM, NORMAL + 500, replace(KNOWN, anomalous=np.array([])))
    assert advice.verdict == "recalibrate"
    assert any("No defect's score is known" in reason for reason in advice.reasons)


def test_an_early_advice_says_that_it_is_early() -> None:
    """Seven images are few."""
    assert "Only 7 images" in advise(ALARM, NORMAL[:7], KNOWN).reasons[-1]
    assert "Only" not in advise(ALARM, NORMAL, KNOWN).reasons[-1]


@pytest.mark.parametrize("recent", [np.array([]), np.array([1.0, math.nan])])
def test_no_scores_no_advice(recent: np.ndarray) -> None:
    """Said, with the remedy."""
    with pytest.raises(UserError, match="since the change"):
        advise(ALARM, recent, KNOWN)
