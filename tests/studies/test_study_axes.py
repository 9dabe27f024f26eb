"""Studies with axes, through the command line on a tiny dataset: tables, MLflow, report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import commandline

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: axes
description: How many, how clean, how far?
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: [48, 64]}}
split: {{validation_defects: 0.4}}
shift: {{severity: [0.5, 1], factors: each}}
train: {{contamination: [0, 0.1]}}
learning_curve: {{train_images: [1, 4, all], draws: 2}}
regimes: [clean, no_adaptation]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 1, reweight: none, coreset_ratio: 0.2}}
heatmaps: 1
models: none
"""
AXES = ("train_images", "draw", "contamination", "severity", "factors")


def adloc(*arguments: str | Path) -> str:
    """Run the command line in this process; what it printed."""
    return commandline.adloc(*arguments).stdout


@pytest.fixture(scope="module")
def finished(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A workspace in which the study has run, and its results."""
    folder = tmp_path_factory.mktemp("axes")
    (folder / "axes.yaml").write_text(STUDY.format(root=mvtec_tree))
    adloc("study", "run", folder / "axes.yaml", "--workspace", folder / "w")
    rows = json.loads(adloc("study", "results", folder / "axes.yaml", "--workspace", folder / "w", "--json"))
    return folder / "w", rows


def macro(rows: list[dict[str, Any]], regime: str) -> list[tuple[Any, ...]]:
    """Where the macro rows of a regime stand."""
    return [tuple(r[a] for a in AXES) for r in rows if r["category"] == "macro" and r["regime"] == regime]


@pytest.mark.slow
def test_each_condition_has_a_macro_row_of_its_own(finished: Any) -> None:
    """Clean: all images, two numbers with two draws, a contamination; shifted: severity and five factors instead."""
    _, rows = finished
    assert macro(rows, "clean") == [
        ("all", 0, 0, None, None), (1, 0, 0, None, None), (1, 1, 0, None, None), (4, 0, 0, None, None),
        (4, 1, 0, None, None), ("all", 0, 0.1, None, None),
    ]  # fmt: skip
    alone = [("all", 0, 0, 1, f) for f in ("geometry", "colour", "blur", "noise", "illumination")]
    base = ("all", 0, 0, 1, "all")
    others = [("all", 0, 0.1, 1, "all"), ("all", 0, 0, 0.5, "all")]
    assert macro(rows, "no_adaptation") == [base, *others, *alone]
    assert {r["status"] for r in rows} == {"done"}
    assert {r["n_train"] for r in rows if r["train_images"] == 4 and r["category"] == "gear"} == {4}
    assert {r["n_train"] for r in rows if r["contamination"] == 0.1 and r["category"] == "gear"} == {10 + 1}


@pytest.mark.slow
def test_every_condition_of_the_shift_is_compared_with_clean(finished: Any) -> None:
    """The drop of a severity and of a factor is from the one clean run of the same training images."""
    workspace, rows = finished
    drops = pd.read_csv(workspace / "studies" / "axes" / "tables" / "regime_drops.csv")
    assert len(drops) == 2 * 8  # the category and macro, eight conditions
    find = {(r["category"], r["regime"], *(r[a] for a in AXES)): r["image_auroc"] for r in rows}
    for drop in drops.to_dict("records"):
        clean = find[drop["category"], "clean", "all", 0, drop["contamination"], None, None]
        shifted = find[drop["category"], "no_adaptation", "all", 0, drop["contamination"], drop["severity"],
                       drop["factors"]]  # fmt: skip
        assert drop["drop_image_auroc"] == pytest.approx(clean - shifted)


@pytest.mark.slow
def test_mlflow_tells_conditions_apart(finished: Any) -> None:
    """Names and params carry the axes; what a run does not stand on is n/a."""
    from mlflow import MlflowClient

    workspace, rows = finished
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("axes")
    assert experiment is not None
    found = [r for r in client.search_runs([experiment.experiment_id]) if r.data.tags["adloc.kind"] != "study"]
    names = [r.data.tags["mlflow.runName"] for r in found]
    assert len(names) == len(set(names)) == len([row for row in rows if row["category"] != "macro"])  # of one category
    (blurred,) = [r for r in found if r.data.params["factors"] == "blur"]
    assert blurred.data.params["severity"] == "1.0"
    assert "factors blur" in blurred.data.tags["mlflow.runName"]
    assert {r.data.params["severity"] for r in found if r.data.tags["adloc.regime"] == "clean"} == {"n/a"}


@pytest.mark.slow
def test_report_compares_base_runs_and_shows_the_axes_in_sections_of_their_own(finished: Any) -> None:
    """The leaderboard has a row a category and regime; the three questions of the axes are answered below."""
    workspace, rows = finished
    folder = workspace / "studies" / "axes"
    board = pd.read_csv(folder / "tables" / "report_leaderboard.csv")
    assert len(board) == 2  # of the one category; its average would say the same
    rows = [r for r in rows if r["category"] != "macro"]
    base = [r for r in rows if (r["train_images"], r["contamination"]) == ("all", 0)]
    base = [r for r in base if (r["severity"], r["factors"]) in ((None, None), (1, "all"))]
    assert sorted(board["image AUROC"]) == pytest.approx(sorted(r["image_auroc"] for r in base))
    page = (folder / "report.html").read_text()
    assert [page.count(f'<section id="{name}">') for name in ("factors", "images", "contamination")] == [1, 1, 1]
    assert {p.name for p in (folder / "records").glob("*/heatmaps")} == {"heatmaps"}
    assert len(list((folder / "records").glob("*/heatmaps"))) == 2  # the base run of each regime
    drawn = {p.stem for p in (folder / "figures").glob("axis_*.svg")}
    assert {"axis_severity_image_fpr", "axis_train_images_image_auroc", "axis_contamination_image_fnr"} <= drawn
    assert len(list((folder / "figures").glob("factors_*.svg"))) == 1


@pytest.mark.slow
def test_a_finished_study_with_axes_computes_nothing_again(finished: Any) -> None:
    """Records are found by what they are of, conditions too; and MLflow has every run and macro row."""
    workspace, rows = finished
    file = workspace.parent / "axes.yaml"
    plan = json.loads(adloc("study", "plan", file, "--workspace", workspace, "--json"))
    assert plan["n_runs"] == sum(r["category"] != "macro" for r in rows) == 14
    assert {"severity": 0.5, "factors": "all", "contamination": 0.0, "train_images": "all", "draw": 0} in [
        r["condition"] for r in plan["runs"]
    ]
    before = {p.parent.name: p.stat().st_mtime_ns for p in (workspace / "studies").rglob("record.json")}
    adloc("study", "run", file, "--workspace", workspace)
    assert {p.parent.name: p.stat().st_mtime_ns for p in (workspace / "studies").rglob("record.json")} == before
