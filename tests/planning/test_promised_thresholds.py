"""Thresholds that keep a false-alarm rate or cost the least: chosen, refused, and in no older key."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adloc.answer.promises import promise_lines, promised, small_part_warnings
from adloc.errors import UserError
from adloc.keys import content_key
from adloc.planning.stage_maker import StageMaker
from adloc.planning.stages import THRESHOLD_VERSION, ThresholdStage
from adloc.study_file.operating import OperatingConfig
from adloc.study_file.spec import StudySpec
from adloc.thresholds import ThresholdConfig, calibrate, promise_of
from handmade import finding, images, material, setting

if TYPE_CHECKING:
    from adloc.answer.finding import Finding, Setting

RATES = OperatingConfig(prevalence=0.01, cost_miss=50, cost_false_alarm=1)
COST = ThresholdConfig(objective="cost")


@pytest.mark.parametrize(("n", "n_flagged"), [(59, 0), (92, 0), (93, 1), (124, 2)])
def test_a_guarantee_flags_as_many_as_it_may(n: int, n_flagged: int) -> None:
    """For 5 % at 95 %, Wilks' sample sizes: 59 images allow none to be flagged, 93 one, 124 two."""
    scores = np.arange(n, dtype=np.float32)
    threshold = calibrate(scores, np.zeros(n, bool), ThresholdConfig(objective="guaranteed_fpr", fpr=0.05))
    assert (scores >= threshold).sum() == n_flagged


def test_too_few_normals_are_refused_with_what_they_can_promise() -> None:
    """12 images cannot give 1 % at 95 %: the error names 299, and a rate that then is accepted (22.1 %)."""
    scores, labels = np.arange(12.0), np.zeros(12, bool)
    with pytest.raises(UserError, match=r"12 normal images[\s\S]*takes 299[\s\S]*fpr: 0\.221") as found:
        calibrate(scores, labels, ThresholdConfig(objective="guaranteed_fpr"))
    named = float(str(found.value).rpartition("fpr: ")[2].partition(",")[0])
    assert calibrate(scores, labels, ThresholdConfig(objective="guaranteed_fpr", fpr=named)) > 11


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.booleans()), max_size=25),
    st.floats(0.001, 0.5),
    st.integers(0, 100),
)
def test_no_threshold_costs_less(part: list[tuple[int, bool]], prevalence: float, cost_miss: int) -> None:
    """No score and nothing between or above scores has a smaller expected cost a part."""
    part = [*part, (0, True), (1, False)]
    scores = np.array([float(s) for s, _ in part])
    labels = np.array([a for _, a in part])
    rates = OperatingConfig(prevalence=prevalence, cost_miss=cost_miss)

    def cost(threshold: float) -> float:
        flagged = scores >= threshold
        return prevalence * cost_miss * (~flagged[labels]).mean() + (1 - prevalence) * flagged[~labels].mean()

    candidates = [-math.inf, math.inf, *scores, *(scores + 0.5)]
    assert cost(calibrate(scores, labels, COST, rates)) == pytest.approx(min(map(cost, candidates)), abs=1e-9)


def test_rare_defects_move_the_threshold_up() -> None:
    """One miss in two costs .01 x 50 x .5 = .25 a part, one false alarm in four .99 x .25 = .2475; rarer, it turns."""
    scores, labels = np.array([1.0, 2.0, 3.0, 6.0, 5.0, 7.0]), np.array([0, 0, 0, 0, 1, 1])
    assert calibrate(scores, labels, COST, RATES) == 5.0
    rarer = RATES.model_copy(update={"prevalence": 0.009})
    assert calibrate(scores, labels, COST, rarer) == 7.0


def test_a_cost_without_rates_or_defects_is_refused() -> None:
    """Nothing is assumed of the line, and misses cannot be weighed without anomalous images."""
    with pytest.raises(ValueError, match="operating"):
        calibrate(np.arange(2.0), np.array([0, 1]), COST)
    with pytest.raises(UserError, match="no anomalous one"):
        calibrate(np.arange(2.0), np.array([0, 0]), COST, RATES)


def test_a_confidence_that_nothing_reads_is_refused() -> None:
    """`confidence` beside another objective is a mistake, not a silent no-op; so is one outside (0, 1)."""
    with pytest.raises(ValidationError, match="does not read confidence"):
        ThresholdConfig.model_validate({"objective": "normal_quantile", "confidence": 0.9})
    with pytest.raises(ValidationError):
        ThresholdConfig.model_validate({"objective": "guaranteed_fpr", "confidence": 1})
    read = ThresholdConfig.model_validate({"objective": "guaranteed_fpr", "fpr": 0.1, "confidence": 0.9})
    assert ThresholdConfig.model_validate(read.model_dump()) == read


def test_a_rank_found_in_the_scores_promises_less() -> None:
    """12 images, none flagged: fixed beforehand 1/13 and 22 %; found by F1 or cost, both bounds are wider."""
    fixed = promise_of(12, 0, ThresholdConfig(objective="normal_max"))
    assert (fixed.expected, fixed.upper) == pytest.approx((1 / 13, 1 - 0.05 ** (1 / 12)))
    for config in (ThresholdConfig(), COST):
        found = promise_of(12, 0, config)
        assert found.chosen
        assert found.expected > fixed.expected
        assert found.upper > fixed.upper


def test_a_quantile_promises_by_its_rate_and_not_by_ties() -> None:
    """`normal_quantile` may flag 1 of 12 at 10 %: (1 + 1) / 13 expected, though ties flag none."""
    assert promise_of(12, 0, ThresholdConfig(objective="normal_quantile", fpr=0.1)).expected == pytest.approx(2 / 13)


def test_keys_of_earlier_objectives_are_as_they_were() -> None:
    """A threshold's key holds objective and rate alone; a search's settings hold no confidence."""
    for config in (ThresholdConfig(), ThresholdConfig(objective="normal_quantile", fpr=0.2)):
        before = content_key(["threshold", THRESHOLD_VERSION, {"objective": config.objective, "fpr": config.fpr}, []])
        assert ThresholdStage((), (), config).key == ThresholdStage((), (), config, RATES).key == before
    methods = [{"method": "padim"}]
    spec = {"study": "s", "dataset": {"kind": "textures"}, "methods": methods, "operating": RATES.model_dump()}
    kept = StageMaker(StudySpec.model_validate(spec), {}).settings()
    assert kept["thresholds"] == {"objective": "f1", "scope": "category", "fpr": 0.01}
    assert "operating" not in kept


def test_keys_follow_what_the_new_objectives_read() -> None:
    """Another confidence or prevalence is another threshold; another length of a shift is not."""
    one, other = (ThresholdConfig(objective="guaranteed_fpr", confidence=c) for c in (0.9, 0.95))
    assert ThresholdStage((), (), one).key != ThresholdStage((), (), other).key
    key = ThresholdStage((), (), COST, RATES).key
    assert key != ThresholdStage((), (), COST, RATES.model_copy(update={"prevalence": 0.1})).key
    assert key == ThresholdStage((), (), COST, RATES.model_copy(update={"parts_per_shift": 5})).key


@pytest.mark.parametrize(
    ("changed", "holds"),
    [
        ({}, True),
        ({"regime": "threshold_only"}, True),
        ({"regime": "no_adaptation"}, False),
        ({"threshold": None}, False),
        ({"threshold_scope": "global"}, False),
    ],
)
def test_a_record_of_an_earlier_version_gets_its_promise(changed: dict[str, str | None], holds: bool) -> None:
    """From its images, 12 normals and none flagged: 1/13; not across domains, nor where others were pooled."""
    validation = images([*range(12), 30], [0] * 12 + [1])
    found = finding(setting("x"), images([1], [0]), validation, **{"threshold": 20.0} | changed)
    made = promised(found, ThresholdConfig(objective="normal_max"))
    assert (made is not None) == holds
    if made is not None:
        assert (made.n_normal, made.expected) == (12, pytest.approx(1 / 13))


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("f1", "f1"),
        ("normal_max", "normal_max"),
        ("normal_quantile", "normal_quantile 0.05"),
        ("guaranteed_fpr", "guaranteed_fpr 0.05 at 0.9 confidence"),
    ],
)
def test_an_objective_is_told_with_what_it_reads(objective: str, words: str) -> None:
    """A rate without its confidence says little; what is not read is not told."""
    read = {"normal_quantile": {"fpr": 0.05}, "guaranteed_fpr": {"fpr": 0.05, "confidence": 0.9}}
    assert ThresholdConfig.model_validate({"objective": objective} | read.get(objective, {})).words == words


def promise_made(of: Setting, category: str, expected: float, upper: float, **more: Any) -> Finding:
    """A threshold for all categories, whose record keeps the promise; it flags 1 of 4 normal test images."""
    values = {"threshold": 4.0, "metrics": {"expected_fpr": expected, "upper_fpr": upper}}
    return finding(of, images([1, 2, 3, 4, 9], [0, 0, 0, 0, 1]), images([1], [0]), category=category, **values | more)


def test_a_setting_is_told_by_its_weakest_promise() -> None:
    """Bounds .2, .4 and .3 of three categories: the second, and 2,000 to 3,000 of 10,000 parts for the others."""
    one = setting("one", threshold_scope="global", scope="unified")
    runs = [promise_made(one, c, e, u) for c, e, u in (("a", 0.1, 0.2), ("b", 0.05, 0.4), ("c", 0.2, 0.3))]
    (line,) = promise_lines(material(runs))
    assert line == (
        "b one clean: of 10,000 good parts at most 500 false alarms expected, up to 4,000 (95 %), from all categories' "
        "normal validation images; seen on the test part 1 of 4; up to 2,000 to 3,000 at the other 2 thresholds "
        "of this setting"
    )


def test_what_a_change_of_domain_takes_is_told_once() -> None:
    """Two settings under no adaptation: one line with what each flags, of all its categories together."""
    pair = [setting(name, i, threshold_scope="global") for i, name in enumerate(("one", "other"))]
    runs = [promise_made(s, c, 0.1, 0.2, regime="no_adaptation") for s in pair for c in "ab"]
    (line,) = promise_lines(material(runs))
    assert line.startswith("no adaptation: nothing is promised")
    assert line.endswith("; seen on the test part: one 2 of 8, other 2 of 8")


def test_one_other_threshold_is_the_other_and_equal_bounds_are_one() -> None:
    """Two categories: the other; three with equal bounds: one number; of its own 2 normals where not pooled."""
    one = setting("one", threshold_scope="global", scope="unified")
    pair = [promise_made(one, c, 0.1, u) for c, u in (("a", 0.2), ("b", 0.4))]
    (line,) = promise_lines(material(pair))
    assert line.endswith("seen on the test part 1 of 4; up to 2,000 at the other threshold of this setting")
    three = [promise_made(one, c, 0.1, u) for c, u in (("a", 0.2), ("b", 0.4), ("c", 0.2))]
    assert promise_lines(material(three))[0].endswith("; up to 2,000 at the other 2 thresholds of this setting")
    own = finding(setting("own"), images([1, 5, 9], [0, 0, 1]), images([1, 2, 9], [0, 0, 1]), threshold=4.0)
    (line,) = promise_lines(material([own], thresholds=ThresholdConfig(objective="normal_max")))
    assert line == (  # none of 2: 1 / 3 expected, 1 - sqrt(.05) at most
        "brick own clean: of 10,000 good parts at most 3,333 false alarms expected, up to 7,764 (95 %), from 2 normal "
        "validation images; seen on the test part 1 of 2"
    )


def test_a_part_too_small_for_its_rate_is_warned_of_once_a_size() -> None:
    """1 % takes 99 images to be expected: 12 promise 1/13 = 7.7 % and 22 %, a single one 50 % and 95 %."""

    def planned(category: str, normal: int) -> Any:
        samples = [SimpleNamespace(label=label) for label in [0] * normal + [1] * 3]
        return SimpleNamespace(threshold=SimpleNamespace(parts=[SimpleNamespace(category=category, samples=samples)]))

    runs = [planned("a", 12), planned("b", 12), planned("a", 12), planned("c", 1), planned("d", 99), planned("e", 0),
            SimpleNamespace(threshold=None)]  # fmt: skip

    def warned(**values: Any) -> list[str]:
        return small_part_warnings(
            SimpleNamespace(runs=runs, spec=SimpleNamespace(thresholds=ThresholdConfig(**values)))  # type: ignore[arg-type]
        )

    assert warned(objective="normal_quantile", fpr=0.01) == [
        "a, b: 12 normal validation images cannot promise 1 %: expected at most 7.7 %, up to 22 % at 95 %",
        "c: 1 normal validation image cannot promise 1 %: expected at most 50 %, up to 95 % at 95 %",
    ]
    assert [line[:4] for line in warned(objective="normal_quantile", fpr=0.2)] == ["c: 1"]
    assert warned(objective="f1") == []
