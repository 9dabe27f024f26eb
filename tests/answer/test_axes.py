"""How figures move along axes, from rows made by hand with known answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adloc.answer.answer import Answer
from adloc.answer.axes import Point, at_base, curves, interactions, plateau, setting_of
from adloc.answer.comparisons import regime_drops, repeat_statistics
from adloc.metrics.registry import METRICS
from adloc.report.charts.bars import BarGroup, bar_chart
from adloc.report.sections.conditions import how_clean, how_many_images, which_part_hurts
from adloc.study_file.spec import StudySpec


def spec_of(**study: Any) -> StudySpec:
    """A study with these axes."""
    methods = [{"method": "patchcore"}]
    regimes = ["clean", "no_adaptation"]
    return StudySpec.model_validate(
        {"study": "s", "dataset": {"kind": "textures"}, "methods": methods, "regimes": regimes, **study}
    )


def row(**values: Any) -> dict[str, Any]:
    """A macro row with no metric but those given, of two categories of 10 images."""
    base = {
        "study": "s", "category": "macro", "method": "patchcore", "regime": "clean", "scope": "category",
        "threshold_scope": "category", "repeat": 0, "run_id": "r", "status": "done", "setting": "", "params.k": 9,
        "n_train": 20, "n_val": 1, "n_test": 1,
    }  # fmt: skip
    return {**base, **dict.fromkeys(METRICS), **values}


CATEGORIES = [row(category="a"), row(category="b")]


def shifted(**values: Any) -> dict[str, Any]:
    """A macro row of the shifted regime."""
    return row(regime="no_adaptation", **values)


def test_a_curve_has_the_mean_and_the_spread_of_its_draws() -> None:
    """.7, .8 and .9 of three draws of 4 images; all 10 images once, behind the numbers."""
    draws = [row(train_images=4, draw=d, image_auroc=v, n_train=8) for d, v in enumerate((0.7, 0.9, 0.8))]
    rows = [row(train_images="all", draw=0, image_auroc=0.95), *draws, *CATEGORIES]
    (curve,) = curves(rows, spec_of(learning_curve={"draws": 3}), "train_images", "image_auroc")
    assert [p.at for p in curve.points] == [4, "all"]
    few, whole = curve.points
    assert (few.mean, few.low, few.high) == (pytest.approx(0.8), 0.7, 0.9)
    assert (few.n_train, whole.n_train) == (4, 10)


def test_a_curve_leaves_the_other_axes_at_their_base() -> None:
    """A run of blur alone at severity 1 is no point of the severity's curve."""
    rows = [
        shifted(severity=0.5, factors="all", image_fpr=0.1),
        shifted(severity=1.0, factors="all", image_fpr=0.2),
        shifted(severity=1.0, factors="blur", image_fpr=0.9),
        *CATEGORIES,
    ]
    spec = spec_of(shift={"severity": [0.5, 1], "factors": "each"})
    (curve,) = curves(rows, spec, "severity", "image_fpr")
    assert [(p.at, p.values) for p in curve.points] == [(0.5, (0.1,)), (1.0, (0.2,))]


def test_settings_and_regimes_have_curves_of_their_own() -> None:
    """Rows of another hyperparameter or regime are never joined by a line."""
    rows = [
        row(regime=regime, contamination=c, image_fnr=0.1 * k, **{"params.k": k})
        for regime in ("clean", "no_adaptation")
        for c in (0.0, 0.1)
        for k in (1, 2)
    ]
    found = curves([*rows, *CATEGORIES], spec_of(train={"contamination": [0, 0.1]}), "contamination", "image_fnr")
    assert sorted((c.regime, c.points[0].mean) for c in found) == [
        ("clean", 0.1), ("clean", 0.2), ("no_adaptation", 0.1), ("no_adaptation", 0.2)
    ]  # fmt: skip
    assert {len(c.points) for c in found} == {2}


def test_a_setting_is_the_same_in_every_regime_and_another_in_every_scope() -> None:
    """Lines of a unified model and of separate ones are never one."""
    same = ({"regime": "no_adaptation"}, {"category": "a"}, {"repeat": 1}, {"severity": 0.5}, {"run_id": "x"})
    other = (
        {"scope": "unified"},
        {"threshold_scope": "global"},
        {"params.k": 3},
        {"method": "padim"},
        {"setting": "t"},
    )
    base = setting_of(row(severity=1.0))
    assert {setting_of(row(**{"severity": 1.0} | changed)) for changed in same} == {base}
    assert base not in {setting_of(row(severity=1.0, **changed)) for changed in other}


def test_groups_of_transforms_stand_in_the_studys_order() -> None:
    """However the rows come."""
    spec = spec_of(shift={"factors": "each"})
    names = list(spec.shift.combinations)
    rows = [shifted(factors=name, image_fpr=0.1) for name in reversed(names)]
    (curve,) = curves([*rows, *CATEGORIES], spec, "factors", "image_fpr")
    assert [p.at for p in curve.points] == names


@pytest.mark.parametrize("factors", [["all"], ["blur", "noise"]])
def test_no_interaction_without_all_and_some_alone(factors: list[str]) -> None:
    """A sum needs its parts and its whole."""
    rows = [row(image_auroc=0.9), *(shifted(factors=name, image_auroc=0.8) for name in factors), *CATEGORIES]
    assert interactions(regime_drops(rows), spec_of(shift={"factors": "each"}), "image_auroc") == []


def test_interaction_is_what_all_cost_beyond_the_sum() -> None:
    """.9 clean, .8 blurred, .7 darkened, .5 with both: .4 lost, .1 + .2 alone, so .1 more than the sum."""
    rows = [
        row(image_auroc=0.9, image_fnr=0.1),
        shifted(factors="blur", image_auroc=0.8, image_fnr=0.3),
        shifted(factors="illumination", image_auroc=0.7, image_fnr=0.1),
        shifted(factors="blur+illumination", image_auroc=0.5, image_fnr=0.2),
        shifted(factors="all", image_auroc=0.5, image_fnr=0.2),
    ]
    spec, drops = spec_of(shift={"factors": "factorial"}), regime_drops([*rows, *CATEGORIES])
    (found,) = interactions(drops, spec, "image_auroc")
    assert dict(found.alone) == {"blur": pytest.approx(0.1), "illumination": pytest.approx(0.2)}
    assert dict(found.combined) == {"blur+illumination": pytest.approx(0.4)}
    assert found.together == pytest.approx(0.4)
    assert found.extra == pytest.approx(0.1)
    (misses,) = interactions(drops, spec, "image_fnr")
    assert misses.extra == pytest.approx(0.1 - 0.2)  # an error rate that grew is lost, too


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.6, 0.8, 0.9, 0.905, 0.909), 4),  # .909 is not more than .01 above .9
        ((0.6, 0.8, 0.9, 0.905, 0.95), 16),  # every smaller number is beaten: no plateau
        ((0.95, 0.8, 0.9), 1),  # a dip in between is no gain
        ((0.9, 0.9, 0.895, 0.92), 8),  # a late rise counts
    ],
)
def test_plateau_is_the_fewest_that_no_larger_number_beats(means: tuple[float, ...], expected: int) -> None:
    """More than .01 better at any larger number, and more images are worth it."""
    points = [Point(2**i, (mean,), 2.0**i) for i, mean in enumerate(means)]
    assert plateau(points).at == expected


def test_plateau_goes_by_the_mean_of_the_draws() -> None:
    """One lucky draw of many does not end the curve early."""
    assert plateau([Point(1, (0.99, 0.61), 1), Point(2, (0.9, 0.9), 2)]).at == 2


def test_clean_is_the_partner_of_every_severity_and_of_its_own_images_alone() -> None:
    """Severity does not keep a shifted run from its clean one; another number of images does."""
    rows = [
        row(train_images="all", severity=None, image_auroc=0.9),
        row(train_images=4, severity=None, image_auroc=0.6),
        *(shifted(train_images="all", severity=s, image_auroc=v) for s, v in ((0.5, 0.8), (2.0, 0.5))),
        shifted(train_images=8, severity=1.0, image_auroc=0.1),
    ]
    found = [(d["severity"], d["drop_image_auroc"]) for d in regime_drops(rows)]
    assert found == [(0.5, pytest.approx(0.1)), (2.0, pytest.approx(0.4))]


def test_repeats_of_conditions_are_not_mixed() -> None:
    """Two repeats of each severity give a mean for each, not one of four."""
    rows = [
        shifted(severity=s, repeat=r, image_auroc=v)
        for s, pair in ((0.5, (0.8, 0.9)), (1.0, (0.4, 0.6)))
        for r, v in enumerate(pair)
    ]
    means = {(s["severity"], s["n_repeats"]): s["mean"] for s in repeat_statistics(rows)}
    assert means == {(0.5, 2): pytest.approx(0.85), (1.0, 2): pytest.approx(0.5)}


def test_the_base_has_the_tables_of_a_study_without_axes() -> None:
    """Rows of other conditions go, and with them the axes' columns: clean has no severity and stays."""
    spec = spec_of(shift={"severity": [0.5, 1]})
    rows = [row(severity=None), shifted(severity=1.0, image_auroc=0.7), shifted(severity=0.5, image_auroc=0.8)]
    answer = Answer(rows, regime_drops([row(severity=None, image_auroc=0.9), *rows[1:]]), [], [], [])
    kept = at_base(answer, spec)
    assert [(r["regime"], r["image_auroc"], "severity" in r) for r in kept.rows] == [
        ("clean", None, False), ("no_adaptation", 0.7, False)
    ]  # fmt: skip
    assert [d["drop_image_auroc"] for d in kept.regime_drops] == [pytest.approx(0.2)]


def test_key_figures_of_conditions_have_names_of_their_own() -> None:
    """MLflow's parent run would show the last severity's figure under the name of all of them."""
    rows = [shifted(severity=s, image_auroc=v) for s, v in ((1.0, 0.7), (0.5, 0.8))]
    assert Answer(rows, [], [], [], []).key_figures() == {
        "patchcore/no_adaptation/severity 1/image_auroc": 0.7,
        "patchcore/no_adaptation/severity 0.5/image_auroc": 0.8,
    }


def material_of(spec: StudySpec, rows: list[dict[str, Any]]) -> Any:
    """What sections read of these rows: one setting, called padim."""
    setting = SimpleNamespace(label="padim", index=0, method="padim", scope="category", threshold_scope="category")
    frozen = type("Setting", (SimpleNamespace,), {"__hash__": lambda _: 0})(**vars(setting))
    finding = SimpleNamespace(record=SimpleNamespace(run_id="r"), setting=frozen)
    drops = tuple(regime_drops(rows))
    return SimpleNamespace(
        rows=tuple(rows), plan=SimpleNamespace(spec=spec), leads=(frozen,), findings=(finding,), conditioned=(),
        axis_drops=drops, regimes=("clean", "no_adaptation"), row=lambda *_: {}, first_regime=lambda _: "clean",
    )  # fmt: skip


def learning(last: float) -> Any:
    """1, 4 and all 10 images, whose validation AUROC ends at `last`; test figures that say the contrary."""
    values = {1: (0.7, 0.5, 0.0), 4: (0.9, 0.2, 0.3), "all": (last, 0.1, 0.4)}
    rows = [
        row(train_images=n, draw=0, val_image_auroc=v, image_fpr=f, image_fnr=m, image_auroc=1 - v, n_train=2 * (
            10 if n == "all" else int(n)))
        for n, (v, f, m) in values.items()
    ]  # fmt: skip
    return material_of(spec_of(learning_curve={}), [*rows, *CATEGORIES])


def test_the_report_says_how_many_images_are_enough_by_the_validation_part() -> None:
    """4: all 10 are better by .005 only. With .95 at the end no number is, whatever the test part says."""
    section = how_many_images(learning(0.905))
    assert section is not None
    assert section.text == (
        "padim, clean: 4 images a category are enough: 20.0% of the normal images raise a false alarm and 30.0% of the "
        "defects are missed, and no larger number, up to 10, is better by more than 0.01 in validation image AUROC "
        "(0.900; 0.905 with all).",
    )
    section = how_many_images(learning(0.95))
    assert section is not None
    assert section.text[0].startswith(
        "padim, clean: with all 10 images a category 10.0% of the normal images raise a false alarm and 40.0% of the "
        "defects are missed; fewer are worse by more than 0.01"
    )


def test_the_report_says_what_contamination_does_errors_first() -> None:
    """Both ends of the axis, false alarms and misses before AUROC."""
    rows = [
        row(contamination=c, image_fpr=f, image_fnr=m, image_auroc=a)
        for c, f, m, a in ((0.0, 0.1, 0.2, 0.9), (0.05, 0.9, 0.9, 0.1), (0.1, 0.05, 0.6, 0.8))
    ]
    section = how_clean(material_of(spec_of(train={"contamination": [0, 0.05, 0.1]}), [*rows, *CATEGORIES]))
    assert section is not None
    assert section.text == (
        "padim, clean: from contamination 0 to 0.1, false alarms go from 10.0% to 5.0%, misses go from 20.0% to 60.0%, "
        "image AUROC goes from 0.900 to 0.800.",
    )


def test_the_report_names_the_group_whose_errors_grow_most() -> None:
    """Blur: .1 + .2 more errors, noise .25; although noise takes more AUROC. All lose .3, .1 less than .1 + .3."""
    figures = {"blur": (0.2, 0.3, 0.8), "noise": (0.35, 0.1, 0.6), "all": (0.4, 0.4, 0.6)}
    rows = [row(image_fpr=0.1, image_fnr=0.1, image_auroc=0.9)]
    rows += [shifted(factors=n, image_fpr=f, image_fnr=m, image_auroc=a) for n, (f, m, a) in figures.items()]
    section = which_part_hurts(material_of(spec_of(shift={"factors": "each"}), [*rows, *CATEGORIES]))
    assert section is not None
    assert section.text == (
        "padim, no adaptation: blur hurts most; alone it changes false alarms by +0.100 (all together +0.300), misses "
        "by +0.200 (all together +0.300), image AUROC by \N{MINUS SIGN}0.100 (all together \N{MINUS SIGN}0.300). "
        "Together they cost 0.100 less image AUROC than the sum of each alone: they overlap.",
    )


def test_the_table_of_images_has_every_number_that_was_fitted_on() -> None:
    """A row a number, with errors first and how many runs it is of; what was not computed is a dash."""
    section = how_many_images(learning(0.905))
    assert section is not None
    assert (section.name, section.title) == ("images", "How many images")
    table = section.tables[0]
    assert (table.name, table.caption) == ("axis_train_images", "Figures by train images, mean over draws and repeats")
    titles = tuple(METRICS[m].title for m in ("image_fpr", "image_fnr", "image_auroc", "pixel_aupro"))
    assert table.heads == ("setting", "regime", "train images", *titles, "runs")
    assert table.filters == ("setting", "regime")
    none = "\N{EN DASH}"
    assert [[c.text if c.value is None else c.value for c in cells] for cells in table.rows] == [
        ["padim", "clean", "1", 0.5, 0.0, pytest.approx(0.3), none, "1"],
        ["padim", "clean", "4", 0.2, 0.3, pytest.approx(0.1), none, "1"],
        ["padim", "clean", "all", 0.1, 0.4, pytest.approx(0.095), none, "1"],
    ]
    assert section.notes == (
        "Bands reach from the lowest to the highest draw and repeat; lines are their mean. The number that is enough "
        "is the smallest from which no larger one is better by more than 0.01 in the image AUROC of the validation "
        "part; its false alarms and misses are of the test part.",
    )


def test_one_image_is_one_and_no_threshold_has_no_errors() -> None:
    """Where one image is as good as all; without error rates none are told."""
    rows = [
        row(train_images=n, draw=0, val_image_auroc=v, n_train=2 * (1 if n == 1 else 10))
        for n, v in ((1, 0.9), ("all", 0.905))
    ]
    section = how_many_images(material_of(spec_of(learning_curve={}), [*rows, *CATEGORIES]))
    assert section is not None
    assert section.text == (
        "padim, clean: 1 image a category is enough: no threshold was calibrated, and no larger number, up to 10, is "
        "better by more than 0.01 in validation image AUROC (0.900; 0.905 with all).",
    )


def test_contamination_says_where_its_defects_are_from() -> None:
    """And that thresholds are chosen on the same images at every share."""
    rows = [row(contamination=c, image_fnr=m) for c, m in ((0.0, 0.2), (0.1, 0.6))]
    section = how_clean(material_of(spec_of(train={"contamination": [0, 0.1]}), [*rows, *CATEGORIES]))
    assert section is not None
    assert (section.name, section.title) == ("contamination", "How clean")
    assert section.text == ("padim, clean: from contamination 0 to 0.1, misses go from 20.0% to 60.0%.",)
    assert section.notes == (
        "The defects are taken from the validation part, and those of the largest share have left it at every share: "
        "all thresholds are chosen on the same images. Bands reach from the lowest to the highest draw and repeat; "
        "lines are their mean.",
    )
    assert section.tables[0].name == "axis_contamination"


def hurt(figures: dict[str, tuple[float, float]], factors: str = "each", **values: Any) -> Any:
    """The section of groups with these misses and AUROCs, of .1 and .9 before the shift."""
    rows = [row(image_fnr=0.1, image_auroc=0.9)]
    rows += [shifted(factors=n, image_fnr=m, image_auroc=a, **values) for n, (m, a) in figures.items()]
    section = which_part_hurts(material_of(spec_of(shift={"factors": factors}), [*rows, *CATEGORIES]))
    assert section is not None
    return section


@pytest.mark.parametrize(
    ("together", "words"),
    [
        (0.5, "Together they cost as much image AUROC as the sum of each alone."),
        (0.4, "Together they cost 0.100 more image AUROC than the sum of each alone: they make each other worse."),
        (0.6, "Together they cost 0.100 less image AUROC than the sum of each alone: they overlap."),
        (0.4994, "Together they cost 0.001 more image AUROC than the sum of each alone: they make each other worse."),
        (0.4996, "Together they cost as much image AUROC as the sum of each alone."),
    ],
)
def test_losses_add_up_overlap_or_make_each_other_worse(together: float, words: str) -> None:
    """Blur takes .1 and noise .3 of .9: .5 is left if they add up; less than half a thousandth is no difference."""
    (text,) = hurt({"blur": (0.2, 0.8), "noise": (0.1, 0.6), "all": (0.2, together)}).text
    assert text.endswith(f" {words}")
    alone = "alone it changes misses by +0.100 (all together +0.100), image AUROC by \N{MINUS SIGN}0.100 (all together "
    assert text.startswith(f"padim, no adaptation: blur hurts most; {alone}")


def test_where_no_group_raises_the_errors_that_is_said() -> None:
    """Blur leaves the misses, noise lowers them: neither hurts, and of one group there is no sum."""
    (text,) = hurt({"blur": (0.1, 0.8), "noise": (0.05, 0.6), "all": (0.1, 0.5)}).text
    assert text.startswith(
        "padim, no adaptation: no group alone raises the errors; blur changes misses by +0.000 (all together +0.000), "
    )
    (text,) = hurt({"blur": (0.2, 0.8), "all": (0.3, 0.5)}).text
    assert "Together" not in text


def test_the_table_of_groups_ends_with_all_and_what_is_beyond_the_sum() -> None:
    """.1 and .3 of AUROC alone, .4 by both drawn together, .3 by all: .1 less than the sum."""
    section = hurt(
        {"blur": (0.2, 0.8), "noise": (0.1, 0.6), "blur+noise": (0.3, 0.5), "all": (0.3, 0.6)}, factors="factorial"
    )
    assert (section.name, section.title) == ("factors", "Which part of the shift hurts")
    (table,) = section.tables
    assert (table.name, table.caption) == ("factors", "What each group of transforms costs against clean")
    titles = tuple(f"lost {METRICS[m].title}" for m in ("image_fpr", "image_fnr", "image_auroc", "pixel_aupro"))
    assert table.heads == ("setting", "regime", "factors", *titles)
    assert table.filters == ("setting", "regime")
    assert {row[3].text for row in table.rows} == {row[6].text for row in table.rows} == {"\N{EN DASH}"}
    assert [[cell.text for cell in (*row[:3], row[4], row[5])] for row in table.rows] == [
        ["padim", "no adaptation", "blur", "+0.100", "+0.100"],
        ["padim", "no adaptation", "noise", "+0.000", "+0.300"],
        ["padim", "no adaptation", "blur+noise", "+0.200", "+0.400"],
        ["padim", "no adaptation", "all", "+0.200", "+0.300"],
        ["padim", "no adaptation", "all less the sum of the single ones", "+0.100", "\N{MINUS SIGN}0.100"],
    ]
    assert section.notes == (
        "Losses are against the clean test part; positive is worse. A group alone is drawn exactly as it is in the "
        "whole shift. Together less than the sum: the groups overlap, or an error rate has no room left.",
    )


def test_severity_is_told_at_its_ends_before_the_groups() -> None:
    """From .5 to 2 the false alarms go from 10 to 40 %, whatever stands between; both axes have a table."""
    rows = [row(image_fpr=0.1, image_auroc=0.9)]
    rows += [
        shifted(severity=s, factors="all", image_fpr=f, image_auroc=a)
        for s, f, a in ((0.5, 0.1, 0.9), (1.0, 0.9, 0.5), (2.0, 0.4, 0.7))
    ]
    rows += [shifted(severity=1.0, factors=n, image_fpr=f, image_auroc=0.8) for n, f in (("blur", 0.2), ("noise", 0.3))]
    spec = spec_of(shift={"severity": [0.5, 1, 2], "factors": "each"})
    section = which_part_hurts(material_of(spec, [*rows, *CATEGORIES]))
    assert section is not None
    ends, groups = section.text
    assert ends == (
        "padim, no adaptation: from severity 0.5 to 2, false alarms go from 10.0% to 40.0%, image AUROC goes from "
        "0.900 to 0.700."
    )
    assert "noise hurts most" in groups
    assert [table.name for table in section.tables] == ["axis_severity", "factors"]


def test_sections_of_axes_are_left_out_without_axes() -> None:
    """A study that varies nothing has none of the three."""
    plain = material_of(spec_of(), [row(), shifted(), *CATEGORIES])
    assert [make(plain) for make in (how_many_images, how_clean, which_part_hurts)] == [None] * 3


def test_bars_grow_from_a_common_zero_in_proportion() -> None:
    """A bar of .2 is twice as long as one of .1 and ends to the right; one of -.1 as long, to the left."""
    drawing = bar_chart("t", "a", [BarGroup("x", (0.1, 0.2, -0.1))], ["p", "q", "r"])
    bars = [shape.points for shape in drawing._shapes if getattr(shape, "opacity", 0) == 1.0][3:]  # after the legend
    one, two, minus = ([x for x, _ in points] for points in bars)
    assert max(two) - min(two) == pytest.approx(2 * (max(one) - min(one)))
    assert max(minus) == pytest.approx(min(one)) == pytest.approx(min(two))
    assert max(minus) - min(minus) == pytest.approx(max(one) - min(one))
