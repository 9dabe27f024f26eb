"""What a threshold means on the line, from hand-made scores; and what a study's user reads of it."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import binom

from adloc.answer.operating import abstain_band, error_rates, exact_share, mean_share, on_the_line
from adloc.study_file.operating import OperatingConfig
from commandline import call as adloc

if TYPE_CHECKING:
    from pathlib import Path

RATES = OperatingConfig(prevalence=0.01, cost_miss=50, cost_false_alarm=2, parts_per_shift=1000)
# 4 of 20 normal images at or above 16, 1 of 10 anomalous ones below it
SCORES = np.array([*range(16), *[20] * 4, *[30] * 9, 1], dtype=float)
LABELS = np.arange(30) >= 20
THRESHOLD = 16.0

STUDY = """\
study: promised
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: [48, 64]}}
regimes: [clean, no_adaptation]
{more}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none}}
heatmaps: 0
models: none
"""


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (3, 40), (12, 12)])
def test_intervals_are_clopper_and_pearsons(hits: int, n: int) -> None:
    """At each end the observed count is just in the 2.5 % tail of the binomial; at 0 and n the end is 0 and 1."""
    found = exact_share(hits, n)
    assert found.value == hits / n
    low, high = found.interval.low, found.interval.high
    assert (binom.sf(hits - 1, n, low) == pytest.approx(0.025)) if hits else low == 0
    assert (binom.cdf(hits, n, high) == pytest.approx(0.025)) if hits < n else high == 1
    assert math.isnan(exact_share(0, 0).value)


def test_errors_become_counts_at_the_lines_prevalence() -> None:
    """20 % of 990 good parts and 10 % of 10 defective ones: 198, 1, precision 9/207, cost 2 x 198 + 50."""
    found = on_the_line(SCORES, LABELS, THRESHOLD, RATES)
    assert found.false_rejects.value == pytest.approx(198)
    assert found.escapes.value == pytest.approx(1)
    assert found.precision.value == pytest.approx(9 / 207)
    assert found.cost.value == pytest.approx(2 * 198 + 50)
    assert found.false_rejects.interval.high == pytest.approx(990 * exact_share(4, 20).interval.high)
    assert found.escapes.interval.low == pytest.approx(10 * exact_share(1, 10).interval.low)


def test_a_mean_of_shares_is_no_surer_than_its_smallest_group() -> None:
    """None of 3 x 10: at most 1 - .025 ** (1 / 30); none of 10 and 40: as of 2 x 10; all: the same from above."""
    assert mean_share(0, [10, 10, 10]).low == 0
    assert mean_share(0, [10, 10, 10]).high == pytest.approx(1 - 0.025 ** (1 / 30))
    assert mean_share(0, [10, 40]).high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert mean_share(1, [10, 40]).low == pytest.approx(0.025 ** (1 / 20))
    assert mean_share(1, [10, 40]).high == 1
    pooled = exact_share(6, 30).interval  # 1, 2 and 3 of 10 each
    assert (mean_share(0.2, [10, 10, 10]).low, mean_share(0.2, [10, 10, 10]).high) == pytest.approx(
        (pooled.low, pooled.high)
    )
    assert math.isnan(mean_share(0.5, [0, 10]).high)


@pytest.mark.parametrize(
    ("counts", "shares"),
    [((20, 20, 20), (0.02, 0.02, 0.02)), ((12, 40, 60), (0.3, 0.0, 0.0)), ((20, 20, 20), (0.0, 0.0, 0.3))],
)
def test_a_mean_of_shares_is_covered_whatever_the_shares(counts: tuple[int, ...], shares: tuple[float, ...]) -> None:
    """In 2,000 draws; a bootstrap covers the first in 71 %, the second in 89 %."""
    drawn = np.random.default_rng(0).binomial(counts, shares, (2000, len(counts))) / np.array(counts)
    true = float(np.mean(shares))
    held = [(found := mean_share(float(v), counts)).low <= true <= found.high for v in drawn.mean(axis=1)]
    assert np.mean(held) >= 0.95


def test_both_errors_widen_what_is_made_of_both() -> None:
    """The worst precision and cost are at the upper ends of both 97.5 % intervals, the best at the lower ends."""
    found = on_the_line(SCORES, LABELS, THRESHOLD, RATES)
    alarm, miss = exact_share(4, 20, 0.975).interval, exact_share(1, 10, 0.975).interval
    worst = 10 * (1 - miss.high) / (10 * (1 - miss.high) + 990 * alarm.high)
    assert found.precision.interval.low == pytest.approx(worst)
    assert found.precision.value in found.precision.interval
    assert found.cost.interval.low == pytest.approx(2 * 990 * alarm.low + 500 * miss.low)
    assert found.cost.interval.high == pytest.approx(2 * 990 * alarm.high + 500 * miss.high)


def test_precision_of_nothing_flagged_is_not_defined() -> None:
    """Above every score nothing is flagged, and every defect escapes."""
    found = on_the_line(SCORES, LABELS, 99.0, RATES)
    assert math.isnan(found.precision.value)
    assert found.escapes.value == 10


def test_a_score_at_the_threshold_is_flagged() -> None:
    """An image is anomalous when score >= threshold: in both error rates."""
    found = error_rates(np.array([1.0, 2.0]), np.array([False, True]), 2.0)
    assert (found.false_alarms.value, found.misses.value) == (0, 0)
    found = error_rates(np.array([2.0, 1.9]), np.array([False, True]), 2.0)
    assert (found.false_alarms.value, found.misses.value) == (1, 1)


def test_a_band_leaves_what_lies_outside_it() -> None:
    """Between 12 and 25: 8 of 20 normals to a person, none rejected, and the one defect below 12 passes."""
    band = abstain_band(SCORES, LABELS, 12.0, 25.0, 0.01)
    assert band is not None
    assert band.looked_at == pytest.approx(0.99 * 8 / 20)
    assert (band.false_alarms.value, band.misses.value) == (0, pytest.approx(0.1))
    assert abstain_band(SCORES, LABELS, 25.0, 25.0, 0.01) is None
    edges = abstain_band(np.array([1.0, 2.0, 3.0, 2.0]), np.array([False, False, False, True]), 2.0, 3.0, 0.25)
    assert edges is not None  # 2 is looked at and 3 is rejected
    assert edges.looked_at == pytest.approx(0.75 / 3 + 0.25)
    assert (edges.false_alarms.value, edges.misses.value) == (pytest.approx(1 / 3), 0)


def study(path: Path, root: Path, more: str) -> Path:
    """A study file with further keys."""
    path.write_text(STUDY.format(root=root, more=more))
    return path


def test_a_guarantee_that_cannot_be_given_stops_before_any_work(mvtec_tree: Path, tmp_path: Path) -> None:
    """12 training images leave 2 for validation: the plan is refused with 299 and with what 2 can promise (.777)."""
    file = study(tmp_path / "s.yaml", mvtec_tree, "thresholds: {objective: guaranteed_fpr}")
    result = adloc("study", "run", file, "--workspace", tmp_path / "w")
    assert result.exit_code == 2
    assert "gear: the validation part has 2 normal images" in result.stderr
    assert "299" in result.stderr
    assert "0.777" in result.stderr  # 1 - sqrt(.05), rounded up
    assert not list((tmp_path / "w").rglob("record.json"))


def test_a_cost_needs_rates_in_the_file(mvtec_tree: Path, tmp_path: Path) -> None:
    """`objective: cost` without `operating` is a mistake of the file, at its line."""
    result = adloc("study", "validate", study(tmp_path / "s.yaml", mvtec_tree, "thresholds: {objective: cost}"))
    assert result.exit_code == 2
    assert "s.yaml:5: thresholds.objective is cost, and the study has no operating" in result.stderr


@pytest.mark.parametrize("verb", [("study", "plan"), ("data", "check")])
def test_a_rate_that_so_few_images_cannot_hold_is_said(verb: tuple[str, str], mvtec_tree: Path, tmp_path: Path) -> None:
    """2 normal images at 1 %: 1/3 expected, 1 - sqrt(.05) = 78 % at 95 %; on stderr."""
    file = study(tmp_path / "s.yaml", mvtec_tree, "thresholds: {objective: normal_quantile}")
    warned = "gear: 2 normal validation images cannot promise 1 %: expected at most 33 %, up to 78 % at 95 %"
    assert warned in adloc(*verb, file, "--workspace", tmp_path / "w").stderr
    file = study(tmp_path / "s.yaml", mvtec_tree, "thresholds: {objective: normal_quantile, fpr: 0.4}")
    assert "cannot promise" not in adloc(*verb, file, "--workspace", tmp_path / "w").stderr


@pytest.mark.slow
def test_a_study_promises_shows_and_counts(mvtec_tree: Path, tmp_path: Path) -> None:
    """One run of the command line: columns, metrics, sentences and the section, at the same figures."""
    more = (
        "thresholds: {objective: normal_max}\n"
        "operating: {prevalence: 0.002, cost_miss: 50, cost_false_alarm: 1, parts_per_shift: 5000}"
    )
    file = study(tmp_path / "s.yaml", mvtec_tree, more)
    shown = adloc("study", "run", file, "--workspace", tmp_path / "w")
    assert shown.exit_code == 0, shown.output
    folder = tmp_path / "w" / "studies" / "promised"
    records = [json.loads(path.read_text()) for path in folder.glob("records/*/record.json")]
    metrics = {record["regime"]: record["metrics"] for record in records}
    assert metrics["clean"]["expected_fpr"] == pytest.approx(1 / 3)
    assert metrics["clean"]["upper_fpr"] == pytest.approx(1 - math.sqrt(0.05))
    assert metrics["no_adaptation"]["expected_fpr"] is metrics["no_adaptation"]["upper_fpr"] is None
    assert (
        "gear patchcore clean: of 10,000 good parts at most 3,333 false alarms expected, up to 7,764 (95 %), from "
        "2 normal validation images; seen on the test part " in shown.stdout
    )
    assert "  no adaptation: nothing is promised" in shown.stdout
    page = (folder / "report.html").read_text()
    assert '<section id="operating">' in page
    assert "At your rates" in page
    counted = list(csv.DictReader((folder / "tables" / "report_error_counts.csv").open()))
    assert float(counted[0]["false alarms expected, at most"]) == pytest.approx(10_000 / 3)
    assert counted[1]["false alarms expected, at most"] == ""
    line = list(csv.DictReader((folder / "tables" / "report_operating.csv").open()))
    assert float(line[0]["false rejects a shift"]) == pytest.approx(4990 * metrics["clean"]["image_fpr"])
    assert float(line[0]["escapes a shift"]) == pytest.approx(10 * metrics["clean"]["image_fnr"])
