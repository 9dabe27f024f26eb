"""Studies of more results than anybody reads: what is shown of them, chosen on the validation part, and how fast."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from adloc.answer import material as materials
from adloc.answer.compared import compare_settings
from adloc.answer.foremost import foremost, setting_of
from adloc.answer.results import averages, over_categories, write
from adloc.cli import tables
from adloc.cli.fitting import plain_table
from adloc.metrics.registry import METRICS
from adloc.report.sections.boards import leaderboard
from handmade import finding, images, material, setting

if TYPE_CHECKING:
    import pytest

    from adloc.answer.finding import Finding

PART = images([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], [0, 0, 0, 1, 1, 1])
CELL = st.none() | st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans()


def run(index: int, validated: float | None, tested: float = 0.5, category: str = "brick") -> Finding:
    """One of the settings of a sweep, with its validation and its test figure."""
    of = setting(f"k{index}", index, method="patchcore", params={"neighbours": index})
    return finding(of, PART, category=category, metrics={"val_image_auroc": validated, "image_auroc": tested})


def five() -> list[Finding]:
    """The best on test images is the worst on validation images."""
    return [run(i, v, t) for i, (v, t) in enumerate([(0.6, 0.99), (0.9, 0.5), (None, 0.9), (0.8, 0.6), (0.9, 0.4)])]


def test_the_validation_part_says_which_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lead, then those that follow it on validation images, in the order of the study file; the rest is counted."""
    of = material(five())
    assert of.shown == of.settings
    monkeypatch.setattr(materials, "MOST_SHOWN", 6)  # rows: a category and the average, so three settings
    few = material(five())
    assert [s.label for s in few.shown] == ["k1", "k3", "k4"]
    board = leaderboard(few)
    assert board is not None
    assert [row[1].text for row in board.tables[0].rows] == ["k1", "k3", "k4"]
    assert "Of 5 settings the 3 with the best validation figure are shown" in board.notes[-1]
    assert {c.second.label for c in compare_settings(few)} == {"k3", "k4"}


def test_a_terminal_shows_the_foremost_settings_whole() -> None:
    """By validation figures in the first regime alone, as many as fit; one that was not validated comes last."""
    rows = material(five()).answer.rows
    assert foremost(rows, len(rows)) is None
    among = foremost(rows, 5)
    assert among is not None
    shown = [row["params.neighbours"] for row in rows if setting_of(row) in among]
    assert set(shown) == {1, 4}  # each with its average
    assert len(shown) == 4


def test_a_terminal_says_how_many_rows_it_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a pipe has all of them."""
    rows = material(five()).answer.rows  # of one category, whose average is not printed
    monkeypatch.setattr(tables, "MOST_LINES", 3)
    tables.print_results(rows)
    assert len([line for line in capsys.readouterr().out.splitlines() if "patchcore" in line]) == 5
    monkeypatch.setattr(tables, "_console", lambda: Console(force_terminal=True, width=120))
    tables.print_results(rows)
    out = capsys.readouterr().out
    assert len([line for line in out.splitlines() if "brick" in line]) == 3
    assert "2 of 5 rows are not shown" in out


def test_a_plain_table_has_every_column_at_any_width() -> None:
    """Words to the left, numbers to the right, two blanks between."""
    heads, lines = ["method", *(f"figure_{i}" for i in range(40))], [["padim", *("0.5",) * 40]]
    first, second = plain_table(heads, lines).splitlines()
    assert len(first) > 400
    assert second.split() == lines[0]
    assert plain_table(["method", "n"], [["a", "10"]]) == "method   n\na       10\n"


@given(st.lists(st.dictionaries(st.text(), CELL, min_size=1), max_size=4))
def test_results_as_json_read_back_the_same(rows: list[dict[str, Any]]) -> None:
    """To the bit."""
    assert json.loads(write(rows, "json")) == rows


def test_results_as_json_are_a_line_a_figure() -> None:
    rows: list[dict[str, Any]] = [
        {"run_id": "a", "image_f1": 0.5, "draw": None},
        {"run_id": "b", "image_f1": 1, "draw": 2},
    ]
    assert write(rows, "json") == json.dumps(rows, indent=1)


FIGURES = st.integers(1, 40).flatmap(
    lambda n: st.lists(
        st.dictionaries(
            st.sampled_from(["image_auroc", "pixel_aupro", "model_mb", "fit_s"]),
            st.lists(st.floats(-1e6, 1e6), min_size=n, max_size=n),
            min_size=1,
        ),
        max_size=3,
    )
)


@given(FIGURES, st.sampled_from(["category", "unified"]))
def test_figures_averaged_together_are_those_averaged_one_by_one(
    groups: list[dict[str, list[float]]], scope: str
) -> None:
    """To the bit, however many categories there are."""
    of_a_run = dict.fromkeys(METRICS) | {"scope": scope, "threshold_scope": "category"}
    rows = [
        [of_a_run | dict(zip(values, of, strict=True)) for of in zip(*values.values(), strict=True)]
        for values in groups
    ]
    found = [{name: over_categories(name, of, scope) for name, of in values.items()} for values in groups]
    assert list(averages(rows)) == found


def test_no_average_is_made_of_what_one_category_lacks_or_of_bounds_of_several() -> None:
    figures = {"image_auroc": 0.5, "threshold": 1.0, "upper_fpr": 0.1, "image_f1": 0.75}
    one = dict.fromkeys(METRICS) | {"scope": "unified", "threshold_scope": "category"} | figures
    assert list(averages([[one, one | {"image_f1": None}]])) == [{"image_auroc": 0.5}]
    whole = [each | {"threshold_scope": "global"} for each in (one, one)]
    assert list(averages([whole])) == [{"image_auroc": 0.5, "upper_fpr": 0.1, "image_f1": 0.75}]
