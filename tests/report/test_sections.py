"""The figures of the report's tables, from a few runs whose answers are worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adloc.answer.compared import rank_leads
from adloc.metrics.registry import METRICS
from adloc.report.sections.boards import defect_types, hardest, leaderboard
from adloc.report.sections.comparisons import compared
from adloc.report.sections.robustness import robustness
from adloc.report.sections.tuning import _against
from adloc.report.sections.unified import unified
from handmade import compared_by_hand, finding, images, material, setting

if TYPE_CHECKING:
    from adloc.answer.finding import Finding, Images, Setting
    from adloc.answer.paired import Comparison
    from adloc.report.section import Section

ONE, OTHER = setting("one"), setting("other", 1)
# at 4.5: one of four normal images is flagged, one of two cracks and none of two holes passes
PART = images([1, 2, 3, 5, 4, 6, 7, 8], [0] * 4 + [1] * 4, ["good"] * 4 + ["crack"] * 2 + ["hole"] * 2)
PARTED = images([1, 2, 3, 4, 6, 7, 8, 9], [0] * 4 + [1] * 4)


def run(of: Setting, test: Images = PART, threshold: float = 4.5, **values: Any) -> Finding:
    """A run with these metrics: a keyword that is no field of a record is one."""
    fields = {k: values.pop(k) for k in ("regime", "category", "setting") if k in values}
    return finding(of, test, threshold=threshold, metrics=values, **fields)


def rows_of(section: Section | None, table: int = 0) -> list[dict[str, Any]]:
    """A table's values by head, words where there is none."""
    assert section is not None
    found = section.tables[table]
    return [
        {h: c.text if c.value is None else c.value for h, c in zip(found.heads, row, strict=True)} for row in found.rows
    ]


def test_a_defect_type_is_told_with_what_was_missed_of_it() -> None:
    """Of two cracks one lies below 4.5; 7 of 8 pairs of crack and normal image are ranked right, of holes all."""
    crack, hole = rows_of(defect_types(material([run(ONE)])))
    assert (crack["defect type"], crack["images"], crack["missed"], crack["recall"]) == ("crack", 2, 1, 0.5)
    assert crack["image AUROC"] == 7 / 8
    assert (hole["defect type"], hole["images"], hole["missed"], hole["recall"]) == ("hole", 2, 0, 1)
    assert hole["image AUROC"] == 1
    at = finding(ONE, PART, threshold=6.0)  # a score at the threshold is found
    assert [r["missed"] for r in rows_of(defect_types(material([at])))] == [1, 0]


def test_the_hardest_image_is_wrong_in_most_runs() -> None:
    """The crack lies .1 below both thresholds; the normal image 3.5 above one, and right by .1 in the other run."""
    labels, at = [0, 0, 1, 1], 4.5
    one, other = images([1, 8, 4.4, 9], labels), images([1, 4.4, 4.4, 9], labels)
    crack, normal = rows_of(hardest(material([run(ONE, one, at), run(OTHER, other, at)])))
    spreads = [float(np.std(part.scores)) for part in (one, other)]
    assert (crack["image"], crack["judged"], crack["wrong in runs"], crack["of"]) == ("2.png", "miss", 2, 2)
    assert crack["mean margin"] == pytest.approx((-0.1 / spreads[0] - 0.1 / spreads[1]) / 2)
    assert (normal["image"], normal["judged"], normal["wrong in runs"], normal["of"]) == ("1.png", "false alarm", 1, 2)
    assert normal["mean margin"] == pytest.approx((-3.5 / spreads[0] + 0.1 / spreads[1]) / 2)
    (edge,) = rows_of(hardest(material([run(ONE, images([4.5, 1, 4.5], [0, 0, 1]), at)])))
    assert edge["judged"] == "false alarm"  # a score at the threshold is flagged


def test_the_leaderboard_of_repeats_shows_their_mean() -> None:
    """.7 and .9: .8, and by t at one degree of freedom far more than the metric's range; the first alone is no row."""
    runs = [finding(ONE, PART, repeat=i, metrics={"image_auroc": v}) for i, v in enumerate((0.7, 0.9))]
    section = leaderboard(material(runs, repeats=2))
    assert section is not None
    (row,) = section.tables[0].rows
    cell = row[section.tables[0].heads.index("image AUROC")]
    assert (cell.value, float(cell.low), float(cell.high)) == (pytest.approx(0.8), 0, 1)


def test_a_row_of_the_leaderboard_has_its_own_figure_and_interval() -> None:
    """Category a parts its classes, b does not; the average of 1 and .875 is first, with an interval of both."""
    runs = [run(ONE, PARTED, category="a", image_auroc=1.0), run(ONE, category="b", image_auroc=0.9375)]
    found = material(runs)
    section = leaderboard(found)
    assert section is not None
    table = section.tables[0]
    column = table.heads.index("image AUROC")
    cells = {row[0].text: row[column] for row in table.rows}
    assert list(cells) == ["macro", "a", "b"]
    assert {name: cell.value for name, cell in cells.items()} == {"macro": 0.96875, "a": 1, "b": 0.9375}
    assert (float(cells["a"].low), float(cells["a"].high)) == (1, 1)
    assert float(cells["b"].low) < float(cells["macro"].low) < 1
    assert [row[0].text for row in section.tables[1].rows] == ["one"]  # averages alone
    assert section.tables[1].rows[0][section.tables[1].heads.index("image AUROC")].value == 0.96875


def test_robustness_tells_each_regime_with_its_share_lost() -> None:
    """.8 to .6 is a quarter, .9 to .9 nothing; on average .85 to .75 is 11.8 %. False alarms are the regime's own."""
    figures = {("a", "clean"): (0.8, 0.1), ("b", "clean"): (0.9, 0.2),
               ("a", "no_adaptation"): (0.6, 0.5), ("b", "no_adaptation"): (0.9, 0.7)}  # fmt: skip
    runs = [
        run(ONE, category=c, regime=r, image_auroc=a, image_fpr=f, image_fnr=0.0) for (c, r), (a, f) in figures.items()
    ]
    (section,) = robustness(material(runs))
    rows = rows_of(section)
    assert section.tables[0].bold == {0, 1}  # the averages
    shown = [(r["category"], r["regime"], r["image AUROC"], r["false alarms"], r["relative drop, %"]) for r in rows]
    none = "\N{EN DASH}"
    assert shown == [
        ("macro", "clean", pytest.approx(0.85), pytest.approx(0.15), none),
        ("macro", "no adaptation", pytest.approx(0.75), pytest.approx(0.6), pytest.approx(100 * 0.1 / 0.85)),
        ("a", "clean", 0.8, 0.1, none),
        ("a", "no adaptation", 0.6, 0.5, pytest.approx(25)),
        ("b", "clean", 0.9, 0.2, none),
        ("b", "no adaptation", 0.9, 0.7, 0),
    ]
    assert robustness(material(runs[:2])) == []


def test_what_a_unified_model_loses_is_separate_less_unified() -> None:
    """.9 of the category's own model against .7 of the one for all: .2 lost."""
    runs = [run(setting(s, i, method="m", scope=s), image_auroc=v, image_fpr=f)
            for i, (s, v, f) in enumerate((("category", 0.9, 0.1), ("unified", 0.7, 0.3)))]  # fmt: skip
    row = rows_of(unified(material(runs)))[-1]
    assert (row["setting"], row["drop of image AUROC"]) == ("unified", pytest.approx(0.2))
    assert row[METRICS["image_fpr"].title] == 0.3


def comparison(p: float, difference: float, **values: Any) -> Comparison:
    """Of one and other in the same category and regime."""
    return compared_by_hand(ONE, OTHER, difference, p_holm=p, **values)


def test_comparisons_are_counted_by_their_verdict() -> None:
    """Two better, one equal, three not told apart; macro rows first; a small p with four digits."""
    equal = {"equivalence": (-0.005, 0.005)}
    made = [comparison(0.001, 0.2), comparison(0.04, -0.2), comparison(0.5, 0.0, **equal),
            *(comparison(0.2, 0.1) for _ in range(2)), comparison(0.3, 0.1, category="macro")]  # fmt: skip
    section = compared(material([run(ONE), run(OTHER)]), made)
    assert section is not None
    assert "6 paired comparisons" in section.text[0]
    assert (
        "in 2 one setting is better (corrected p below 0.05), in 1 both are equal within 0.01, in 3" in section.text[0]
    )
    rows = rows_of(section)
    assert [row[8].tone for row in section.tables[0].rows] == ["", "good", "good", "good", "", ""]
    assert [r["category"] for r in rows] == ["macro", *["brick"] * 5]
    assert (rows[0]["regime"], section.tables[0].rows[0][5].text) == ("clean", "+0.100")
    assert [r["verdict"] for r in rows][1:4] == ["first better", "second better", "equal within 0.01"]
    assert [section.tables[0].rows[i][7].text for i in (1, 2)] == ["0.0010", "0.040"]


def test_methods_are_ranked_over_five_categories() -> None:
    """Better by .01 to .04 in four, worse by .05 in one: ranks 1.2 and 1.8; Wilcoxon's exact p is 2 x 10 / 32."""
    gains = dict(zip("abcde", (0.01, 0.02, 0.03, 0.04, -0.05), strict=True))
    runs = [run(s, category=c, image_auroc=0.8 + (gain if s is ONE else 0)) for s in (ONE, OTHER)
            for c, gain in gains.items()]  # fmt: skip
    unfinished = run(setting("third", 2), category="a", image_auroc=1.0)
    section = compared(material([*runs, unfinished]), [comparison(0.2, 0.1)])
    assert section is not None
    assert section.text[1] == "Over 5 categories, image AUROC: Wilcoxon p 0.625; average ranks one 1.20, other 1.80."
    assert rank_leads(material([f for f in runs if f.record.category != "e"]), "clean", "image_auroc") is None


def test_tuning_sets_validation_against_test() -> None:
    """.95 where it was tuned and .85 on the test part: .1 too much; a setting without a name was not tuned."""
    figures = {"val_image_auroc": 0.95, "image_auroc": 0.85}
    runs = [run(setting("tuned", method="m"), setting="tuned", **figures), run(OTHER, **figures)]
    found = material(runs)
    (row,) = _against(found)
    assert [c.value for c in row[3:]] == pytest.approx([0.95, 0.85, 0.1])
    assert (row[0].text, row[2].text) == ("m, tuned", "image AUROC")
