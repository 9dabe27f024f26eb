"""Tuning through the real command line, on a tiny dataset: isolation, cost, resuming, and what it leaves behind."""

from __future__ import annotations

import ast
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import commandline
from adloc.datasets.checked import from_checked
from adloc.errors import StageMismatchError
from adloc.executors.computing import Computing
from adloc.executors.on_demand import OnDemand
from adloc.planning.parts import TestPart, ValidationPart
from adloc.study import prepare
from adloc.study_file.validation import load_study
from adloc.tracking.place import Place
from adloc.tuning.trial_records import TrialRecord
from adloc.workspace import Workspace
from checkout import ROOT
from forked import Forked

if TYPE_CHECKING:
    from adloc.planning.stages import Stage
    from adloc.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_report")]  # whole studies

STUDY = """\
study: tuned
description: Is tuned better?
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: 48}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, reweight: none}}
    tune:
      space:
        coreset_ratio: {{low: 0.02, high: 0.5, log: true}}
        neighbours: {{low: 1, high: 9, type: int}}
        patch_size: {{choices: [1, 3]}}
        layers: {{choices: [[layer2], [layer2, layer3], [layer3]]}}
        image.size: {{choices: [32, 48]}}
tuning: {{metric: val_pixel_auroc, trials: 8, prune: false}}
heatmaps: 1
models: none
"""
# of a category: 10 train images, 2 normal and 2 x 2 anomalous ones to validate with, and 4 + 2 x 3 to test
N_TRAIN, N_VALIDATION = 10, 6


def adloc(*arguments: str | Path, expect: int = 0) -> str:
    """Run the command line in this process; what it printed."""
    result = commandline.adloc(*arguments, expect=expect)
    return result.stdout if expect == 0 else result.output


@pytest.fixture(scope="module")
def study_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, written down."""
    path = tmp_path_factory.mktemp("study") / "tuned.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="module")
def finished(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study has run; to read only."""
    workspace = tmp_path_factory.mktemp("workspace")
    adloc("study", "run", study_file, "--workspace", workspace)
    return workspace


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace, to change."""
    return Path(shutil.copytree(finished, tmp_path / "workspace", symlinks=True))


def trials(workspace: Path) -> list[dict[str, Any]]:
    """The records of the trials, by number."""
    folder = workspace / "studies" / "tuned" / "trials" / "patchcore" / "r1"
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def results(study_file: Path, workspace: Path) -> list[dict[str, Any]]:
    """The rows of the study."""
    rows: list[dict[str, Any]] = json.loads(adloc("study", "results", study_file, "--workspace", workspace, "--json"))
    return rows


def mlflow_runs(workspace: Path) -> list[Any]:
    """Every active run of the study's experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tuned")
    return list(client.search_runs([experiment.experiment_id], max_results=100))


class Watcher:
    """A reporter that keeps what was computed."""

    n_stages = 0

    def __init__(self) -> None:
        self.computed: list[Stage] = []
        self.n_images = 0

    def stage_started(self, stage: Stage) -> None:
        """Keep it."""
        self.computed.append(stage)

    def stage_progress(self, *_: object) -> None:
        """Nothing."""

    def stage_done(self, stage: Stage, seconds: float, n_images: int) -> None:
        """Count the images that passed the backbone."""
        del stage, seconds
        self.n_images += n_images

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.fixture(scope="module")
def watched(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Watcher]:
    """The search alone, 20 trials of it, and what it computed."""
    from adloc.run.searches import tune_study

    workspace = Workspace(tmp_path_factory.mktemp("watched"))
    watcher = Watcher()
    study = prepare(study_file, ["tuning.trials=20", "dataset.categories=[gear]"], workspace, download=False)
    return tune_study(study, OnDemand(Computing(device="cpu", batch_size=8)), watcher), watcher


def test_twenty_trials_cost_one_backbone_pass_an_image_and_size(watched: tuple[Study, Watcher]) -> None:
    """Whatever they try of layers, ratios, neighbours and patch sizes; two image sizes are two passes."""
    study, watcher = watched
    (state,) = study.searches
    assert len(state.trials) == 20
    assert {t.params["image.size"] for t in state.trials} == {32, 48}
    assert len({str(t.params["layers"]) for t in state.trials}) == 3
    assert watcher.n_images == 2 * (N_TRAIN + N_VALIDATION)


def test_coreset_is_picked_once_to_the_largest_ratio(watched: tuple[Study, Watcher]) -> None:
    """One greedy pass for each embedding, none for another ratio."""
    study, watcher = watched
    (state,) = study.searches
    embeddings = {(str(t.params["layers"]), t.params["patch_size"], t.params["image.size"]) for t in state.trials}
    picked = [stage for stage in watcher.computed if stage.kind == "patchcore.coreset"]
    assert len({t.params["coreset_ratio"] for t in state.trials}) > len(embeddings)
    assert len(picked) == len(embeddings)


def test_search_looks_at_no_test_image(watched: tuple[Study, Watcher]) -> None:
    """No stage of a test part was computed, and none of the parts seen shares an image with a test part."""
    study, watcher = watched
    seen = [part for stage in watcher.computed for part in stage.parts]
    assert seen
    assert not any(isinstance(part, TestPart) for part in seen)
    tested = {key for run in study.plan.runs for key in run.test.truth.part.image_keys}
    assert not tested & {key for part in seen for key in part.image_keys}


def test_what_tuning_is_given_holds_no_test_image(watched: tuple[Study, Watcher]) -> None:
    """Not one object that the trials can reach has a test sample in it."""
    import gc

    from adloc.datasets.sample import Sample

    study, _ = watched
    tested = {s.identity for run in study.plan.runs for s in run.test.truth.part.samples}
    reached, todo = set(), [study.searches[0].stages]
    samples: set[str] = set()
    while todo:
        one = todo.pop()
        if id(one) in reached or isinstance(one, type(sys) | type):
            continue
        reached.add(id(one))
        if isinstance(one, Sample):
            samples.add(one.identity)
        if not callable(one):
            todo += gc.get_referents(one)
    assert len(samples) == N_TRAIN + N_VALIDATION
    assert not samples & tested


def test_stage_of_a_test_part_in_a_trial_is_refused(watched: tuple[Study, Watcher], tmp_path: Path) -> None:
    """Also when it is already in the store, or calls itself a validation part."""
    import torch

    from adloc.computing.store import Store
    from adloc.planning.extents import Extents
    from adloc.planning.sources import FeatureStage
    from adloc.planning.stages import EvaluationStage, TruthStage
    from adloc.tuning.trial import TrialBench

    study, watcher = watched
    run = study.plan.runs[0]
    bench = TrialBench(Store(tmp_path), Extents.of(study.plan), torch.device("cpu"), watcher)
    bench.allow(study.searches[0].stages.calibration)
    part = run.test.truth.part
    disguised = ValidationPart(part.category, part.domain, part.samples, part.fingerprints, part.shift)
    features = run.test.scores.source
    before = len(watcher.computed)
    stages = [
        run.test,
        run.test.scores,
        features,
        FeatureStage(disguised, features.network, features.image, features.layers),
        EvaluationStage(run.test.scores, TruthStage(disguised, run.test.truth.image, run.test.truth.size)),
    ]
    for stage in stages:
        with pytest.raises(StageMismatchError):
            bench.result(stage)
    with pytest.raises(StageMismatchError):
        bench.features(features)
    assert len(watcher.computed) == before
    assert bench.result(run.validation).facts["pixel_auroc"] > 0  # type: ignore[arg-type]


def test_tuning_imports_nothing_that_loads_a_dataset() -> None:
    """Neither a dataset nor the inventory, nor the function that divides a dataset into parts."""
    forbidden = {"load_samples", "Inventory", "make_parts", "calibrations", "make_plan", "split"}
    for path in (ROOT / "orchestrator" / "tuning").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not forbidden & {alias.name for alias in node.names}, path
                allowed = ("adloc.datasets.checked", "adloc.datasets.errors", "adloc.datasets.transform")
                assert not str(node.module).startswith("adloc.datasets") or node.module in allowed, path


def test_winner_stands_beside_the_default(study_file: Path, finished: Path) -> None:
    """Two settings under every category, told apart; on validation the tuned one is not worse."""
    rows = results(study_file, finished)
    assert [(r["category"], r["setting"]) for r in rows] == [
        ("gear", "default"), ("gear", "tuned"), ("strip", "default"), ("strip", "tuned"),
        ("macro", "default"), ("macro", "tuned"),
    ]  # fmt: skip
    assert all(row["status"] == "done" for row in rows)
    default, tuned = rows[4], rows[5]
    assert tuned["val_pixel_auroc"] >= default["val_pixel_auroc"]
    found = trials(finished)
    best = max(found, key=lambda t: (t["figures"]["val_pixel_auroc"], -t["number"]))
    assert tuned["val_pixel_auroc"] == pytest.approx(best["figures"]["val_pixel_auroc"], abs=1e-12)
    assert tuned["params.coreset_ratio"] == best["params"]["coreset_ratio"]
    assert default["params.coreset_ratio"] == found[0]["params"]["coreset_ratio"] == 0.05


def test_gain_is_told_on_validation_and_on_test(study_file: Path, finished: Path) -> None:
    """The table has both, so that overfitting shows."""
    import pandas as pd

    table = pd.read_csv(finished / "studies" / "tuned" / "tables" / "tuning_gains.csv")
    rows = {(r["category"], r["setting"]): r for r in results(study_file, finished)}
    for gain in table.to_dict("records"):
        default, tuned = (rows[gain["category"], setting] for setting in ("default", "tuned"))
        for name in ("val_pixel_auroc", "pixel_auroc", "image_auroc"):
            assert gain[f"gain_{name}"] == pytest.approx(tuned[name] - default[name], abs=1e-12)


def test_every_verb_works_before_and_after(study_file: Path, finished: Path, tmp_path: Path) -> None:
    """Plan, status, results and validate say what is to do and what was found."""
    before = json.loads(adloc("study", "plan", study_file, "--workspace", tmp_path, "--json"))
    assert before["n_runs"] == 2
    assert before["tuning"][0]["done"] == 0
    assert "0 of 8 trials, 8 to do" in adloc("study", "status", study_file, "--workspace", tmp_path)
    assert results(study_file, tmp_path) == []
    after = json.loads(adloc("study", "plan", study_file, "--workspace", finished, "--json"))
    assert after["n_runs"] == 4
    assert after["pending"] == []
    assert after["tuning"][0]["finished"]
    assert "8 of 8 trials, done" in adloc("study", "status", study_file, "--workspace", finished)
    assert "valid" in adloc("study", "validate", study_file)


def test_run_again_computes_nothing(study_file: Path, workspace: Path) -> None:
    """No trial, no stage, no MLflow run more."""
    before = trials(workspace)
    outcome = json.loads(adloc("study", "run", study_file, "--workspace", workspace, "--json"))["outcome"]
    assert outcome == {"n_done": 4, "n_computed": 0, "n_failed": 0, "n_stages": 0}
    assert trials(workspace) == before
    assert len(mlflow_runs(workspace)) == 1 + 8 + 4 + 2


def test_mlflow_shows_every_trial(finished: Path) -> None:
    """Nested under the study, with parameters and validation metrics; Optuna knows which run is whose."""
    import optuna

    runs = mlflow_runs(finished)
    (parent,) = [r for r in runs if r.data.tags["adloc.kind"] == "study"]
    by_number = {int(r.data.tags["adloc.trial"]): r for r in runs if r.data.tags["adloc.kind"] == "trial"}
    found = trials(finished)
    assert sorted(by_number) == list(range(8))
    for number, run in by_number.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == "FINISHED"
        figures = found[number]["figures"]
        assert run.data.metrics["val/pixel_auroc"] == pytest.approx(figures["val_pixel_auroc"])
        assert float(run.data.params["coreset_ratio"]) == found[number]["params"]["coreset_ratio"]
        assert not any(name.startswith(("image/", "pixel/")) for name in run.data.metrics)
    backend = optuna.storages.journal.JournalFileBackend(str(finished / "optuna" / "tuned.journal"))
    study = optuna.load_study(study_name="tuned.patchcore", storage=optuna.storages.JournalStorage(backend))
    for trial in study.get_trials():
        assert trial.user_attrs["mlflow_run_id"] == by_number[trial.number].info.run_id
        assert trial.value == found[trial.number]["figures"]["val_pixel_auroc"]
    folder = finished / "artifacts" / "tuned" / parent.info.run_id / "artifacts" / "tuning" / "patchcore"
    assert {"history.png", "importances.png", "best.json"} <= {path.name for path in folder.iterdir()}


def test_records_alone_suffice(study_file: Path, workspace: Path) -> None:
    """Without MLflow, Optuna and the store: MLflow is made again, trials included, and nothing is computed."""
    for name in ("store", "artifacts", "optuna"):
        shutil.rmtree(workspace / name)
    (workspace / "mlflow.db").unlink()
    outcome = json.loads(adloc("study", "run", study_file, "--workspace", workspace, "--json"))["outcome"]
    assert outcome["n_stages"] == 0
    assert len(mlflow_runs(workspace)) == 1 + 8 + 4 + 2
    assert {"history.png", "best.json"} <= {p.name for p in (workspace / "artifacts").glob("*/*/artifacts/tuning/*/*")}


def test_changed_search_is_refused_with_its_differences(study_file: Path, workspace: Path) -> None:
    """Or begins a new revision when told so; the old trials stay, and count again when the change is undone."""
    change = ("--set", "methods[0].tune.space.neighbours.high=12", "--set", "tuning.metric=val_image_auroc",
              "--set", "tuning.trials=2")  # fmt: skip
    said = adloc("study", "run", study_file, "--workspace", workspace, *change, expect=2)
    assert "metric: ['val_pixel_auroc'] -> ['val_image_auroc']" in said
    assert "space.neighbours.high: 9 -> 12" in said
    assert "--new-revision" in said
    assert "do not count any more" in adloc("study", "status", study_file, "--workspace", workspace, *change)
    adloc("study", "run", study_file, "--workspace", workspace, *change, "--new-revision")
    assert len(list((workspace / "studies/tuned/trials/patchcore/r2").glob("*.json"))) == 2
    assert len(trials(workspace)) == 8
    # the winner of before has made place in MLflow: a tuned run for each category, and one average
    tags = [r.data.tags for r in mlflow_runs(workspace)]
    tuned = [t["adloc.category"] for t in tags if t["adloc.kind"] != "trial" and t.get("adloc.setting") == "tuned"]
    assert sorted(tuned) == ["gear", "macro", "strip"]
    assert "8 of 8 trials, done" in adloc("study", "status", study_file, "--workspace", workspace)


def test_fresh_computes_what_trials_had_computed_too(study_file: Path, tmp_path: Path) -> None:
    """As many stages as the first time, for the same answer; the trials of before stay where they are."""
    run = ("study", "run", study_file, "--workspace", tmp_path, "--set", "tuning.trials=3", "--json")
    first, again = json.loads(adloc(*run)), json.loads(adloc(*run, "--fresh"))
    assert first["outcome"]["n_stages"] == again["outcome"]["n_stages"] > 30
    assert again["outcome"]["n_computed"] == 4
    assert [r["pixel_aupro"] for r in again["results"]] == [r["pixel_aupro"] for r in first["results"]]
    assert len(trials(tmp_path)) == 3
    assert [r["status"] for r in json.loads(adloc(*run))["results"]] == ["done"] * 6


def test_one_model_for_all_is_tuned_for_the_threshold_that_it_will_have(study_file: Path, tmp_path: Path) -> None:
    """With one threshold for all categories, a trial's F1 is that of the runs with its setting."""
    change = ("--set", "scopes=[unified]", "--set", "thresholds.scope=global", "--set", "tuning.metric=val_image_f1",
              "--set", "tuning.trials=2", "--set", "study=tuned")  # fmt: skip
    output = json.loads(adloc("study", "run", study_file, "--workspace", tmp_path, *change, "--json"))
    runs = [r["val_image_f1"] for r in output["results"] if r["setting"] == "default" and r["category"] != "macro"]
    assert trials(tmp_path)[0]["figures"]["val_image_f1"] == pytest.approx(sum(runs) / len(runs))
    assert {r.data.tags["adloc.scope"] for r in mlflow_runs(tmp_path) if "adloc.trial" in r.data.tags} == {"unified"}


def test_no_average_of_what_only_some_categories_have(study_file: Path, tmp_path: Path) -> None:
    """One category's search finds nothing that keeps the constraint: its gain is told by itself, and no macro."""
    change = ("--set", "tuning.across=category", "--set", "tuning.trials=3", "--set", "tuning.metric=val_image_auroc")
    free = json.loads(adloc("study", "run", study_file, "--workspace", tmp_path / "a", *change, "--json"))["results"]
    sizes = {r["category"]: r["model_mb"] for r in free if r["setting"] == "default"}
    assert len({r["setting"] for r in free if r["category"] == "macro"}) == 2
    records = tmp_path / "a" / "studies" / "tuned" / "trials" / "patchcore-gear" / "r1"
    for path in records.glob("*.json"):  # as if its models were too large
        trial = json.loads(from_checked(path.read_bytes()))
        trial["categories"]["gear"]["model_mb"] = 1e9
        path.write_text(json.dumps(trial))
    limit = 10 * max(sizes.values())
    again = ("--set", f"tuning.constraints.model_mb={limit}")
    for name in ("patchcore-gear", "patchcore-strip"):
        file = records.parent.parent / name / "search.json"
        about = json.loads(from_checked(file.read_bytes()))
        about["revisions"][0]["fingerprint"]["tuning.constraints"]["model_mb"] = limit
        file.write_text(json.dumps(about))
    output = adloc("study", "run", study_file, "--workspace", tmp_path / "a", *change, *again)
    rows = json.loads(adloc("study", "results", study_file, "--workspace", tmp_path / "a", *change, *again, "--json"))
    assert [(r["category"], r["setting"]) for r in rows] == [
        ("gear", "default"), ("strip", "default"), ("strip", "tuned"), ("macro", "default"),
    ]  # fmt: skip
    assert "no trial keeps the constraints" in output
    assert "What tuning gained: " in output


@pytest.mark.parametrize("reason", ["device", "storage"])
def test_what_is_refused_leaves_the_search_as_it_was(
    study_file: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """`--fresh` begins a search again once everything that can be refused was looked at, and not before."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = ("--device", "cuda") if reason == "device" else ("--storage", "nosuchdatabase://x")
    folder = workspace / "studies" / "tuned" / "trials" / "patchcore"
    before = (folder / "search.json").read_bytes()
    said = adloc("study", "run", study_file, "--workspace", workspace, "--fresh", *asked, expect=2)
    assert "--storage" in said if reason == "storage" else "cuda" in said.lower()
    assert (folder / "search.json").read_bytes() == before
    assert len(trials(workspace)) == 8
    assert "8 of 8 trials, done" in adloc("study", "status", study_file, "--workspace", workspace)


def test_trials_of_one_model_for_all_are_tagged_as_such(study_file: Path, workspace: Path) -> None:
    """In a study of nothing but the unified scope MLflow shows its trials beside its runs; else beside the others."""
    from adloc.tracking.experiment import Tracking

    record = TrialRecord.model_validate({k: v for k, v in trials(workspace)[0].items() if k != "checksum"})
    for number, scopes in enumerate((["unified"], ["category"], ["category", "unified"])):
        _, spec = load_study(study_file, [f"scopes={json.dumps(scopes)}"])
        tracking = Tracking(Place(Workspace(workspace)), spec, list(record.hyperparameters))
        shown = tracking.log_trial(record.model_copy(update={"number": 100 + number}))
        (run,) = [run for run in mlflow_runs(workspace) if run.info.run_id == shown]
        assert run.data.tags["adloc.scope"] == scopes[0]


def test_trials_leave_no_short_search_behind(mvtec_tree: Path, tmp_path: Path) -> None:
    """Trials that go on from a search of the plan's for fewer neighbours: what they keep is that of a fresh store."""
    import torch

    from adloc.computing.compute import Workbench
    from adloc.computing.store import Store
    from adloc.planning.extents import Extents
    from adloc.run.searches import tune_study

    def prepared(text: str) -> Study:
        path = tmp_path / "study.yaml"
        path.write_text(text.replace("ROOT", str(mvtec_tree)))
        return prepare(path, [], Workspace(tmp_path / "workspace"), download=False)

    head = """\
study: far
dataset: {kind: mvtec_ad, root: ROOT, categories: [gear]}
image: {size: 48}
heatmaps: 0
models: none
methods:
"""
    tuned = tune_study(
        prepared(
            head
            + """\
  - {method: patchcore, params: {backbone: efficientnet_lite0, neighbours: 3}, grid: {coreset_ratio: [0.4, 0.5]}}
  - method: patchcore
    params: {backbone: efficientnet_lite0, coreset_ratio: 0.5}
    tune: {space: {neighbours: {low: 2, high: 40, type: int}}}
tuning: {trials: 1, metric: val_image_auroc}
"""
        ),
        OnDemand(Computing(device="cpu")),
        Watcher(),
    )
    assert [trial.state for trial in tuned.searches[0].trials] == ["complete"]
    params = "{backbone: efficientnet_lite0, coreset_ratio: 0.5, neighbours: 40}"
    plain = prepared(f"{head}  - {{method: patchcore, params: {params}}}\n")
    (run,) = plain.plan.runs
    assert run.validation is not None
    shutil.copytree(tmp_path / "workspace" / "store" / "features", tmp_path / "fresh" / "features")
    found = []
    for path in (tmp_path / "workspace" / "store", tmp_path / "fresh"):
        bench = Workbench(Store(path), Extents.of(plain.plan), torch.device("cpu"), Watcher())
        scores = bench.result(run.validation).arrays["image_scores"]
        found.append((scores.tolist(), bench.result(run.threshold).facts["threshold"]))  # type: ignore[arg-type]
    assert found[0] == found[1]


def test_setting_for_each_category(study_file: Path, workspace: Path) -> None:
    """Each category is tuned by itself, and the macro row averages what they found."""
    change = ("--set", "tuning.across=category", "--set", "tuning.trials=3", "--set", "study=each")
    output = json.loads(adloc("study", "run", study_file, "--workspace", workspace, *change, "--json"))
    rows = {(r["category"], r["setting"]): r for r in output["results"]}
    assert len(rows) == 6
    assert [t["search"] for t in output["tuning"]] == ["patchcore-gear", "patchcore-strip"]
    mean = (rows["gear", "tuned"]["image_auroc"] + rows["strip", "tuned"]["image_auroc"]) / 2
    assert rows["macro", "tuned"]["image_auroc"] == pytest.approx(mean)


def test_repeats_are_tuned_on_their_own_parts(study_file: Path, workspace: Path) -> None:
    """Another repeat draws another split, whose test images no search of it has seen."""
    change = ("--set", "repeats=2", "--set", "tuning.trials=2", "--set", "study=twice",
              "--set", "dataset.categories=[gear]")  # fmt: skip
    output = json.loads(adloc("study", "run", study_file, "--workspace", workspace, *change, "--json"))
    assert [t["search"] for t in output["tuning"]] == ["patchcore", "patchcore-repeat1"]
    import pandas as pd

    table = pd.read_csv(workspace / "studies" / "twice" / "tables" / "repeats.csv")
    tuned = table[(table["setting"] == "tuned") & (table["metric"] == "pixel_auroc")]
    assert set(tuned["n_repeats"]) == {2}


def test_killed_search_goes_on_with_the_same_suggestions(study_file: Path, finished: Path, tmp_path: Path) -> None:
    """Kill -9 in the middle of the trials; run again, the sequence and the figures are those of one go."""
    process = Forked("study", "run", study_file, "--workspace", tmp_path, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while len(trials(tmp_path)) < 3 and process.code is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.signal(signal.SIGKILL)
    process.end(60)
    assert process.code == -signal.SIGKILL
    assert 3 <= len(trials(tmp_path)) < 8
    adloc("study", "run", study_file, "--workspace", tmp_path)
    whole, again = trials(finished), trials(tmp_path)
    assert [t["params"] for t in again] == [t["params"] for t in whole]
    assert [t["figures"]["val_pixel_auroc"] for t in again] == [t["figures"]["val_pixel_auroc"] for t in whole]
    assert {run.info.status for run in mlflow_runs(tmp_path)} == {"FINISHED"}
    assert len(mlflow_runs(tmp_path)) == 1 + 8 + 4 + 2
