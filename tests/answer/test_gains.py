"""What tuning gained, row by row: against the untuned twin, on both parts, and never across regimes or methods."""

from __future__ import annotations

from typing import Any

import pytest

from adloc.answer.gains import masked, tuning_gains
from adloc.metrics.registry import METRICS

COLUMNS = {"patchcore": {"params.k"}}


def row(setting: str, **values: Any) -> dict[str, Any]:
    """A row with no metric but those given."""
    base = {
        "study": "s", "category": "a", "method": "patchcore", "regime": "clean", "scope": "category",
        "threshold_scope": "category", "repeat": 0, "run_id": setting, "status": "done", "setting": setting,
        "params.k": 9 if setting == "default" else 3, "params.b": 1, "n_train": 1, "n_val": 1, "n_test": 1,
    }  # fmt: skip
    return {**base, **dict.fromkeys(METRICS), **values}


def test_a_gain_is_positive_where_tuning_made_it_better() -> None:
    """AUROC .8 to .9 is +.1; on the test part .7 to .65 is -.05; a model of 5 MB in place of 8 is 3 better."""
    rows = [
        row("default", val_image_auroc=0.8, image_auroc=0.7, model_mb=8.0),
        row("tuned_3", val_image_auroc=0.9, image_auroc=0.65, model_mb=5.0),
    ]
    (found,) = tuning_gains(rows, COLUMNS, ["val_image_auroc", "model_mb"])
    assert (found["untuned_val_image_auroc"], found["tuned_val_image_auroc"]) == (0.8, 0.9)
    assert found["gain_val_image_auroc"] == pytest.approx(0.1)
    assert found["gain_image_auroc"] == pytest.approx(-0.05)
    assert found["gain_model_mb"] == 3
    assert found["gain_image_f1"] is None
    assert (found["setting"], found["params.k"]) == ("tuned_3", 3)


@pytest.mark.parametrize("changed", [{"category": "b"}, {"regime": "no_adaptation"}, {"repeat": 1}, {"params.b": 2},
                                     {"method": "padim"}, {"status": "failed"}])  # fmt: skip
def test_a_gain_is_against_the_same_run_alone(changed: dict[str, Any]) -> None:
    """Another category, regime, repeat, fixed parameter or method is no twin, and a failed run none at all."""
    assert tuning_gains([row("default"), row("tuned", **changed)], COLUMNS, ["val_image_auroc"]) == []
    assert tuning_gains([row("default", **changed), row("tuned")], COLUMNS, ["val_image_auroc"]) == []


def test_a_gain_names_its_condition_and_no_other_column() -> None:
    """Who, axes and parameters of the tuned row, then three figures a metric; what was sought comes first."""
    rows = [row(name, severity=1.0, val_image_auroc=0.8) for name in ("default", "tuned")]
    (found,) = tuning_gains(rows, COLUMNS, ["val_image_auroc"])
    named = [name for name in found if not name.startswith(("untuned_", "tuned_", "gain_"))]
    assert named == [
        "category", "method", "regime", "scope", "threshold_scope", "repeat", "setting", "params.k", "params.b",
        "severity",
    ]  # fmt: skip
    gains = [name for name in found if name.startswith("gain_")]
    assert gains[:2] == ["gain_val_image_auroc", "gain_image_auroc"]
    assert len(gains) == len(set(gains))


@pytest.mark.parametrize(("regime", "told"), [("clean", True), ("no_adaptation", True), ("threshold_only", False)])
def test_validation_figures_are_of_the_part_that_was_tuned_on(regime: str, told: bool) -> None:
    """A threshold from shifted images was calibrated on others; the test part is told all the same."""
    figures = {"regime": regime, "val_image_auroc": 0.9, "image_auroc": 0.8}
    (found,) = tuning_gains([row("default", **figures), row("tuned", **figures)], COLUMNS, ["val_image_auroc"])
    assert (found["gain_val_image_auroc"] is not None) == told
    assert found["gain_image_auroc"] == 0


def test_what_was_tuned_matches_whatever_was_chosen() -> None:
    """Of tuned rows alone, and of searched columns alone."""
    default, tuned = masked([row("default"), row("tuned")], COLUMNS)
    assert (default["params.k"], tuned["params.k"], tuned["params.b"]) == (9, "tuned", 1)
