"""The tables of a paper cell by cell, from two categories made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from adloc.report.sections.paper import paper
from handmade import finding, images, material, setting

if TYPE_CHECKING:
    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material
    from adloc.report.section import Section
    from adloc.report.tables import Table

PART = images([1, 2, 3, 4], [0, 0, 1, 1])
VALIDATION = images([1, 2, 3, 4, 5], [0, 0, 0, 1, 1])
NONE = "\N{EN DASH}"
OF = ". Study s: n = 8 test images, 4 of them anomalous, in 2 categories; 1 repeat, split seed 7, method seed 5."
ONE = setting("one", method="m", params={"ratio": 0.5})


def run(of: Setting, category: str = "a", regime: str = "clean", **values: Any) -> Finding:
    """A run with a threshold of 2.5."""
    known = {"val_image_auroc": 0.9} | values.pop("metrics", {})
    return finding(
        of, PART, VALIDATION, category=category, regime=regime, **{"threshold": 2.5, "metrics": known} | values
    )


def gathered(*runs: Finding, **spec: Any) -> Material:
    """Of the study s."""
    base = {"study": "s", "seed": 5, "split": SimpleNamespace(train_fraction=0.8, validation_defects=0.3, seed=7),
            "regimes": ["clean", "no_adaptation"], "image": SimpleNamespace(size=224, tiles=None)}  # fmt: skip
    made = material(runs, **base | spec)
    samples = [SimpleNamespace(label=int(label), defect="") for label in PART.labels]
    part = type("Part", (list,), {"samples": samples})(samples)
    for category in made.plan.parts:
        made.plan.parts[category] = SimpleNamespace(train=part, validation=part, test=part)  # type: ignore[index]
    return made


def section_of(*runs: Finding, **spec: Any) -> Section:
    """The section."""
    found = paper(gathered(*runs, **spec))
    assert found is not None
    return found


def table_of(section: Section, name: str) -> Table:
    """One of its tables."""
    return next(table for table in section.tables if table.name == name)


def cells(table: Table) -> list[list[Any]]:
    """Values, words where there is none."""
    return [[c.text if c.value is None else c.value for c in row] for row in table.rows]


def test_thresholds_have_a_row_each_and_repeats_where_there_are_some() -> None:
    """What each was calibrated on, its errors there and on the test part; a column of zeros is left out."""
    rates = {"val_image_fpr": 0.1, "val_image_fnr": 0.2, "image_fpr": 0.3, "image_fnr": 0.4}
    runs = [run(ONE, c, metrics=rates) for c in "ab"]
    table = table_of(section_of(*runs), "paper_thresholds")
    assert table.heads == (
        "category", "setting", "regime", "threshold", "objective", "validation normal", "validation anomalous",
        "validation false alarms", "validation misses", "test false alarms", "test misses",
    )  # fmt: skip
    assert cells(table)[0] == ["a", "one", "clean", 2.5, "f1", 3, 2, 0.1, 0.2, 0.3, 0.4]
    assert table.rows[0][3].text == "2.5000"
    assert (table.filters, table.long) == (("category", "setting", "regime"), True)
    shown = "Thresholds, the validation images that each was calibrated on, its error rates there and on the test part"
    assert table.caption == shown + OF
    repeated = table_of(
        section_of(*(run(ONE, c, repeat=i) for c in "ab" for i in range(2)), repeats=2), "paper_thresholds"
    )
    assert repeated.heads[3] == "repeat"
    assert [row[3] for row in cells(repeated)] == [0, 1, 0, 1]
    lost = [finding(ONE, PART, None, category=c, threshold=2.5) for c in "ab"]  # no validation score was kept
    assert cells(table_of(section_of(*lost), "paper_thresholds"))[0][5:7] == [0, 0]
    bare = section_of(*(run(ONE, c, threshold=None) for c in "ab"))
    assert "paper_thresholds" not in {table.name for table in bare.tables}


def test_metrics_begin_with_the_average_and_pixels_have_intervals() -> None:
    """.6 and .8 are .7 and bold; a level without a figure has no table, one category no average."""
    runs = [run(ONE, c, metrics={"image_auroc": v, "image_fpr": 0.25}) for c, v in (("a", 0.6), ("b", 0.8))]
    section = section_of(*runs)
    table = table_of(section, "paper_metrics_image_clean")
    assert table.heads[:3] == ("category", "setting", "image AUROC")
    assert table.heads[-2:] == ("false alarms", "misses")
    assert [(row[0], row[2], row[-2], row[-1]) for row in cells(table)] == [
        ("macro", pytest.approx(0.7), 0.25, NONE), ("a", 0.6, 0.25, NONE), ("b", 0.8, 0.25, NONE),
    ]  # fmt: skip
    assert table.bold == {0}
    assert table.caption == "All image metrics, clean, the average first" + OF
    assert not any(cell.low for row in table.rows for cell in row)
    assert "paper_metrics_pixel_clean" not in {t.name for t in section.tables}
    pixels = section_of(*(run(ONE, c, metrics={"pixel_aupro": 0.5}) for c in "ab"))
    table = table_of(pixels, "paper_metrics_pixel_clean")
    assert table.caption == "All pixel metrics, clean, the average first, with 95 % intervals" + OF
    assert table.heads == ("category", "setting", "pixel AUROC", "PRO", "PRO at 0.05")
    alone = table_of(section_of(runs[0]), "paper_metrics_image_clean")
    assert cells(alone)[0][:3] == ["a", "one", 0.6]
    assert alone.caption.startswith("All image metrics, clean. Study s: n = 4 test images, 2 of them anomalous, in 1 ")


def test_what_is_recovered_has_averages_in_bold() -> None:
    """False alarms from .1 to .9 and back to .3 and .1: .8 lost, 75 % and all of it won back; misses lost nothing."""
    rates = {"clean": 0.1, "no_adaptation": 0.9, "threshold_only": 0.3, "full_adaptation": 0.1}
    runs = [run(ONE, c, r, metrics={"image_fpr": v, "image_fnr": 0.2}) for c in "ab" for r, v in rates.items()]
    table = table_of(section_of(*runs), "paper_recovered")
    assert table.heads == (
        "category", "setting", "metric", "clean", "no adaptation", "lost", "recalibrated", "refitted",
    )  # fmt: skip
    assert cells(table)[:2] == [
        ["macro", "one", "false alarms", pytest.approx(0.1), pytest.approx(0.9), pytest.approx(0.8), 0.75, 1.0],
        ["macro", "one", "misses", 0.2, 0.2, 0.0, NONE, NONE],
    ]
    assert [c.text for c in table.rows[0][3:]] == ["0.100", "0.900", "+0.800", "+0.75", "+1.00"]
    assert table.bold == {i for i, row in enumerate(cells(table)) if row[0] == "macro"} == {0, 1}
    shown = "Share of what the shift took that recalibration and refitting win back; empty where nothing was lost"
    assert table.caption == shown + OF
    assert table.filters == ("category", "setting", "metric")
    assert [row[0] for row in cells(table)] == ["macro"] * 2 + ["a"] * 2 + ["b"] * 2


def test_costs_stand_beside_those_of_one_model_for_all() -> None:
    """Two models of .75 MB and 2 s, one of 1 MB and 3 s: 1.5 MB and 4 s together, a ratio of .67."""
    many, one = setting("many", method="m"), setting("all", 1, method="m", scope="unified")
    taken = {many: {"model_mb": 0.75, "fit_s": 2.0}, one: {"model_mb": 1.0, "fit_s": 3.0}}
    runs = [
        run(of, c, metrics=taken[of] | {"score_ms_per_image": ms, "peak_memory_mb": 10 * ms})
        for of in (many, one) for c, ms in (("a", 10.0), ("b", 30.0))
    ]  # fmt: skip
    section = section_of(*runs)
    costs, both = table_of(section, "paper_costs"), table_of(section, "paper_unified_costs")
    assert costs.heads == (
        "setting", "models", "fit of all, s", "score per image, ms", "models together, MB", "peak memory, MB",
    )  # fmt: skip
    assert cells(costs) == [["many", 2, 4.0, 20.0, 1.5, 300.0], ["all", 1, 3.0, 20.0, 1.0, 300.0]]
    assert costs.caption == "Costs of the models that serve all categories together, without the backbone" + OF
    assert both.heads == (
        "setting", "unified, MB", "separate together, MB", "ratio", "unified fit, s", "separate fits together, s",
    )  # fmt: skip
    assert cells(both) == [["many", 1.0, 1.5, pytest.approx(2 / 3), 3.0, 4.0]]
    assert both.rows[0][3].text == "0.67"
    assert both.caption == "One model for all 2 categories beside the sum of a model for each" + OF


def test_the_section_says_what_lost_and_recovered_mean() -> None:
    """And that no test figure chose what it shows."""
    section = section_of(*(run(ONE, c) for c in "ab"))
    assert (section.name, section.title) == ("paper", "For a paper")
    assert section.text == (
        "Tables for a paper, as CSV and as LaTeX with captions that name study, images and seeds. Those of methods "
        "show the setting of each that was chosen on the validation part; no test figure chose anything.",
    )
    assert section.notes == (
        "Lost is how much worse a figure is under no adaptation than clean: positive is worse, whichever direction of "
        "the metric is better. The share recovered is what an adapted regime wins back of it: 1 is all, above 1 better "
        "than clean, negative worse than without adaptation, empty where nothing was lost. A share of a small loss "
        "says little: read the loss first. Recalibration moves the threshold alone, so it recovers 0 of every metric "
        "that has none.",
    )
    assert paper(gathered()) is None
