"""Models in MLflow: which are there, what the UI and the registry make of them, and what no accident leaves behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from adloc.model import export as exporting
from adloc.record.records import Records
from adloc.tracking.experiment import Tracking
from adloc.tracking.models import LoggedModels
from commandline import adloc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow.entities import LoggedModel

pytestmark = pytest.mark.usefixtures("no_report")

STUDY = """\
study: kept
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: [48, 64]}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, smoothing_sigma: 1}}
    grid: {{coreset_ratio: [0.1, 0.5]}}
heatmaps: 0
"""


@pytest.fixture(scope="module")
def study_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, written down: one method with two settings on two categories."""
    path = tmp_path_factory.mktemp("study") / "kept.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="module")
def finished(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study has run with its default; to read only."""
    workspace = tmp_path_factory.mktemp("workspace")
    adloc("study", "run", study_file, "--workspace", workspace)
    return workspace


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace, to change; as it was moved, its first run mends the places in it."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


@pytest.fixture
def tracked() -> Iterator[None]:
    """Leave MLflow's own idea of where its database is as it was."""
    yield
    mlflow.set_tracking_uri(None)


def run(file: Path, workspace: Path, models: str = "best") -> str:
    """Run the study; what it printed."""
    return adloc("study", "run", file, "--workspace", workspace, "--set", f"models={models}").output


def models_of(workspace: Path) -> list[LoggedModel]:
    """The models that MLflow shows."""
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("kept")
    assert experiment is not None
    return list(client.search_logged_models([experiment.experiment_id]))


def ids(workspace: Path) -> set[str]:
    """Ids of the models that MLflow shows; all of them are ready."""
    found = models_of(workspace)
    assert {model.status for model in found} <= {LoggedModelStatus.READY}
    return {model.model_id for model in found}


def records(workspace: Path) -> Mapping[str, dict[str, Any]]:
    """Every record, by the id of its run."""
    paths = (workspace / "studies" / "kept" / "records").glob("*/record.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_best_setting_of_a_method_has_a_model_for_each_category(finished: Path) -> None:
    """By default: the setting that validation images choose, of each category one, ready, with names and figures."""
    found, known = models_of(finished), records(finished)
    assert sorted(model.name for model in found) == ["gear-patchcore", "strip-patchcore"]
    (ratio,) = {known[model.tags["adloc.run_id"]]["params"]["coreset_ratio"] for model in found}
    aurocs = {
        each: sum(r["metrics"]["val_image_auroc"] for r in known.values() if r["params"]["coreset_ratio"] == each)
        for each in (0.1, 0.5)
    }
    assert aurocs[ratio] == max(aurocs.values())
    for model in found:
        record = known[model.tags["adloc.run_id"]]
        assert model.status == LoggedModelStatus.READY
        assert model.tags["adloc.kind"] == "model"
        assert model.params["coreset_ratio"] == str(record["params"]["coreset_ratio"])
        assert model.tags["mlflow.note.content"].startswith(f"# patchcore for {record['category']}")
        figures = {metric.key: metric.value for metric in model.metrics}
        assert figures["image/auroc"] == record["metrics"]["image_auroc"]
        assert figures["threshold/image"] == record["threshold"]


def test_run_shows_its_model(finished: Path) -> None:
    """What the UI's Models column reads: the run's outputs; and its metrics have no second point for it."""
    client = MlflowClient(f"sqlite:///{finished / 'mlflow.db'}")
    for model in models_of(finished):
        shown = client.get_run(model.source_run_id)
        assert shown.data.tags["adloc.run_id"] == model.tags["adloc.run_id"]
        assert [output.model_id for output in shown.outputs.model_outputs] == [model.model_id]
        assert len(client.get_metric_history(model.source_run_id, "image/auroc")) == 1


def test_model_is_an_exported_folder_without_a_pickle(finished: Path) -> None:
    """`adloc model check` proves it in its place in the workspace, and its MLmodel says which model it is."""
    for model in models_of(finished):
        folder = Path(model.artifact_location.removeprefix("file://"))
        assert not [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pt", ".pth", ".py")]
        assert f"model_id: {model.model_id}" in (folder / "MLmodel").read_text()
        assert "self-test passed" in adloc("model", "check", folder).output
    assert not list((finished / "studies" / "kept").glob(".model-*"))


def test_finished_study_logs_nothing_again(study_file: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not even open MLflow."""
    before = ids(finished)
    monkeypatch.setattr(Tracking, "__init__", None)
    run(study_file, finished)
    assert ids(finished) == before


@pytest.mark.slow
def test_models_follow_what_the_study_asks_for(study_file: Path, workspace: Path) -> None:
    """`all`: of every run; `best` again: those alone, the very same; `none`: none. No figure changes."""
    best, known = ids(workspace), records(workspace)
    assert "[2/2] model for MLflow" in run(study_file, workspace, "all")
    assert best < ids(workspace)
    assert {model.tags["adloc.run_id"] for model in models_of(workspace)} == set(known)
    run(study_file, workspace, "best")
    assert ids(workspace) == best
    run(study_file, workspace, "none")
    assert not models_of(workspace)
    assert records(workspace) == known


@pytest.mark.slow
def test_model_that_fails_takes_nothing_along(
    study_file: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0, a warning with the reason, the other models there; the next run tries again and clears it."""
    run(study_file, workspace, "none")
    whole = exporting.write_mlmodel

    def broken(folder: Path, example: bytes) -> None:
        if "gear" in folder.name:
            message = "no room for gears"
            raise OSError(message)
        whole(folder, example)

    with monkeypatch.context() as patched:
        patched.setattr(exporting, "write_mlmodel", broken)
        said = run(study_file, workspace)
    assert "WARNING: a model could not be logged in MLflow" in said
    assert [model.tags["adloc.category"] for model in models_of(workspace)] == ["strip"]
    why = workspace / "studies" / "kept" / "models_error.txt"
    assert "no room for gears" in why.read_text()
    assert "WARNING" not in run(study_file, workspace)
    assert sorted(model.tags["adloc.category"] for model in models_of(workspace)) == ["gear", "strip"]
    assert not why.exists()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["before it is ready", "before it is remembered"])
def test_killed_process_leaves_no_half_of_a_model(
    study_file: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What was being logged goes at the next start, whether MLflow took it for whole or not."""

    class KilledError(BaseException):
        """What SIGKILL would do, as far as this process can tell."""

    def killed(*_: object) -> None:
        raise KilledError

    run(study_file, workspace, "none")
    with monkeypatch.context() as patched:
        if step == "before it is ready":
            patched.setattr(MlflowClient, "finalize_logged_model", killed)
        else:
            patched.setattr(LoggedModels, "_link_figures", killed)
        with pytest.raises(KilledError):
            run(study_file, workspace)
    (half,) = models_of(workspace)
    run(study_file, workspace)
    assert len(ids(workspace)) == 2
    assert half.model_id not in ids(workspace)


@pytest.mark.slow
def test_lost_index_makes_no_duplicates(study_file: Path, workspace: Path) -> None:
    """mlflow.json is an index: without it the models are logged again with their runs, and the old ones go."""
    before = ids(workspace)
    (workspace / "studies" / "kept" / "mlflow.json").unlink()
    run(study_file, workspace)
    assert len(ids(workspace)) == 2
    assert not before & ids(workspace)


@pytest.mark.slow
@pytest.mark.usefixtures("tracked")
def test_champion_gives_the_scores_of_the_record(
    study_file: Path, workspace: Path, mvtec_tree: Path, tmp_path: Path
) -> None:
    """By name and alias from the registry of the workspace's database, bit for bit; also after a move."""
    run(study_file, workspace)
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'mlflow.db'}")
    client = MlflowClient()
    (model,) = (m for m in models_of(workspace) if m.tags["adloc.category"] == "gear")
    client.create_registered_model("gear")
    version = client.create_model_version("gear", f"models:/{model.model_id}")
    client.set_registered_model_alias("gear", "champion", version.version)
    recorded = scores_of(workspace, model.tags["adloc.run_id"])
    assert len(recorded) >= 8
    assert champion_scores(mvtec_tree, recorded) == list(recorded.values())

    moved = tmp_path / "elsewhere"
    workspace.rename(moved)
    mlflow.set_tracking_uri(None)  # it has set the variable for child processes too
    run(study_file, moved)
    mlflow.set_tracking_uri(f"sqlite:///{moved / 'mlflow.db'}")
    assert ids(moved) == {m.model_id for m in models_of(moved)}
    assert all(m.artifact_location.startswith(moved.as_uri()) for m in models_of(moved))
    assert champion_scores(mvtec_tree, recorded) == list(recorded.values())


def scores_of(workspace: Path, run_id: str) -> dict[str, float]:
    """The recorded scores of the test images, by name."""
    found = Records(workspace / "studies" / "kept").image_scores(run_id, "test")
    return {each.image: each.score for each in found}


def champion_scores(root: Path, names: Mapping[str, float]) -> list[float]:
    """What the registered model says of these images, in one request."""
    loaded = mlflow.pyfunc.load_model("models:/gear@champion")
    found = loaded.predict(pd.DataFrame({"image": [(root / name).read_bytes() for name in names]}))
    assert found["error"].isna().all()
    return [float(score) for score in found["score"]]
