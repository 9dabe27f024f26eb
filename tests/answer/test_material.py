"""What a report is made of: averages, intervals, order and choice, from a few runs made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adloc.answer.labels import labels_of
from adloc.uncertainty.pixel_bootstrap import PixelCounts
from handmade import finding, images, material, record, setting

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.answer.finding import Finding, Images, Setting

PARTED = images([1, 2, 3, 7, 8, 9], [0, 0, 0, 1, 1, 1])
MIXED = images([1, 5, 3, 4, 2, 6], [0, 0, 0, 1, 1, 1])
REGIMES = ("clean", "no_adaptation", "threshold_only", "full_adaptation")
ONE = setting("one")


def run(of: Setting, test: Images = PARTED, validated: float | None = None, **values: Any) -> Finding:
    """A run with these metrics: a keyword that is no field of a record is one."""
    fields = {k: values.pop(k) for k in ("regime", "category", "repeat", "threshold") if k in values}
    known = {} if validated is None else {"val_image_auroc": validated}
    return finding(of, test, metrics=known | values, **fields)


def test_regimes_stand_in_the_order_of_the_protocol() -> None:
    """However the records come: clean, no adaptation, threshold only, full adaptation."""
    found = material([run(ONE, regime=r) for r in ("full_adaptation", "threshold_only", "clean", "no_adaptation")])
    assert found.regimes == REGIMES
    assert [regime for _, regime in found.lines(found.settings)] == list(REGIMES)
    assert found.first_regime(ONE) == "clean"
    assert material([run(ONE, regime="threshold_only")]).regimes == ("threshold_only",)


def test_the_first_regime_has_every_category() -> None:
    """Clean is done for one of two categories alone: what a setting is judged by is of the next regime."""
    runs = [run(ONE, category="a"), *(run(ONE, category=c, regime="no_adaptation") for c in "ab")]
    assert material(runs).first_regime(ONE) == "no_adaptation"
    assert material(runs).row(ONE, "clean") == {}


def test_a_regime_is_shown_from_its_first_category_on() -> None:
    """Figures of a category that is done are not held back by one that is not; a regime without any is no line."""
    runs = [run(ONE, category="a"), *(run(setting("other", 1), category=c) for c in "ab")]
    assert [(s.key, r) for s, r in material(runs).lines([ONE])] == [("one", "clean")]
    assert material(runs).values(ONE, "clean", "image_auroc", "b") == []


def test_a_label_tells_what_differs_among_a_methods_own_settings() -> None:
    """A parameter that only another method varies is not told; a tuned setting is told by its name alone."""

    def called(*models: tuple[str, float, dict[str, str]]) -> list[str]:
        records = [record(method=method, params={"k": k, "b": 1}, **who) for method, k, who in models]
        return [label for _, label in labels_of(records)]

    assert called(("m", 0.5, {}), ("m", 0.25, {}), ("n", 0.5, {})) == ["m, k 0.5", "m, k 0.25", "n"]
    tuned = ("m", 0.5, {"setting": "default"}), ("m", 0.25, {"setting": "tuned"})
    assert called(*tuned) == ["m, default", "m, tuned"]
    assert called(*tuned, ("n", 0.5, {})) == ["m, default", "m, tuned", "n"]
    unified = {"scope": "unified"}
    shared = unified | {"threshold_scope": "global"}
    labels = ["m", "m, unified, category threshold", "m, unified, global threshold"]
    assert called(("m", 0.5, {}), ("m", 0.5, unified), ("m", 0.5, shared)) == labels


def test_runs_of_one_model_have_one_label() -> None:
    """Whatever their category, regime and repeat; what was tuned for each category has other parameters in each."""
    records = [
        record(setting="tuned", params={"k": k}, category=c, regime=r, repeat=n)
        for (c, k), r, n in product((("a", 0.5), ("b", 0.25)), ("clean", "no_adaptation"), (0, 1))
    ]
    plain = [record(setting="default", params={"k": 1.0}, category=c) for c in "ab"]
    labels = [label for _, label in labels_of([*records, *plain])]
    assert labels == ["patchcore, tuned"] * 8 + ["patchcore, default"] * 2
    assert len({key for key, _ in labels_of(records)}) == 2
    assert labels_of([]) == []


def test_an_average_is_of_categories_and_repeats() -> None:
    """(.6 + .8) / 2 and (.7 + .9) / 2 of two repeats: .75; models of both categories add up; nan where one lacks it."""
    figures = {("a", 0): 0.6, ("b", 0): 0.8, ("a", 1): 0.7, ("b", 1): 0.9}
    runs = [run(ONE, category=c, repeat=r, image_auroc=v, model_mb=2.0) for (c, r), v in figures.items()]
    found = material(runs, repeats=2)
    assert found.values(ONE, "clean", "image_auroc") == pytest.approx([0.7, 0.8])
    assert found.macro(ONE, "clean", "image_auroc") == pytest.approx(0.75)
    assert found.value(ONE, "clean", "image_auroc", "b") == pytest.approx(0.85)
    assert found.macro(ONE, "clean", "model_mb") == 4
    assert math.isnan(found.macro(ONE, "clean", "image_f1"))
    assert math.isnan(found.macro(ONE, "no_adaptation", "image_auroc"))


def test_an_interval_is_of_its_own_category() -> None:
    """Of a category whose classes part it has no width at 1; of one whose do not it has; their average lies between."""
    found = material(
        [run(ONE, test, category=c, image_auroc=v) for c, test, v in (("a", PARTED, 1), ("b", MIXED, 5 / 9))]
    )
    parted, mixed = (found.interval(ONE, "clean", "image_auroc", c) for c in "ab")
    both = found.interval(ONE, "clean", "image_auroc")
    assert (parted.low, parted.high) == (1, 1)
    assert mixed.low < 5 / 9 < mixed.high
    assert mixed.low < both.low < both.high <= 1
    drawn = found.macro_replicates(ONE, "clean", "image_auroc")
    of_each = [f.replicates["image_auroc"] for f in found.findings]
    assert drawn == pytest.approx((of_each[0] + of_each[1]) / 2)
    assert math.isnan(found.interval(ONE, "clean", "image_auroc", "c").low)
    assert math.isnan(found.interval(ONE, "clean", "image_f1").low)


def test_the_rarer_class_counts_over_all_categories() -> None:
    """2 + 3 normal images against 5 + 1 defects: 5; of one category 2 against 5."""
    few, many = images(range(7), [0] * 2 + [1] * 5), images(range(4), [0] * 3 + [1])
    found = material([run(ONE, few, category="a"), run(ONE, many, category="b")])
    assert found.n_images(ONE, "clean") == 5
    assert found.findings[0].n_images == 2


def test_repeats_have_the_interval_of_their_mean() -> None:
    """.7, .8 and .9: mean .8, standard error .1 / sqrt(3), times 4.3027 at two degrees of freedom."""
    runs = [run(ONE, repeat=r, image_auroc=v) for r, v in enumerate((0.7, 0.8, 0.9))]
    between = material(runs, repeats=3).interval(ONE, "clean", "image_auroc")
    reach = 4.302653 * 0.1 / math.sqrt(3)
    assert (between.low, between.high) == pytest.approx((0.8 - reach, min(1, 0.8 + reach)), rel=1e-6)


def of_size(key: str, index: int, size: float, validated: float | None, tested: float) -> Finding:
    """A run of one of a method's settings."""
    return run(setting(key, index, method="m"), validated=validated, image_auroc=tested, model_mb=size)


def test_a_lead_is_best_on_validation_then_small_then_first() -> None:
    """The test figure says the contrary each time; without any validation figure the file's first leads."""
    runs = [of_size("large", 0, 9, 0.9, 0.1), of_size("small", 1, 1, 0.9, 0.0), of_size("poor", 2, 0.1, 0.8, 1.0)]
    assert material(runs).leads[0].key == "small"
    assert material(runs[:1] + runs[2:]).leads[0].key == "large"
    alike = [of_size("first", 0, 1, 0.9, 0.1), of_size("second", 1, 1, 0.9, 0.9)]
    assert material(alike).leads[0].key == "first"
    blind = material([of_size("first", 0, 9, None, 0.1), of_size("second", 1, 1, None, 0.9)])
    assert (blind.leads[0].key, blind.chosen) == ("first", None)
    some = [of_size("blind", 0, 1, None, 1.0), of_size("seen", 1, 9, 0.6, 0.1)]
    assert material(some).leads[0].key == "seen"


def test_the_best_validated_lead_is_chosen_and_six_lead_at_most() -> None:
    """Of seven methods the first six lead; the best validated of them is chosen, whatever it tests."""
    runs = [run(setting(f"m{i}", i), validated=0.5 + 0.05 * (i == 3), image_auroc=1 - 0.1 * i) for i in range(7)]
    found = material(runs)
    assert [s.key for s in found.leads] == [f"m{i}" for i in range(6)]
    assert found.chosen is found.leads[3]
    scopes = [run(setting(f"s{i}", i, method="m", scope=s)) for i, s in enumerate(("category", "unified"))]
    assert len(material(scopes).leads) == 2  # a unified model leads beside the separate ones


def test_an_axis_has_several_numbers() -> None:
    """Numbers ascend; words, truth values and what does not vary are no axes."""
    values = [{"ratio": 0.5, "k": 3, "weighting": "none", "centred": True, "mixed": 1},
              {"ratio": 0.1, "k": 3, "weighting": "max", "centred": False, "mixed": "all"}]  # fmt: skip
    runs = [run(setting(f"s{i}", i, method="m", params=v)) for i, v in enumerate(values)]
    assert material(runs).swept == {"m": {"ratio": [0.1, 0.5]}}


def test_pixel_intervals_are_moved_onto_the_exact_figure(tmp_path: Path) -> None:
    """Counts at edges give .75 where the exact area is .7: every resample is moved by -.05, none above 1."""
    found = kept(tmp_path / "x", [[2, 3, 4]] * 2)
    # from (0, 0) by (0, 1/2) and (1/2, 3/4) to (1, 1): 0.3125 + 0.4375; images alike, so no spread
    assert found.replicates["pixel_auroc"] == pytest.approx(np.full(1000, 0.7), abs=1e-6)
    assert "pixel_aupro" not in found.replicates
    high = replace(found, record=found.record.model_copy(update={"metrics": {"pixel_auroc": 1.2}}))
    high.__dict__["images"] = found.images
    assert high.replicates["pixel_auroc"].max() == 1


def kept(path: Path, hits: list[list[int]]) -> Finding:
    """A run of two normal and two anomalous images of which these defect pixels are hit at each edge."""
    normal = np.array([[0, 2, 4]] * 2 + [[0, 0, 0]] * 2, np.uint32)
    hit = np.array([[0, 0, 0]] * 2 + hits, np.uint32)
    counts = PixelCounts(normal, hit, (hit / 4).astype(np.float32), np.array([0, 0, 1, 1], np.uint32))
    path.mkdir()
    np.savez(path / "pixels.npz", **counts.arrays())
    found = replace(run(ONE, pixel_auroc=0.7), path=path)
    found = replace(found, record=found.record.model_copy(update={"run_id": path.name}))
    found.__dict__["images"] = {"test": images([1, 2, 3, 4], [0, 0, 1, 1])}
    return found


def test_leaving_out_an_image_moves_its_pixels(tmp_path: Path) -> None:
    """Both defects: .75. Without that of 1, 2 and 4 of 4 pixels .9375, without that of 3, 4 and 4 .5625."""
    found, other = kept(tmp_path / "x", [[1, 2, 4], [3, 4, 4]]), kept(tmp_path / "y", [[2, 3, 4], [2, 3, 4]])
    assert found.left_out("pixel_auroc") == pytest.approx([0.75, 0.75, 0.9375, 0.5625, 0.75])
    assert found.left_out("image_f1") is None
    signed = {m: {f.signature(m) for f in (found, other)} for m in ("image_auroc", "pixel_auroc")}
    assert {m: len(s) for m, s in signed.items()} == {"image_auroc": 1, "pixel_auroc": 2}
    others = replace(found)
    others.__dict__["images"] = {"test": PARTED}  # counts of another number of images are none of this record's
    assert others.left_out("pixel_auroc") is None
