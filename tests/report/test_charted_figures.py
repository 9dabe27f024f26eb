"""The numbers that charts are given, from a few runs whose figures are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from adloc.answer.answer import Answer
from adloc.report.charts import choices, figures, sweeps
from handmade import finding, images, material, setting

if TYPE_CHECKING:
    from adloc.answer.finding import Finding, Images, Setting

PARTED = images([1, 2, 7, 8], [0, 0, 1, 1])
REGIMES = ("clean", "no_adaptation", "threshold_only", "full_adaptation")
ONE = setting("one")


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are what they were given: title, and the rest."""
    for module in (figures, choices, sweeps):
        for name in ("line_chart", "interval_chart", "score_chart", "scatter_chart", "matrix_chart", "rank_chart"):
            given = lambda title, *values, **named: SimpleNamespace(title=title, values=values, named=named)  # noqa: E731
            monkeypatch.setattr(module, name, given, raising=False)


def run(of: Setting, test: Images = PARTED, **values: Any) -> Finding:
    """A run with these metrics: a keyword that is no field of a record is one."""
    fields = {k: values.pop(k) for k in ("regime", "category", "threshold") if k in values}
    return finding(of, test, test, metrics=values, **fields)


def given(made: Any) -> dict[str, Any]:
    """The charts by name."""
    return {f.name: f.drawing for f in made}


def test_the_overview_shows_macro_figures_of_the_first_regime() -> None:
    """.6 and .8 of two categories: .7, with the macro interval; none of a metric that no run has."""
    found = material([run(ONE, category=c, image_auroc=v) for c, v in (("a", 0.6), ("b", 0.8))])
    charts = given(figures.overview(found))
    assert list(charts) == ["overview_image_auroc"]
    (estimate,) = charts["overview_image_auroc"].values[1]
    between = found.interval(ONE, "clean", "image_auroc")
    assert (estimate.label, estimate.value) == ("one", pytest.approx(0.7))
    assert (estimate.low, estimate.high) == (between.low, between.high)


def test_robustness_stands_in_the_order_of_regimes() -> None:
    """A point for each regime that has the metric, at its place; false alarms and misses in charts of their own."""
    values = dict(zip(REGIMES, (0.9, 0.6, None, 0.8), strict=True))
    found = material([run(ONE, regime=r, image_auroc=v, image_fpr=0.1, image_fnr=0.2) for r, v in values.items()])
    charts = given(figures.robustness(found))
    assert list(charts) == ["robustness_image_auroc", "robustness_image_fpr", "robustness_image_fnr"]
    (line,) = charts["robustness_image_auroc"].values[2]
    assert (list(line.x), line.y) == ([0, 1, 3], [0.9, 0.6, 0.8])
    assert [s.y for s in charts["robustness_image_fpr"].values[2]] == [[0.1] * 4]
    assert [s.y for s in charts["robustness_image_fnr"].values[2]] == [[0.2] * 4]
    ticks = charts["robustness_image_auroc"].values[0].ticks
    assert [at for at, _ in ticks] == [0, 1, 2, 3]


def test_score_rows_show_both_thresholds_after_a_shift() -> None:
    """The shifted test part with the new threshold, and the clean one beside it."""
    marks = dict(zip(REGIMES, (1.5, 1.5, 4.5, 3.5), strict=True))
    rows = list(
        figures._score_rows(material([run(ONE, regime=r, threshold=t) for r, t in marks.items()]), ONE, "brick")
    )
    shown = [(r.label, r.threshold, r.second) for r in rows]
    assert shown == [
        ("validation, clean", 1.5, None), ("test, clean", 1.5, None), ("validation, shifted", 4.5, None),
        ("test, shifted", 4.5, ("clean", 1.5)), ("test, shifted, fitted on such images", 3.5, None),
    ]  # fmt: skip
    assert (list(rows[0].normal), list(rows[0].anomalous)) == ([1, 2], [7, 8])


def sweep() -> list[Finding]:
    """Three ratios, the middle one validated best; the size follows the ratio."""
    return [
        run(setting(f"r{r}", i, method="m", params={"ratio": r}), image_auroc=a, val_image_auroc=v, model_mb=100 * r,
            fit_s=1.0)
        for i, (r, a, v) in enumerate(((0.1, 0.7, 0.8), (0.01, 0.9, 0.6), (0.05, 0.8, 0.9)))
    ]  # fmt: skip


def test_a_sweep_ascends_and_leaves_out_costs_that_do_not_move() -> None:
    """.01, .05 and .1 with their own figures; every fit takes one second: no chart of that."""
    charts = given(figures.ablations(material(sweep())))
    assert list(charts) == ["ablation_m_ratio_image_auroc", "ablation_m_ratio_model_mb"]
    (line,) = charts["ablation_m_ratio_image_auroc"].values[2]
    assert (line.x, line.y) == ([0.01, 0.05, 0.1], [0.9, 0.8, 0.7])
    (size,) = charts["ablation_m_ratio_model_mb"].values[2]
    assert size.y == pytest.approx([1, 5, 10])


def test_a_trade_off_sets_accuracy_against_size_and_ranks_by_validation() -> None:
    """A point a setting: size to the right, test figure upwards; the front is of validation figures."""
    charts = given(figures.trade_offs(material(sweep())))
    assert list(charts) == ["trade_off_image_auroc_model_mb"]
    marks = charts["trade_off_image_auroc_model_mb"].values[2]
    assert [(m.x, m.y, m.validated) for m in marks] == [
        (pytest.approx(10), 0.7, 0.8), (pytest.approx(1), 0.9, 0.6), (pytest.approx(5), 0.8, 0.9),
    ]  # fmt: skip


def test_choices_mark_the_validated_one() -> None:
    """Words in the order of the file; chosen is the best validated, not the best tested."""
    runs = [run(setting(w, i, method="m", params={"how": w}), image_auroc=a, val_image_auroc=v)
            for i, (w, a, v) in enumerate((("none", 0.9, 0.6), ("max", 0.7, 0.8)))]  # fmt: skip
    charts = given(figures.ablations(material(runs)))
    estimates = charts["ablation_m_how_image_auroc"].values[1]
    assert [(e.label, e.value) for e in estimates] == [("none", 0.9), ("max (chosen)", 0.7)]


def test_the_shortcut_matrix_has_images_in_rows_and_thresholds_in_columns() -> None:
    """A's images under B's threshold stand in row A, column B."""
    row: dict[str, Any] = {"method": "m", "regime": "clean", "repeat": 0}
    cells = {("a", "a"): 0.1, ("a", "b"): 0.2, ("b", "a"): 0.3, ("b", "b"): 0.4}
    rows = [row | {"images_of": a, "threshold_of": b, "flagged": v, "n_images": 4} for (a, b), v in cells.items()]
    (chart,) = given(figures.shortcut(material([run(ONE)], Answer([], [], [], rows, [])))).values()
    assert chart.values[:3] == (["a", "b"], ["a", "b"], [[0.1, 0.2], [0.3, 0.4]])


def test_a_curve_ends_at_its_limit_on_the_line() -> None:
    """From (.2, .4) to (.6, .8) at .3: .5; a curve that ends before is whole."""
    assert figures._up_to(0.3, [0, 0.2, 0.6], [0, 0.4, 0.8]) == ([0, 0.2, 0.3], [0, 0.4, pytest.approx(0.5)])
    assert figures._up_to(1, [0, 0.2], [0, 0.4]) == ([0, 0.2], [0, 0.4])
    x, y = figures._thinned([float(i) for i in range(1000)], [2.0 * i for i in range(1000)])
    assert (len(x), x[0], x[-1]) == (140, 0, 999)
    assert y == [2 * v for v in x]
