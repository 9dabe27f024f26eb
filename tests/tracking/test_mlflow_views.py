"""What MLflow's UI is given to show: tables, names, heatmaps. That it shows them is seen in a browser."""

from __future__ import annotations

import base64
import json
import re
import sys
import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from adloc.metrics.registry import METRICS
from adloc.study_file.spec import StudySpec
from adloc.tracking.experiment import Tracking
from adloc.tracking.index import TrackingIndex
from adloc.tracking.machine import MachineWatch
from adloc.tracking.naming import run_name
from adloc.tracking.place import Place
from adloc.tracking.track import compared
from adloc.tracking.views import View, link, views_of
from adloc.tuning.trial_records import TrialRecord
from adloc.ui import tables
from adloc.workspace import Workspace
from handmade import STARTED, record
from servers import mlflow_server

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.answer.results import Row
    from chromium import Chromium

RATIOS = (0.01, 0.05, 0.2)


def spec() -> StudySpec:
    """A study of one method with three settings."""
    patchcore = {"method": "patchcore", "params": {"backbone": "resnet18"}, "grid": {"coreset_ratio": list(RATIOS)}}
    values = {"study": "s", "description": "How small?", "dataset": {"kind": "textures"}, "methods": [patchcore]}
    return StudySpec.model_validate(values)


def row(category: str, ratio: float, **values: Any) -> Row:
    """A row of the results, with no figure but those given."""
    who: Row = {
        "study": "s", "category": category, "method": "patchcore", "regime": "clean", "scope": "category",
        "threshold_scope": "category", "repeat": 0, "run_id": f"{category}-{ratio}", "status": "done", "setting": "",
        "params.coreset_ratio": ratio, "params.backbone": "resnet18",
    }  # fmt: skip
    return {**who, **dict.fromkeys(METRICS), **values}


ROWS = [row(name, ratio, val_image_auroc=0.9, image_auroc=0.8) for name in ("brick", "grass") for ratio in RATIOS]
ROWS += [row("macro", ratio, val_image_auroc=0.9, image_auroc=0.8) for ratio in RATIOS]


def state_of(view: View, owner: str) -> dict[str, Any]:
    """What the UI unpacks from a view's tag, by its own rule: "deflate;", then zlib in base64."""
    tag = json.loads(view.tag(owner, "s", 1))
    assert set(tag) == {"name", "createdAt", "updatedAt", "state"}
    scheme, _, packed = tag["state"].partition(";")
    assert scheme == "deflate"
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def test_tables_have_what_differs_and_the_figures_that_are_there() -> None:
    """No column in which all rows are equal or empty; best validation figures first: test figures choose nothing."""
    runs, averages = views_of(spec(), ROWS, [], macro=True)
    figures = ("metrics.`val/image_auroc`", "metrics.`image/auroc`")
    assert runs.columns == ("tags.`adloc.category`", "params.`coreset_ratio`", *figures)
    assert averages.columns == ("params.`coreset_ratio`", *figures)
    state = state_of(runs, "")
    assert state["searchFilter"] == "tags.`adloc.kind` = 'run'"
    assert state_of(averages, "")["searchFilter"] == "tags.`adloc.kind` = 'macro'"
    assert (state["orderByKey"], state["orderByAsc"]) == (figures[0], False)
    assert state["selectedColumns"] == list(runs.columns)


def test_tables_on_a_server_are_of_one_workspace() -> None:
    """By key and by filter, so that two workspaces with one study do not write over each other's."""
    (runs, *_) = views_of(spec(), ROWS, [], macro=False)
    assert runs.key("") == "adloc-runs"
    assert runs.key("a1") != runs.key("b2")
    assert state_of(runs, "a1")["searchFilter"].endswith("and tags.`adloc.workspace` = 'a1'")


def test_trials_have_a_table_where_there_are_any() -> None:
    """Ordered by what was searched for, with the values that were tried."""
    base = {
        "study": "s", "search": "patchcore", "method": "patchcore", "revision": 1, "repeat": 0, "category": None,
        "state": "complete", "params": {}, "started": STARTED, "seconds": 1.0,
    }  # fmt: skip
    trials = [
        TrialRecord.model_validate({**base, "number": i, "hyperparameters": {"coreset_ratio": r, "backbone": "x"}})
        for i, r in enumerate(RATIOS)
    ]
    (view,) = views_of(spec(), [], trials, macro=False)
    assert view.columns == ("metrics.`val/image_auroc`", "params.`coreset_ratio`", "metrics.`trial/number`")
    assert state_of(view, "")["searchFilter"] == "tags.`adloc.kind` = 'trial'"


def test_names_differ_in_their_first_letters() -> None:
    """Of settings of one method on one category, which the UI has beside each other."""
    tags = {"adloc.method": "patchcore", "adloc.regime": "clean", "adloc.scope": "category", "adloc.repeat": "0"}
    names = [run_name("brick", {"coreset_ratio": ratio}, ["coreset_ratio"], tags, {}) for ratio in RATIOS]
    assert names == ["0.01 brick clean patchcore", "0.05 brick clean patchcore", "0.2 brick clean patchcore"]


def test_description_says_what_is_compared() -> None:
    """In a line; averages are no runs."""
    assert compared(ROWS) == "6 runs: method patchcore; regime clean; categories brick, grass."
    assert compared([]) == ""


def test_ui_links_the_tables_of_the_latest_studies(tmp_path: Path) -> None:
    """Those of the workspace's own database, which is the one that it serves."""
    workspace = Workspace(tmp_path)
    for place in (Place(workspace), Place(workspace, "http://a:1")):
        index = TrackingIndex(place.index_path("s"))
        index.views = {"runs": link("", "1", "own" if not place.server else "foreign")}
        index.save()
    assert tables(workspace, None) == [
        ("  s: runs", "/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=own")
    ]
    assert tables(workspace, "another") == []


def test_heatmaps_of_all_runs_have_one_key(tmp_path: Path) -> None:
    """The images that all runs of a category show, as MLflow's own client would log them; this run's own are none."""
    from mlflow import MlflowClient

    place, folder = Place(Workspace(tmp_path / "workspace")), tmp_path / "record"
    (folder / "heatmaps").mkdir(parents=True)
    for name in ("00-common-cut-003", "01-common-good-001", "02-lowest-anomaly-cut-001"):
        Image.fromarray(np.zeros((60, 400, 3), dtype=np.uint8)).save(folder / "heatmaps" / f"{name}.png")
    tracking = Tracking(place, spec(), ["coreset_ratio"])
    tracking.log(record(params={"coreset_ratio": 0.1}), folder)
    client = MlflowClient(place.uri)
    (run,) = client.search_runs(["1"], "tags.`adloc.kind` = 'run'")
    ours = {file.path for file in client.list_artifacts(run.info.run_id, "images")}
    by_mlflow = client.create_run("1")
    for step in range(2):
        picture = Image.open(folder / "heatmaps" / "00-common-cut-003.png")
        client.log_image(by_mlflow.info.run_id, picture, key="heatmap", step=step, timestamp=1, synchronous=True)
    theirs = {file.path for file in client.list_artifacts(by_mlflow.info.run_id, "images")}

    def shapes(paths: set[str]) -> list[str]:
        return sorted(re.sub(r"timestamp\+\d+\+[0-9a-f-]{36}", "", path) for path in paths)

    assert shapes(ours) == shapes(theirs)
    known = client.get_run(by_mlflow.info.run_id).data.tags["mlflow.loggedImages"]
    assert run.data.tags["mlflow.loggedImages"] == known


def test_system_metrics_are_asked_for_by_mlflows_switch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """None by default; without psutil it is said that there will be none."""
    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", raising=False)
    MachineWatch("run", "nowhere").end()
    assert not caplog.records
    monkeypatch.setitem(sys.modules, "psutil", None)
    for name in [n for n in sys.modules if n.startswith("mlflow.system_metrics.system_metrics_monitor")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    MachineWatch("run", "nowhere").end()
    assert "psutil is not installed" in caplog.text


@pytest.mark.slow
def test_browser_shows_a_flat_table(tmp_path: Path, browser: Chromium) -> None:
    """Opened by its link the runs are beside each other under the right columns, without parent or averages."""
    workspace = Workspace(tmp_path / "workspace")
    with mlflow_server(tmp_path / "server", f"sqlite:///{tmp_path / 'server.db'}") as server:
        place = Place(workspace, server.address)
        tracking = Tracking(place, spec(), ["coreset_ratio", "backbone"])
        for number, (ratio, validated) in enumerate(zip(RATIOS, (0.91, 0.95, 0.93), strict=True)):
            figures = {"val_image_auroc": validated, "image_auroc": 0.8}
            tracking.log(
                record(run_id=f"r{number}", params={"coreset_ratio": ratio}, metrics=figures), tmp_path / "none"
            )
        tracking.describe([], "", views_of(spec(), ROWS, [], macro=False))
        tracking.end("FINISHED", tmp_path / "none", {})
        (view,) = TrackingIndex(place.index_path("s")).views.values()
        # As wide as all columns: the table has no others in the page.
        wide = {"width": 2400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **wide)
        browser.call("Page.navigate", url=f"{server.address}{view}")
        words = ("3 matching runs", "coreset_ratio", "val/image_auroc", "image/auroc", "adloc.category")
        deadline, seen = time.monotonic() + 60, ""
        while not all(word in seen for word in words) and time.monotonic() < deadline:
            time.sleep(0.5)
            seen = browser.run("document.body.innerText")
        assert [word for word in words if word not in seen] == []
        assert re.findall(r"(?m)^(\S+) brick clean patchcore$", seen) == ["0.05", "0.2", "0.01"]
