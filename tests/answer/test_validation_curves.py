"""How many validation images a threshold takes: draws of recorded scores against what is known about them."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adloc.answer.finding import Images
from adloc.answer.validation_curves import Draws, enough, validation_curve
from adloc.study_file.axes import LearningCurve
from adloc.thresholds import ThresholdConfig


def images(normals: np.ndarray, defects: np.ndarray) -> Images:
    """A part with these scores."""
    labels = np.arange(len(normals) + len(defects)) >= len(normals)
    names = tuple(f"c/{i}" for i in range(len(labels)))
    return Images(names, tuple("cut" if label else "good" for label in labels), labels, np.r_[normals, defects])


def material_of(parts: list[tuple[Images, Images]], objective: str, **curve: Any) -> Any:
    """One setting, a category a pair of parts (validation, test)."""
    row = {
        str(i): SimpleNamespace(images={"validation": v, "test": t}, test=t, record=SimpleNamespace(threshold=1.0))
        for i, (v, t) in enumerate(parts)
    }
    spec = SimpleNamespace(
        seed=3, learning_curve=LearningCurve(**curve), operating=None,
        thresholds=ThresholdConfig.model_validate({"objective": objective}),
    )  # fmt: skip
    return SimpleNamespace(plan=SimpleNamespace(spec=spec), row=lambda *_: row, first_regime=lambda _: "clean")


SETTING: Any = SimpleNamespace(threshold_scope="category")
EVEN = (np.arange(400) + 0.5) / 400


def test_the_highest_of_n_normals_raises_one_false_alarm_in_n_plus_one() -> None:
    """Theory: the next image of the same kind exceeds all of n with probability 1 / (n + 1)."""
    part = images(EVEN, np.array([2.0]))
    points = validation_curve(material_of([(part, part)], "normal_max"), SETTING, "normals")
    found = {p.n: p.false_alarms.mean() for p in points}
    assert list(found) == [2, 4, 8, 16, 32, 64, 128, "all"]
    for n in (2, 4, 8, 16, 32):
        error = 4 * np.sqrt(n / ((n + 1) ** 2 * (n + 2)) / 100)  # four standard errors of a Beta(1, n) in 100 draws
        assert found[n] == pytest.approx(1 / (n + 1), abs=error)
    assert found["all"] == 0
    assert all(p.misses.max() == 0 for p in points)


def test_draws_are_nested() -> None:
    """More normals in the same draw can only raise the maximum, so no draw's false alarms rise."""
    part = images(EVEN, np.array([2.0]))
    points = validation_curve(material_of([(part, part)], "normal_max"), SETTING, "normals")
    for fewer, more in pairwise(points[:-1]):
        assert (more.false_alarms <= fewer.false_alarms).all()
    assert len(np.unique(points[0].false_alarms)) > 20  # and the draws differ


def test_the_other_class_is_kept_whole() -> None:
    """With one defect drawn of three, F1's threshold lies at it or below: all normals still weigh against it."""
    validation = images(np.array([0.0, 0.1, 0.2]), np.array([0.5, 0.6, 0.7]))
    test = images(np.array([0.0]), np.array([0.55, 0.65, 0.75]))
    first, last = validation_curve(
        material_of([(validation, test)], "f1", validation_defects=[1, "all"]), SETTING, "defects"
    )
    assert set(np.round(first.misses, 6)) == {0.0, round(1 / 3, 6), round(2 / 3, 6)}  # threshold .5, .6 or .7
    assert set(first.false_alarms) == {0.0}
    assert last.misses.tolist() == [0.0]
    assert last.f1.tolist() == [1.0]


def test_rates_are_means_over_categories() -> None:
    """A perfect category and one whose defects all pass: half the defects are missed."""
    good = images(np.array([0.0, 0.1]), np.array([0.5, 0.6]))
    blind = images(np.array([0.0, 0.1]), np.array([-1.0, -1.0]))
    (only,) = validation_curve(
        material_of([(good, good), (good, blind)], "normal_max", validation_normals=["all"]), SETTING, "normals"
    )
    assert (only.misses.tolist(), only.n_images) == ([0.5], 2)


@pytest.mark.parametrize("change", [{"threshold_scope": "global"}])
def test_a_common_threshold_has_no_such_curve(change: dict[str, str]) -> None:
    """Its validation part is that of all categories together."""
    part = images(EVEN, np.array([2.0]))
    assert validation_curve(material_of([(part, part)], "normal_max"), SimpleNamespace(**change), "normals") == []  # type: ignore[arg-type]


def test_defects_have_no_curve_where_no_threshold_depends_on_them() -> None:
    """That from normal images alone is the same whatever defects there are."""
    part = images(EVEN, np.array([2.0, 3.0, 4.0]))
    assert validation_curve(material_of([(part, part)], "normal_max"), SETTING, "defects") == []
    assert len(validation_curve(material_of([(part, part)], "f1"), SETTING, "defects")) > 1


def test_too_few_for_the_guarantee_is_left_out() -> None:
    """A rate of .1 at 95 % takes 29 normal images (.9 ** 29 < .05 < .9 ** 28): 32 and more are there."""
    part = images(EVEN, np.array([2.0]))
    material = material_of([(part, part)], "guaranteed_fpr")
    material.plan.spec.thresholds = ThresholdConfig(objective="guaranteed_fpr", fpr=0.1)
    assert [p.n for p in validation_curve(material, SETTING, "normals")] == [32, 64, 128, "all"]


def point(n: int, f1: float) -> Draws:
    """With this mean F1."""
    none = np.zeros(2)
    return Draws(n, n, none, none, np.array([f1 - 0.1, f1 + 0.1]))


def test_enough_is_the_fewest_that_nothing_beats_by_the_margin() -> None:
    """Of .7, .895, .9, .9 with a margin of .01 the second; a curve that still climbs ends at its last."""
    found = enough([point(1, 0.7), point(2, 0.895), point(4, 0.9), point(8, 0.9)], 0.01)
    assert found is not None
    assert found.n == 2
    climbing = enough([point(1, 0.7), point(2, 0.8)], 0.01)
    assert climbing is not None
    assert climbing.n == 2
    assert enough([point(1, np.nan), point(2, np.nan)], 0.01) is None
