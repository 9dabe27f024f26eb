"""The results table: what a macro row averages, sums or leaves empty, and how cells read."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from adloc.answer.results import brief, over_categories, table, varying, write, write_parquet
from adloc.study_file.conditions import Condition
from handmade import record

if TYPE_CHECKING:
    from pathlib import Path


def rows_of(*records: Any, categories: str = "ab") -> list[dict[str, Any]]:
    """The table of a plan of these runs."""
    runs = [SimpleNamespace(group=r.group, run_id=r.run_id, condition=Condition()) for r in records]
    plan: Any = SimpleNamespace(runs=runs, parts=dict.fromkeys(categories))
    return table(plan, records)


def pair(**values: Any) -> list[Any]:
    """Runs of two categories that differ in what is listed."""
    listed = {k: v for k, v in values.items() if isinstance(v, list)}
    return [
        record(run_id=f"r{i}", category=c, **{k: v for k, v in values.items() if k not in listed},
               **{k: v[i] for k, v in listed.items()})
        for i, c in enumerate("ab")
    ]  # fmt: skip


def test_a_macro_row_is_the_mean_and_names_no_threshold() -> None:
    """.6 and .8 are .7; image counts add up; thresholds of two categories have no average."""
    made = pair(metrics=[{"image_auroc": 0.6}, {"image_auroc": 0.8}], threshold=[1.0, 2.0], n_train=[10, 20], n_test=7)
    macro = rows_of(*made)[-1]
    assert (macro["category"], macro["status"], macro["run_id"]) == ("macro", "done", "macro-patchcore-g")
    assert macro["image_auroc"] == pytest.approx(0.7)
    assert (macro["n_train"], macro["n_test"]) == (30, 14)
    assert macro["threshold"] is None


@pytest.mark.parametrize(("scope", "upper", "n_train"), [("category", None, 20), ("global", 0.25, 20)])
def test_bounds_of_several_thresholds_have_no_average(scope: str, upper: float | None, n_train: int) -> None:
    """Of one threshold for all there is one bound; each category's fit has its own images."""
    metrics = {"upper_fpr": 0.25, "expected_fpr": 0.1}
    macro = rows_of(*pair(metrics=metrics, threshold_scope=scope, n_train=10))[-1]
    assert (macro["upper_fpr"], macro["n_train"]) == (upper, n_train)
    assert macro["expected_fpr"] == pytest.approx(0.1)


def test_a_unified_model_was_fitted_once() -> None:
    """On the images of all categories, which every record tells."""
    assert rows_of(*pair(scope="unified", n_train=30))[-1]["n_train"] == 30


def test_a_parameter_of_any_kind_has_a_cell() -> None:
    """Nothing stays nothing, lists are joined, numbers stay numbers, and what else there is becomes words."""
    params = {"k": None, "layers": ["a", "b"], "ratio": 0.1, "more": {"a": 1}}
    (row,) = rows_of(record(params=params))
    assert [row[f"params.{name}"] for name in params] == [None, "a-b", 0.1, "{'a': 1}"]


def test_a_failed_or_missing_run_leaves_the_average_empty() -> None:
    """No mean of what happens to be there; what was tuned apart has no value in common."""
    failed = rows_of(*pair(status=["done", "failed"], metrics={"image_auroc": 0.6}))[-1]
    assert (failed["status"], failed["image_auroc"]) == ("incomplete", None)
    lacking = rows_of(*pair(metrics=[{"image_auroc": 0.6}, {}]))[-1]
    assert (lacking["status"], lacking["image_auroc"]) == ("done", None)
    apart = rows_of(*pair(params=[{"k": 1, "b": [2, 3]}, {"k": 2, "b": [2, 3]}]))[-1]
    assert (apart["params.k"], apart["params.b"]) == (None, "2-3")
    assert [r["category"] for r in rows_of(pair()[0])] == ["a"]  # planned for one category: no average


def test_only_what_tells_rows_apart_is_a_column() -> None:
    """Category and method always; a parameter that one method alone has does not tell its rows apart."""
    made = [record(run_id="x", params={"k": 1}), record(run_id="y", method="padim", params={"n": 5})]
    assert varying(rows_of(*made, categories="a")) == ["category", "method"]
    made.append(record(run_id="z", params={"k": 2}, regime="no_adaptation"))
    assert varying(rows_of(*made, categories="a")) == ["category", "method", "regime", "params.k"]


def test_cells_read_as_their_columns_do() -> None:
    """Figures with four digits, costs short, parameters as they were typed, "-" for nothing."""
    values = {"image_auroc": 0.91234, "fit_s": 12.34, "score_ms_per_image": 0.1234, "model_mb": 1.0}
    made = [record(run_id="x", params={"k": 0.05}, metrics=values), record(run_id="y", params={"k": 0.1})]
    heads, cells = brief(rows_of(*made, categories="abc"))
    shown = dict(zip(heads, cells[0], strict=True))
    assert shown == {
        "category": "brick", "method": "patchcore", "k": "0.05", "threshold": "-", "image_auroc": "0.9123",
        "image_f1": "-", "pixel_auroc": "-", "pixel_aupro": "-", "fit_s": "12.3", "score_ms_per_image": "0.12",
        "model_mb": "1.0",
    }  # fmt: skip
    assert brief([]) == ([], [])


def test_latex_escapes_what_it_would_read() -> None:
    """Underscores of heads and percent signs of values."""
    text = write(rows_of(record(category="a_b", method="50%"), categories="abc"), "latex")
    assert text.startswith("\\begin{tabular}{llllllllll}")
    assert "a\\_b & 50\\% & " in text


def test_files_read_back_as_they_were(tmp_path: Path) -> None:
    """In full digits, empty where there is nothing; a parameter that is a number here and a word there is a word."""
    rows: list[dict[str, Any]] = [{"k": 1, "v": 1 / 3, "n": None}, {"k": "x", "v": 0.5, "n": 2}]
    assert write(rows, "csv").splitlines() == ["k,v,n", "1,0.3333333333333333,", "x,0.5,2"]
    assert write([], "csv") == ""
    assert json.loads(write(rows, "json")) == rows
    write_parquet(rows, tmp_path / "t.parquet")
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert frame["k"].tolist() == ["1", "x"]
    assert frame["v"].tolist() == [1 / 3, 0.5]


def test_what_is_fitted_is_whole_and_what_is_measured_a_mean() -> None:
    """Sizes and fit times of a category's own models add up; a unified model has one; all else is averaged."""
    for name in ("model_mb", "fit_s"):
        assert over_categories(name, [1.0, 2.0], "category") == 3.0
        assert over_categories(name, [2.0, 3.0], "unified") == 2.0
    for scope in ("category", "unified"):
        assert over_categories("image_auroc", [0.6, 0.9], scope) == pytest.approx(0.75)
