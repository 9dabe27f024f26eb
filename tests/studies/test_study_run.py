"""A study through the real command line into a real MLflow store, on a tiny dataset."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from adloc.answer.results import SIZES, WHO
from adloc.cli import cli
from adloc.metrics.registry import METRICS
from adloc.record.records import Records
from adloc.study_file.validation import load_study
from adloc.tracking.place import Place
from adloc.workspace import Workspace
from checkout import ROOT
from commandline import adloc
from forked import Forked

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.usefixtures("no_report")

STUDY = """\
study: tiny
description: Does it run?
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: [48, 64]}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, smoothing_sigma: 1}}
    grid: {{coreset_ratio: [0.1, 0.5]}}
heatmaps: 3
models: none
"""


def rows_of(file: Path, workspace: Path) -> list[dict[str, Any]]:
    """The study's results."""
    rows: list[dict[str, Any]] = json.loads(adloc("study", "results", file, "--workspace", workspace, "--json").stdout)
    return rows


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Everything that a run found, costs left out, by run."""
    costs = ("fit_s", "score_ms_per_image", "peak_memory_mb")
    return {row["run_id"]: [v for k, v in row.items() if k not in costs] for row in rows}


@pytest.fixture(scope="module")
def study_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, written down."""
    path = tmp_path_factory.mktemp("study") / "tiny.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="module")
def finished(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study has run; to read only."""
    workspace = tmp_path_factory.mktemp("workspace")
    outcome = json.loads(adloc("study", "run", study_file, "--workspace", workspace, "--json").stdout)["outcome"]
    assert outcome["n_done"] == 4
    assert outcome["n_failed"] == 0
    return workspace


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace, to change."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


def test_results_have_the_columns_of_the_contract(study_file: Path, finished: Path) -> None:
    """One row a run and one macro row a variant, with every column by its contract name."""
    rows = rows_of(study_file, finished)
    assert [row["category"] for row in rows] == ["gear", "gear", "strip", "strip", "macro", "macro"]
    contract = """threshold image_auroc image_auprc image_f1 image_accuracy image_precision image_recall
        pixel_auroc pixel_aupro pixel_aupro_005 val_image_auroc val_image_auprc val_image_f1 val_image_accuracy
        val_image_precision val_image_recall val_pixel_auroc fit_s score_ms_per_image model_mb
        params.backbone params.weights params.layers params.patch_size params.patch_stride params.coreset_ratio
        params.projection_dim params.neighbours params.metric params.reweight params.image_score
        params.smoothing_sigma params.image.size params.image.crop"""
    for row in rows:
        assert set(row) >= {*WHO, "domain", *SIZES, *contract.split()}
        assert row["status"] == "done"
        assert list(row) == list(rows[0])


def test_record_tells_what_it_was_made_with(study_file: Path, finished: Path) -> None:
    """Versions, device, commit and the weights' hash stand in every record."""
    git = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    head = git.stdout[:12]
    for row in rows_of(study_file, finished)[:4]:
        record = json.loads((finished / "studies" / "tiny" / "records" / row["run_id"] / "record.json").read_text())
        assert {"adloc", "torch", "device", "commit", "weights_sha256"} <= set(record["environment"])
        assert record["environment"]["device"]
        if (ROOT / ".git").exists():
            assert record["environment"]["commit"].partition("+")[0] == head


def test_macro_is_the_mean_over_categories(study_file: Path, finished: Path) -> None:
    """Metrics are averaged, sizes added up, and a threshold is nobody's."""
    rows = rows_of(study_file, finished)
    gear, strip, macro = rows[0], rows[2], rows[4]
    assert gear["params.coreset_ratio"] == strip["params.coreset_ratio"] == macro["params.coreset_ratio"]
    assert macro["image_auroc"] == pytest.approx((gear["image_auroc"] + strip["image_auroc"]) / 2)
    assert macro["n_test"] == gear["n_test"] + strip["n_test"]
    assert macro["threshold"] is None


def test_average_over_some_of_the_categories_is_not_done(study_file: Path, workspace: Path) -> None:
    """While a category's run is still to come, the macro row says so and has no figure, but those of the others."""
    whole = rows_of(study_file, workspace)
    shutil.rmtree(workspace / "studies" / "tiny" / "records" / whole[2]["run_id"])  # strip, the first ratio
    rows = rows_of(study_file, workspace)
    assert [(row["category"], row["status"]) for row in rows] == [
        ("gear", "done"), ("gear", "done"), ("strip", "done"), ("macro", "incomplete"), ("macro", "done"),
    ]  # fmt: skip
    assert rows[3]["run_id"] == whole[4]["run_id"]
    assert all(rows[3][name] is None for name in METRICS)
    assert rows[4] == whole[5]
    shutil.rmtree(workspace / "studies" / "tiny" / "records" / whole[3]["run_id"])  # now strip is not there at all
    rows = rows_of(study_file, workspace)
    assert [(row["category"], row["status"]) for row in rows[2:]] == [("macro", "incomplete")] * 2


def test_bright_and_dark_blobs_are_found(study_file: Path, finished: Path) -> None:
    """The detector does its work: glaring defects are found and located."""
    for row in rows_of(study_file, finished):
        assert row["image_auroc"] > 0.9
        assert row["pixel_auroc"] > 0.9


def test_metrics_agree_with_scikit_learn_on_the_recorded_scores(study_file: Path, finished: Path) -> None:
    """Figures in the table follow from the scores in images.csv, recomputed by a reference."""
    import pandas as pd
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    for row in rows_of(study_file, finished)[:4]:
        images = pd.read_csv(finished / "studies" / "tiny" / "records" / row["run_id"] / "images.csv")
        test = images[images["part"] == "test"]
        assert len(test) == row["n_test"]
        assert row["image_auroc"] == pytest.approx(roc_auc_score(test["label"], test["score"]), abs=1e-12)
        assert row["image_auprc"] == pytest.approx(average_precision_score(test["label"], test["score"]), abs=1e-12)
        assert row["image_f1"] == pytest.approx(f1_score(test["label"], test["score"] >= row["threshold"]), abs=1e-12)


def test_run_again_computes_nothing(study_file: Path, workspace: Path) -> None:
    """A finished study is finished: no stage, no record, no new MLflow run."""
    before = figures(rows_of(study_file, workspace))
    outcome = json.loads(adloc("study", "run", study_file, "--workspace", workspace, "--json").stdout)["outcome"]
    assert outcome == {"n_done": 4, "n_computed": 0, "n_failed": 0, "n_stages": 0}
    assert figures(rows_of(study_file, workspace)) == before
    assert len(mlflow_runs(workspace)) == 1 + 4 + 2


@pytest.mark.slow
def test_records_alone_suffice(study_file: Path, workspace: Path) -> None:
    """Without the store and MLflow, the records still give the table, and MLflow is made again from them."""
    before = figures(rows_of(study_file, workspace))
    shutil.rmtree(workspace / "store")
    shutil.rmtree(workspace / "artifacts")
    (workspace / "mlflow.db").unlink()
    outcome = json.loads(adloc("study", "run", study_file, "--workspace", workspace, "--json").stdout)["outcome"]
    assert outcome["n_stages"] == 0
    assert figures(rows_of(study_file, workspace)) == before
    assert len(mlflow_runs(workspace)) == 1 + 4 + 2


@pytest.mark.slow
def test_costs_are_whole_after_the_features_have_gone(study_file: Path, workspace: Path) -> None:
    """Features leave the store first; a run that is recorded again without them has cost what it did."""
    before = {row["run_id"]: row for row in rows_of(study_file, workspace)}
    shutil.rmtree(workspace / "studies" / "tiny" / "records")
    shutil.rmtree(workspace / "store" / "features")
    outcome = json.loads(adloc("study", "run", study_file, "--workspace", workspace, "--json").stdout)["outcome"]
    assert outcome == {"n_done": 4, "n_computed": 4, "n_failed": 0, "n_stages": 0}
    for row in rows_of(study_file, workspace):
        for name in ("fit_s", "score_ms_per_image", "model_mb"):
            assert row[name] == before[row["run_id"]][name] > 0


def test_moved_workspace_keeps_its_artifacts_together(study_file: Path, workspace: Path) -> None:
    """MLflow stores absolute paths: a workspace that was moved is mended when it is next used."""
    adloc("study", "run", study_file, "--workspace", workspace)
    for run in mlflow_runs(workspace):
        assert run.info.artifact_uri.startswith(workspace.as_uri())


def test_lost_mlflow_index_makes_no_duplicates(study_file: Path, workspace: Path) -> None:
    """mlflow.json is an index too: without it the runs are found by their tags."""
    (workspace / "studies" / "tiny" / "mlflow.json").unlink()
    adloc("study", "run", study_file, "--workspace", workspace)
    assert len(mlflow_runs(workspace)) == 1 + 4 + 2


def test_run_that_was_not_remembered_is_shown_once(study_file: Path, workspace: Path, monkeypatch: Any) -> None:
    """Killed when MLflow has the whole of a run and the index does not know it: it is replaced, not doubled."""
    from adloc.tracking.experiment import Tracking
    from adloc.tracking.runs import OwnRuns

    class KilledError(BaseException):
        """What SIGKILL would do, as far as this process can tell."""

    _, spec = load_study(study_file, [])
    records = Records(workspace / "studies" / "tiny")
    found = next(records.all())
    new = found.model_copy(update={"run_id": "gear-patchcore-new"})
    whole = OwnRuns.remember

    def remember(self: OwnRuns, run_id: str, mlflow_run_id: str, key: str) -> None:
        if key:
            raise KilledError
        whole(self, run_id, mlflow_run_id, key)

    def log() -> None:
        Tracking(Place(Workspace(workspace)), spec, list(found.params)).log(new, records.path(found.run_id))

    with monkeypatch.context() as patched:
        patched.setattr(OwnRuns, "remember", remember)
        with pytest.raises(KilledError):
            log()
    log()
    runs = [run for run in mlflow_runs(workspace) if run.data.tags.get("adloc.run_id") == new.run_id]
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert len(mlflow_runs(workspace)) == 1 + 4 + 2 + 1


def test_extended_grid_computes_only_what_is_new(study_file: Path, workspace: Path) -> None:
    """One more ratio: no backbone pass, and only its own stages beside the longer coreset."""
    override = "methods[0].grid.coreset_ratio=[0.1, 0.25, 0.5]"
    result = adloc("study", "run", study_file, "--workspace", workspace, "--set", override, "--json")
    outcome = json.loads(result.stdout)["outcome"]
    # per category: search, scores and evaluation of validation and test part, the threshold, and the segmentation
    assert outcome == {"n_done": 6, "n_computed": 2, "n_failed": 0, "n_stages": 2 * 8}


@pytest.mark.slow
def test_damaged_artifact_is_computed_again(study_file: Path, workspace: Path) -> None:
    """A damaged coreset costs its own stage, and gives the same figures."""
    before = figures(rows_of(study_file, workspace))
    shutil.rmtree(workspace / "studies" / "tiny" / "records")
    (path, *_) = (workspace / "store" / "patchcore.coreset").rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x10
    path.write_bytes(content)
    outcome = json.loads(adloc("study", "run", study_file, "--workspace", workspace, "--json").stdout)["outcome"]
    assert outcome["n_stages"] <= 1
    assert figures(rows_of(study_file, workspace)) == before


@pytest.mark.slow
def test_batch_size_and_order_of_categories_change_nothing(study_file: Path, finished: Path, tmp_path: Path) -> None:
    """Figures are the same to the last digit."""
    result = adloc(
        "study", "run", study_file, "--workspace", tmp_path, "--batch-size", "3",
        "--set", "dataset.categories=[strip, gear]", "--json",
    )  # fmt: skip
    assert figures(json.loads(result.stdout)["results"]) == figures(rows_of(study_file, finished))


@pytest.mark.slow
def test_failed_run_is_recorded_and_the_others_go_on(study_file: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Exit code 3, the failure with its traceback in the record, the other runs done; the next run mends it."""
    from adloc.record import recorder

    whole = recorder._write_heatmaps

    def broken(folder: Path, run: Any, *rest: Any) -> None:
        if run.category == "gear" and run.variant.varied["coreset_ratio"] == 0.5:
            raise RuntimeError("no paint left")
        whole(folder, run, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(recorder, "_write_heatmaps", broken)
        failed = CliRunner().invoke(cli, ["study", "run", str(study_file), "--workspace", str(tmp_path)])
    assert failed.exit_code == 3
    rows = rows_of(study_file, tmp_path)
    assert sorted(row["status"] for row in rows) == ["done", "done", "done", "done", "failed", "incomplete"]
    status = adloc("study", "status", study_file, "--workspace", tmp_path)
    assert "3 of 4 runs done, 1 failed, 0 to come" in status.stdout
    assert "no paint left" in status.stdout
    adloc("study", "run", study_file, "--workspace", tmp_path)
    assert {row["status"] for row in rows_of(study_file, tmp_path)} == {"done"}


def test_mlflow_has_the_names_of_the_contract(finished: Path) -> None:
    """Tags, metrics, params, inputs and artifacts of the parent, a run and a macro row."""
    runs = mlflow_runs(finished)
    by_kind: dict[str, list[Any]] = {}
    for run in runs:
        by_kind.setdefault(run.data.tags["adloc.kind"], []).append(run)
    assert {kind: len(found) for kind, found in by_kind.items()} == {"study": 1, "run": 4, "macro": 2}
    (parent,) = by_kind["study"]
    assert parent.info.status == "FINISHED"
    for run in by_kind["run"] + by_kind["macro"]:
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert {f"adloc.{n}" for n in ["study", "kind", "category", "method", "regime", "scope", "run_id"]} <= set(
            run.data.tags
        )
        assert {"image/auroc", "pixel/aupro", "val/image_auroc", "cost/fit_s", "hp/coreset_ratio"} <= set(
            run.data.metrics
        )
        assert run.data.params["coreset_ratio"] in ("0.1", "0.5")
        assert run.data.params["layers"] == "layer2-layer3"
    run = by_kind["run"][0]
    assert "threshold/image" in run.data.metrics
    contexts = {tag.value for entry in run.inputs.dataset_inputs for tag in entry.tags}
    assert contexts == {"training", "validation", "test"}
    files = artifacts(finished, run)
    assert {"record.json", "images.csv", "curves.json", "manifest.csv"} <= {f.name for f in files}
    assert sum(f.suffix == ".png" for f in files if f.parent.name == "heatmaps") == 3
    assert {"study.yaml", "plan.json", "results.csv"} <= {f.name for f in artifacts(finished, parent)}


def test_manifest_parts_are_disjoint(finished: Path) -> None:
    """Every image of the category is in one part, by content."""
    import pandas as pd

    for path in (finished / "studies" / "tiny" / "records").glob("*/manifest.csv"):
        manifest = pd.read_csv(path)
        assert len(manifest) == 26
        assert manifest["sha256"].is_unique
        assert set(manifest[manifest["part"] == "train"]["label"]) == {0}


@pytest.mark.parametrize("form", ["table", "csv", "latex", "parquet"])
def test_results_come_in_every_format(study_file: Path, finished: Path, tmp_path: Path, form: str) -> None:
    """The same rows, as text for people and as files for programs."""
    output = tmp_path / "out"
    arguments = ["--output", str(output)] if form == "parquet" else []
    text = adloc("study", "results", study_file, "--workspace", finished, "--format", form, *arguments).stdout
    if form == "parquet":
        import pandas as pd

        frame = pd.read_parquet(output)
        assert frame["image_auroc"].tolist() == [row["image_auroc"] for row in rows_of(study_file, finished)]
    else:
        assert text.count("macro") >= 2
        assert "gear" in text


@pytest.mark.slow
def test_standard_split_leaves_thresholded_metrics_empty(study_file: Path, tmp_path: Path) -> None:
    """No validation part: no threshold, no F1, and AUROC all the same."""
    overrides = ["split.train_fraction=1", "split.validation_defects=0", "dataset.categories=[gear]"]
    sets = [part for override in overrides for part in ("--set", override)]
    rows = json.loads(adloc("study", "run", study_file, "--workspace", tmp_path, *sets, "--json").stdout)["results"]
    assert rows[0]["n_train"] == 12
    assert rows[0]["n_val"] == 0
    assert rows[0]["n_test"] == 14
    assert rows[0]["threshold"] is None
    assert rows[0]["image_f1"] is None
    assert rows[0]["val_image_auroc"] is None
    assert rows[0]["image_auroc"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_stopped_study_goes_on_where_it_was(study_file: Path, finished: Path, tmp_path: Path, name: str) -> None:
    """Killed after its first record and run again: nothing lost, nothing twice, the same figures."""
    process = Forked("study", "run", study_file, "--workspace", tmp_path, cwd=tmp_path)
    records = tmp_path / "studies" / "tiny" / "records"
    deadline = time.monotonic() + 120
    while not list(records.glob("[!.]*/record.json")) and process.code is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.signal(getattr(signal, name))
    process.end(60)
    assert process.code == (-signal.SIGKILL if name == "SIGKILL" else 130)
    n_recorded = len(list(records.glob("[!.]*/record.json")))
    assert 1 <= n_recorded < 4
    outcome = json.loads(adloc("study", "run", study_file, "--workspace", tmp_path, "--json").stdout)["outcome"]
    assert outcome["n_done"] == 4
    assert outcome["n_computed"] == 4 - n_recorded
    assert figures(rows_of(study_file, tmp_path)) == figures(rows_of(study_file, finished))
    runs = mlflow_runs(tmp_path)
    assert len(runs) == 1 + 4 + 2
    assert {run.info.status for run in runs} == {"FINISHED"}


def mlflow_runs(workspace: Path) -> list[Any]:
    """Every active run of the study's experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=100))


def artifacts(workspace: Path, run: Any) -> list[Path]:
    """The files of an MLflow run, in the workspace."""
    folder = workspace / "artifacts" / "tiny" / run.info.run_id / "artifacts"
    return [path for path in folder.rglob("*") if path.is_file()]
