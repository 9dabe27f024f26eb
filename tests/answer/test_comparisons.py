"""What rows say together: drops, repeats and the identical-shortcut matrix, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from adloc.answer.answer import Answer
from adloc.answer.comparisons import identical_shortcut, regime_drops, repeat_statistics, scope_drops
from adloc.metrics.registry import METRICS


def row(**values: Any) -> dict[str, Any]:
    """A result row with no metric but those given."""
    base = {
        "study": "s", "category": "a", "method": "patchcore", "regime": "clean", "scope": "category",
        "threshold_scope": "category", "repeat": 0, "run_id": "r", "status": "done", "params.k": 9,
        "n_train": 1, "n_val": 1, "n_test": 1,
    }  # fmt: skip
    return {**base, **dict.fromkeys(METRICS), **values}


def test_drop_is_clean_minus_shift() -> None:
    """For AUROC the clean value less the shifted one; the relative drop is their mean share of the clean value."""
    rows = [
        row(image_auroc=0.9, pixel_auroc=0.8, image_fpr=0.1),
        row(regime="no_adaptation", image_auroc=0.6, pixel_auroc=0.8, image_fpr=0.4),
    ]
    (drop,) = regime_drops(rows)
    assert drop["drop_image_auroc"] == pytest.approx(0.3)
    assert drop["drop_pixel_auroc"] == 0
    assert drop["drop_image_f1"] is None
    assert drop.keys().isdisjoint({"drop_val_image_auroc", "drop_fit_s", "drop_threshold"})  # test figures alone
    assert drop["relative_drop"] == pytest.approx((0.3 / 0.9 + 0) / 2)


def test_drop_of_an_error_rate_is_its_growth() -> None:
    """Positive is worse also where lower is better, and the rate itself stands beside it."""
    rows = [row(image_fpr=0.1, image_fnr=0.2), row(regime="no_adaptation", image_fpr=0.4, image_fnr=0.1)]
    (drop,) = regime_drops(rows)
    assert drop["drop_image_fpr"] == pytest.approx(0.3)
    assert drop["drop_image_fnr"] == pytest.approx(-0.1)
    assert drop["image_fpr"] == 0.4


@pytest.mark.parametrize("other", [{"category": "b"}, {"params.k": 3}, {"repeat": 1}, {"scope": "unified"}])
def test_drop_is_paired_with_the_same_run_only(other: dict[str, Any]) -> None:
    """A run is compared with its own clean partner, never with another category's, setting's or repeat's."""
    rows = [row(image_auroc=0.9), row(regime="no_adaptation", image_auroc=0.6, **other)]
    assert regime_drops(rows) == []


def test_failed_partner_gives_no_drop() -> None:
    """A failed run is compared with nothing."""
    rows = [row(image_auroc=0.9, status="failed"), row(regime="no_adaptation", image_auroc=0.6)]
    assert regime_drops(rows) == []


def test_unified_is_compared_with_the_categorys_own_model() -> None:
    """Both thresholdings of the unified model have the separate model as partner."""
    unified = {"scope": "unified", "image_auroc": 0.7}
    rows = [row(image_auroc=0.9), row(**unified), row(**unified, threshold_scope="global")]
    drops = scope_drops(rows)
    assert [d["threshold_scope"] for d in drops] == ["category", "global"]
    assert [d["drop_image_auroc"] for d in drops] == pytest.approx([0.2, 0.2])


def test_repeats_agree_with_scipy() -> None:
    """Mean, standard deviation and the 95 % t interval of the mean."""
    values = [0.91, 0.95, 0.88, 0.97]
    rows = [row(repeat=i, image_auroc=v) for i, v in enumerate(values)]
    (found,) = repeat_statistics(rows)
    assert found["metric"] == "image_auroc"
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["std"] == pytest.approx(np.std(values, ddof=1))
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found["ci95_low"], found["ci95_high"]) == pytest.approx((low, high))


def test_interval_stays_in_the_range_of_the_metric() -> None:
    """Two repeats near 1 give no AUROC above 1."""
    (found,) = repeat_statistics([row(repeat=i, image_auroc=v) for i, v in enumerate((0.99, 0.95))])
    assert found["ci95_high"] == 1


def test_one_repeat_has_no_interval() -> None:
    """Nothing is said of the spread of one value, nor of a metric that a repeat lacks."""
    assert repeat_statistics([row(image_auroc=0.9)]) == []
    assert repeat_statistics([row(image_auroc=0.9), row(repeat=1)]) == []


def test_shortcut_counts_normal_images_over_the_others_threshold() -> None:
    """Entry (A, B): the share of A's normal images with score >= B's threshold."""
    unified = {"scope": "unified"}
    rows = [
        row(**unified, category="a", run_id="ra", threshold=2.0),
        row(**unified, category="b", run_id="rb", threshold=5.0),
        row(**unified, category="a", run_id="rg", threshold=3.0, threshold_scope="global"),
        row(**unified, category="macro", run_id="rm"),
        row(category="a", run_id="rc", threshold=0.0),
    ]
    matrix = identical_shortcut(rows, {"ra": [1.0, 2.0, 3.0, 5.0], "rb": [4.0, 4.5]})
    flagged = {(r["images_of"], r["threshold_of"]): r["flagged"] for r in matrix}
    assert flagged == {("a", "a"): 0.75, ("a", "b"): 0.25, ("b", "a"): 1.0, ("b", "b"): 0.0}


def test_the_parent_run_shows_four_macro_figures() -> None:
    """Of images and of pixels; a category's own figures and costs stay with its run."""
    headline = {"image_auroc": 0.9, "image_f1": 0.8, "pixel_auroc": 0.7, "pixel_aupro": 0.6}
    rows = [row(category="macro", setting="", fit_s=1.0, **headline), row(setting="", image_auroc=0.1)]
    shown = Answer(rows, [], [], [], []).key_figures()
    assert shown == {f"patchcore/clean/{name}": value for name, value in headline.items()}
