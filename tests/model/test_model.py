"""A model that left its study: it scores as its record says, alone, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from adloc.datasets.checked import from_checked
from adloc.datasets.file_image import FileImage
from adloc.errors import UserError
from adloc.methods.backbone import WeightsFile
from adloc.methods.network import load_backbone, read_weights
from adloc.model.engines import Tried, choose
from adloc.model.folder import new_folder, read_model, read_spec
from adloc.model.scorer import Scorer
from adloc.model.selftest import choose_cases
from commandline import adloc
from detectors import CPU
from packages import MEDIAN

if TYPE_CHECKING:
    from packages import Packages

pytestmark = pytest.mark.usefixtures("no_report")

STUDY = """\
study: leaving
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
split: {{train_fraction: 0.6}}
image: {{size: 64}}
regimes: [clean, threshold_only]
models: none
heatmaps: 0
explain: {{suspicious_images: 0, missed_defects: 0}}
methods:
{methods}
"""
NETWORK = "backbone: resnet18, weights: random"
METHODS = f"""\
  - method: patchcore
    params: {{{NETWORK}, layers: [layer2, layer3], neighbours: 3, image.tiles: {{rows: 2, columns: 1, overlap: 0.0}}}}
    grid: {{coreset_ratio: [0.1, 0.5]}}
  - method: dfm
    params: {{{NETWORK}, layers: [layer3]}}
  - method: floor
"""
OTHERS = f"""\
  - method: knn
    params: {{{NETWORK}, layers: [layer3]}}
  - method: softpatch
    params: {{{NETWORK}, layers: [layer2], coreset_ratio: 0.2}}
  - method: spade
    params: {{{NETWORK}, layers: [layer2, layer3], image_neighbours: 3}}
  - method: mahalanobis
    params: {{{NETWORK}, layers: [layer2, layer3]}}
  - method: padim
    params: {{{NETWORK}, layers: [layer1, layer2], n_features: 20}}
  - method: uniad
    params: {{{NETWORK}, layers: [layer2, layer3], epochs: 1, width: 8, mask_size: 3, pool_size: 4}}
"""
INDEXED = f"""\
  - method: patchcore
    params: {{{NETWORK}, layers: [layer2], coreset_ratio: 0.5, neighbours: 3}}
    grid: {{search: [{{index: ivf, recall: 0.9}}, {{index: ivfpq, recall: 0.8}}, {{index: hnsw}}]}}
  - method: softpatch
    params: {{{NETWORK}, layers: [layer2], bank_dtype: float16, search: {{index: ivf, recall: 0.9}}}}
"""
Rows = list[dict[str, str]]


def run_study(folder: Path, methods: str, root: Path) -> tuple[Path, Path]:
    """The study file and the workspace in which it has run."""
    file, workspace = folder / "leaving.yaml", folder / "workspace"
    file.write_text(STUDY.format(root=root, methods=methods))
    adloc("study", "run", file, "--workspace", workspace)
    return file, workspace


@pytest.fixture(scope="module")
def finished(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study of three methods, and its workspace; to read only."""
    return run_study(tmp_path_factory.mktemp("leaving"), METHODS, mvtec_tree)


def records(workspace: Path) -> dict[str, dict[str, object]]:
    """The study's records by run id."""
    found = sorted((workspace / "studies" / "leaving" / "records").glob("*/record.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in found}


def a_run(workspace: Path, method: str = "patchcore", regime: str = "clean", **params: object) -> str:
    """The id of a run."""
    return next(
        name
        for name, record in records(workspace).items()
        if (record["method"], record["regime"]) == (method, regime)
        and all(record["params"][key] == value for key, value in params.items())  # type: ignore[index]
    )


def scores_of(workspace: Path, run_id: str, part: str) -> dict[str, float]:
    """The recorded score of every image of a part, by name."""
    path = workspace / "studies" / "leaving" / "records" / run_id / "images.csv"
    rows: Rows = list(csv.DictReader(path.read_text().splitlines()))
    return {row["name"]: float(row["score"]) for row in rows if row["part"] == part}


def export(workspace: Path, run_id: str, output: Path, *more: str) -> Path:
    """The run's model."""
    adloc("model", "export", run_id, "--workspace", workspace, "--output", output, *more)
    return output


@pytest.fixture
def model(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    """PatchCore's model at the smaller coreset."""
    return export(finished[1], a_run(finished[1], coreset_ratio=0.1), tmp_path / "model")


def read_pictures(root: Path, names: list[str]) -> list[np.ndarray]:
    """Decoded images of the category gear."""
    return [FileImage(root / "gear" / name).read().image for name in names]


def scores_as_recorded(workspace: Path, root: Path, folder: Path) -> int:
    """Hold every clean run's model to the bits of its record, one by one and together; how many there are."""
    clean = [name for name, record in records(workspace).items() if record["regime"] == "clean"]
    for run_id in clean:
        scorer = Scorer(read_model(export(workspace, run_id, folder / run_id)), CPU)
        recorded = scores_of(workspace, run_id, "test")
        pixels = np.stack([scorer.prepare(p) for p in read_pictures(root, list(recorded))])
        assert scorer.score(pixels).scores.tolist() == list(recorded.values()), run_id
        assert scorer.score(pixels[2:3]).scores.tolist() == list(recorded.values())[2:3], run_id
    return len(clean)


def test_a_method_scores_alone_as_its_record_says(
    finished: tuple[Path, Path], mvtec_tree: Path, tmp_path: Path
) -> None:
    """PatchCore at two coresets and in tiles, DFM, and the floor."""
    assert scores_as_recorded(finished[1], mvtec_tree, tmp_path) == 4


@pytest.mark.slow
def test_every_other_method_scores_alone_as_its_record_says(mvtec_tree: Path, tmp_path: Path) -> None:
    """kNN, SoftPatch, SPADE, Mahalanobis, PaDiM and UniAD."""
    _, workspace = run_study(tmp_path, OTHERS, mvtec_tree)
    assert scores_as_recorded(workspace, mvtec_tree, tmp_path) == 6


@pytest.mark.slow
def test_a_memory_bank_behind_an_index_scores_alone_as_its_record_says(mvtec_tree: Path, tmp_path: Path) -> None:
    """Every index, one of them of a bank in float16; the record says what it finds of validation patches."""
    _, workspace = run_study(tmp_path, INDEXED, mvtec_tree)
    assert scores_as_recorded(workspace, mvtec_tree, tmp_path) == 4
    asked = {"ivf, recall 0.9": 0.9, "ivfpq, recall 0.8": 0.8, "hnsw, recall 0.99": 0.99}
    for record in records(workspace).values():
        params, facts = record["params"], record["facts"]
        assert min(facts["index_recall"], facts["index_recall_k"]) >= asked[params["search"]]  # type: ignore[index]


def test_a_run_on_shifted_validation_images_is_exported_with_its_own_threshold(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    """The model is that of the clean run, the threshold is that of its regime."""
    ids = [a_run(finished[1], regime=regime, coreset_ratio=0.1) for regime in ("clean", "threshold_only")]
    clean, shifted = (read_model(export(finished[1], run_id, tmp_path / run_id)) for run_id in ids)
    assert (clean.fit["coreset"].arrays["bank"] == shifted.fit["coreset"].arrays["bank"]).all()
    assert clean.spec.threshold.image == records(finished[1])[ids[0]]["threshold"]
    assert shifted.spec.threshold.image == records(finished[1])[ids[1]]["threshold"]
    assert shifted.spec.threshold.image != clean.spec.threshold.image


def test_a_model_takes_no_more_along_than_its_run_needs(finished: tuple[Path, Path], model: Path) -> None:
    """A coreset that was grown for a larger ratio is cut to the run's own."""
    record = records(finished[1])[read_spec(model).origin.run_id]
    arrays = load_file(model / "arrays.safetensors")
    assert list(arrays) == ["coreset/bank", "fitted_on"]
    assert len(arrays["fitted_on"]) == record["n_train"]
    assert arrays["coreset/bank"].nbytes / 1e6 == pytest.approx(record["metrics"]["model_mb"])  # type: ignore[index]


def test_the_reference_is_the_validation_part(finished: tuple[Path, Path], model: Path) -> None:
    """Scores as recorded, each beside its label."""
    read = read_model(model)
    recorded = scores_of(finished[1], read.spec.origin.run_id, "validation")
    assert read.reference.scores.tolist() == list(recorded.values())
    assert read.reference.labels.tolist() == ["good" not in name for name in recorded]
    assert read.spec.reference.n_normal == sum("good" in name for name in recorded)


def test_nothing_in_the_folder_is_a_pickle(model: Path) -> None:
    """Arrays are safetensors, everything else is text, and MLflow loads it by a module of adloc's own."""
    kinds = {path.suffix for path in model.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".safetensors", ".md", ".yaml", ".txt", ""}
    assert "loader_module: adloc.model.served" in (model / "MLmodel").read_text()
    assert "python_model" not in (model / "MLmodel").read_text()


def test_the_card_has_the_figures_of_every_regime(finished: tuple[Path, Path], model: Path) -> None:
    """What a reader needs before use: measured figures by regime, threshold and promise, licences."""
    text, spec = (model / "card.md").read_text(), read_spec(model)
    for regime, title in (("clean", "**clean** (this run)"), ("threshold_only", "threshold only")):
        record = records(finished[1])[a_run(finished[1], regime=regime, coreset_ratio=0.1)]
        assert f"| {title} | {record['n_test']} | " in text
        assert f"{record['metrics']['image_auroc']:.3f} (" in text  # type: ignore[index]
    assert f"from a score of {spec.threshold.image:.6g} upwards" in text
    assert spec.backbone is not None
    assert spec.backbone.sha256[:16] in text


def test_a_model_of_all_categories_says_so(mvtec_tree: Path, tmp_path: Path) -> None:
    """Fitted on both, with one threshold of the validation images of both: neither is told as gear's alone."""
    file, workspace = tmp_path / "both.yaml", tmp_path / "workspace"
    text = STUDY.format(root=mvtec_tree, methods="  - method: floor\n").replace("[gear]", "[gear, strip]")
    file.write_text(f"{text}scopes: [unified]\nthresholds: {{scope: global}}\n")
    adloc("study", "run", file, "--workspace", workspace)
    by = ("model", "export", "--study", file, "--workspace", workspace, "--best", "image_auroc", "--category", "gear")
    adloc(*by, "--output", tmp_path / "gear")
    spec, card = read_spec(tmp_path / "gear"), (tmp_path / "gear" / "card.md").read_text()
    n_validated = 2 * (spec.reference.n_normal + spec.reference.n_anomalous)  # the categories have as many images each
    assert spec.threshold.source.startswith("validation parts of gear, strip, clean images")
    assert f"{n_validated} validation images of all categories" in card
    assert f"{spec.origin.n_train} clean images of all categories of the study" in card
    assert "It knows all categories" in card


def test_a_model_proves_itself(model: Path) -> None:
    """`check` replays validation images of both classes, and on this machine asks for every bit."""
    found = json.loads(adloc("model", "check", model, "--json").stdout)
    assert (found["passed"], found["same_machine"], found["largest"], found["from_record"]) == (True, True, 0.0, 0.0)
    assert found["n_images"] == len(json.loads((model / "selftest.json").read_text())["cases"]) == 6


def test_another_score_fails_the_self_test(model: Path) -> None:
    """Exit code 3 where the files are whole and the scores are not those of the export."""
    test, spec = json.loads((model / "selftest.json").read_text()), read_spec(model)
    test["cases"][0]["replayed"] += 1e-6
    (model / "selftest.json").write_text(json.dumps(test))
    from adloc.model.folder import write_spec

    write_spec(model, spec)
    assert "FAILED" in adloc("model", "check", model, expect=3).output
    test["machine"]["torch"] = "1.0"  # elsewhere so small a difference is allowed
    (model / "selftest.json").write_text(json.dumps(test))
    write_spec(model, spec)
    assert "torch: 1.0 then" in adloc("model", "check", model).output


@pytest.mark.parametrize("name", ["arrays.safetensors", "selftest.json", "reference"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_file_is_told_before_anything_is_scored(model: Path, name: str, damage: str) -> None:
    """One flipped bit, half a file or none: the file is named, and nothing is computed."""
    path = next(p for p in model.iterdir() if p.name.startswith(name))
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.unlink()
    assert path.name in adloc("model", "check", model, expect=2).output


def test_a_value_changed_by_hand_is_told(model: Path) -> None:
    """A threshold that was edited would be somebody's secret; a version that is not known is not guessed at."""
    path = model / "model.json"
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written | {"seed": written["seed"] + 1}))
    assert "a value in it is not the one that was written" in adloc("model", "check", model, expect=2).output
    path.write_text(json.dumps(written | {"format": 2}))
    assert "model.json: format" in adloc("model", "check", model, expect=2).output
    path.write_text("{")
    assert "model.json" in adloc("model", "check", model, expect=2).output


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    """A folder without model.json, a file, and none at all."""
    assert "no model.json" in adloc("model", "check", tmp_path, expect=2).output
    (tmp_path / "model.json").write_text("{}")
    assert "name the folder itself" in adloc("model", "check", tmp_path / "model.json", expect=2).output
    assert "no such folder" in adloc("model", "check", tmp_path / "gone", expect=2).output


@pytest.mark.slow
def test_a_model_needs_neither_workspace_nor_images(finished: tuple[Path, Path], tmp_path: Path) -> None:
    """In a process of its own, moved, with nothing of the study at hand, it gives the same bits."""
    folder = export(finished[1], a_run(finished[1], "dfm"), tmp_path / "first", "--with-backbone")
    moved = tmp_path / "elsewhere" / "model"
    moved.parent.mkdir()
    folder.rename(moved)
    code = (
        "import sys, json, torch; from pathlib import Path; from adloc.model.folder import read_model\n"
        "from adloc.model.scorer import Scorer; from adloc.model.selftest import replay\n"
        "r = replay(Scorer(read_model(Path(sys.argv[1])), torch.device('cpu'))); print(r.largest, r.n_images)"
    )
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONSAFEPATH": "1"}
    if "PYTHONPATH" in os.environ:
        bare["PYTHONPATH"] = os.environ["PYTHONPATH"]
    made = subprocess.run(
        [sys.executable, "-c", code, str(moved)],
        cwd=tmp_path, env=bare, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert made.stdout.split() == ["0.0", "6"]


@pytest.mark.slow
def test_the_backbone_goes_along_where_it_is_asked_for(mvtec_tree: Path, tmp_path: Path) -> None:
    """Without its file a model says which weights it needs; with them in its folder it needs no other place."""
    weights = tmp_path / "own.pth"
    torch.save(read_weights("resnet18", WeightsFile(None, "random"), 3), weights)
    methods = f"  - method: knn\n    params: {{backbone: resnet18, weights: {weights}, layers: [layer2]}}\n"
    _, workspace = run_study(tmp_path, methods, mvtec_tree)
    run_id = a_run(workspace, "knn")
    alone, whole = (export(workspace, run_id, tmp_path / n, *a) for n, a in (("a", ()), ("w", ("--with-backbone",))))
    weights.unlink()
    told = adloc("model", "check", alone, expect=2).output
    assert "own.pth: no such file" in told
    assert "--with-backbone" in told
    adloc("model", "check", whole)
    torch.save(read_weights("resnet18", WeightsFile(None, "random"), 4), weights)
    assert "the SHA-256 begins with" in adloc("model", "check", alone, expect=2).output
    backbone = whole / "backbone.safetensors"
    backbone.write_bytes(backbone.read_bytes()[:-4] + b"abcd")
    assert "backbone.safetensors" in adloc("model", "check", whole, expect=2).output


@pytest.mark.slow
def test_a_plug_in_is_exported_by_its_place(packages: Packages, mvtec_tree: Path, tmp_path: Path) -> None:
    """A method of somebody's own leaves like adloc's; where its package is missing the model says so."""
    packages.write("foreign", median=MEDIAN)
    methods = "  - method: foreign.median:METHOD\n    params: {cell: 8}\n"
    _, workspace = run_study(tmp_path, methods, mvtec_tree)
    folder = export(workspace, a_run(workspace, "median_image"), tmp_path / "model")
    assert read_spec(folder).method == "foreign.median:METHOD"
    adloc("model", "check", folder)
    source = packages.site / "foreign" / "median.py"
    text = source.read_text()
    packages.write("foreign", median=f"{text}\n# a line more")
    assert "  method: " in adloc("model", "check", folder).output  # told, and held to the tolerance
    shutil.rmtree(packages.site / "foreign")
    packages.forget()
    assert "foreign.median:METHOD" in adloc("model", "check", folder, expect=2).output


def test_an_export_overwrites_nothing(finished: tuple[Path, Path], model: Path) -> None:
    """A folder with anything in it stays as it is."""
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    run_id = read_spec(model).origin.run_id
    told = adloc("model", "export", run_id, "--workspace", finished[1], "--output", model, expect=2).output
    assert "not an empty folder" in told
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_the_current_folder_is_no_place_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be replaced under whoever stands in it."""
    monkeypatch.chdir(tmp_path)
    for place in (Path(), Path("../") / tmp_path.name):
        with pytest.raises(UserError, match="is the current folder"), new_folder(place):
            pass
    assert tmp_path.is_dir()


def test_what_cannot_be_exported_is_told(finished: tuple[Path, Path], tmp_path: Path) -> None:
    """An id that nobody has, neither id nor study, a metric of test images alone."""
    file, workspace = finished
    assert "no record of a run nope" in adloc("model", "export", "nope", "--workspace", workspace, expect=2).output
    adloc("model", "export", "--workspace", workspace, expect=2)
    by = ("model", "export", "--study", file, "--workspace", workspace, "--output", tmp_path / "m", "--best")
    assert "which validation images have not" in adloc(*by, "pixel_aupro", expect=2).output
    assert "did you mean image_auroc?" in adloc(*by, "image_aurok", expect=2).output
    assert not (tmp_path / "m").exists()


def test_the_best_is_the_one_of_the_validation_part(finished: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever test figures say: the records are changed so that the two disagree."""
    file = finished[0]
    workspace = Path(shutil.copytree(finished[1], tmp_path / "workspace"))
    favourite = a_run(workspace, "dfm")
    for path in (workspace / "studies" / "leaving" / "records").glob("*/record.json"):
        record = json.loads(from_checked(path.read_bytes()))
        ours = path.parent.name == favourite
        record["metrics"] |= {"val_image_auroc": 0.9 if ours else 0.8, "image_auroc": 0.1 if ours else 1.0}
        path.write_text(json.dumps(record))
    where = ("--study", file, "--workspace", workspace, "--json")
    for number, best in enumerate([("--best", "image_auroc"), ()]):
        told = adloc("model", "export", *where, "--output", tmp_path / f"m{number}", *best).stdout
        assert json.loads(told)[0]["run_id"] == favourite


def test_self_test_images_span_the_scores_of_each_class() -> None:
    """The lowest and the highest of both classes are among them; fewer images than asked for are all taken."""
    scores, labels = np.array([5.0, 1, 9, 3, 7, 2, 8]), np.array([0, 0, 0, 0, 1, 1, 1], dtype=bool)
    chosen = choose_cases(scores, labels)
    assert {1, 2, 4, 5, 6} <= set(chosen)
    assert len(chosen) == 6
    assert choose_cases(scores[:2], labels[:2]) == [0, 1]


@pytest.mark.slow
def test_a_trained_model_of_anomalib_leaves_too(mvtec_tree: Path, tmp_path: Path) -> None:
    """What training changed goes along; the rest is made again from the seed and the backbone's weights."""
    methods = "".join(
        f"  - method: anomalib\n    params: {{model: {name}, {NETWORK}, epochs: 1, batch_size: 4}}\n"
        for name in ("Stfpm", "Fastflow")
    )
    _, workspace = run_study(tmp_path, methods, mvtec_tree)
    assert scores_as_recorded(workspace, mvtec_tree, tmp_path) == 2


def test_a_folder_that_cannot_be_written_is_told(finished: tuple[Path, Path], tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").write_text("")
    run_id = a_run(finished[1], "floor")
    at = tmp_path / "file" / "model"
    told = adloc("model", "export", run_id, "--workspace", finished[1], "--output", at, expect=2).output
    assert "cannot be written" in told


def test_a_converted_network_is_held_against_torchs(
    finished: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose features are halved on the way is refused before there is a model."""
    monkeypatch.setattr("adloc.model.network.write_onnx", lambda *_: None)

    def halved(_engine: str, _file: Path, layers: tuple[str, ...], **_: object) -> object:
        network = load_backbone("resnet18", WeightsFile(None, "random"), layers, 42, CPU)
        return lambda images: {layer: maps / 2 for layer, maps in network(images).items()}

    monkeypatch.setattr("adloc.model.network.open_file", halved)
    run_id = a_run(finished[1], coreset_ratio=0.1)
    told = adloc(
        "model", "export", run_id, "--workspace", finished[1], "--output", tmp_path / "m", "--engine", "onnx", expect=2
    ).output
    assert "layer2 of the converted network differs from torch's" in told
    assert not (tmp_path / "m").exists()


def test_a_full_disk_leaves_nothing(
    finished: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither half a model nor its draft, whichever library finds out."""
    run_id = a_run(finished[1], "floor")
    for error in (OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device")):

        def full(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("adloc.model.export.write_fit", full)
        told = adloc(
            "model", "export", run_id, "--workspace", finished[1], "--output", tmp_path / "m" / "model", expect=2
        ).output
        assert "No space left on device" in told
        assert list((tmp_path / "m").iterdir()) == []


def test_reading_a_model_refuses_arrays_that_lack_a_step(model: Path) -> None:
    """Arrays of another model under this one's name are found by their hash."""
    (model / "arrays.safetensors").write_bytes((next(model.glob("reference-*"))).read_bytes())
    with pytest.raises(UserError, match="SHA-256"):
        read_model(model)


def test_the_fastest_engine_is_taken_only_where_it_keeps_the_figures() -> None:
    """Image AUROC and the share of flagged images within .0005 of torch's; among those the quickest."""
    labels = np.array([False, False, True, True])
    own = np.array([1, 2, 3, 4], np.float32)

    def tried(engine: str, seconds: float, scores: np.ndarray) -> Tried:
        return Tried(engine, seconds, scores)  # type: ignore[arg-type]

    torch_, same = tried("torch", 3.0, own), tried("onnx", 2.0, own * np.float32(1.0001))
    swapped = tried("openvino", 1.0, own[[0, 2, 1, 3]])
    over = tried("openvino", 1.0, own + np.float32(0.5))  # the same ranking, and one more at the threshold
    assert choose([torch_, same, swapped], labels, None) == "onnx"
    assert choose([torch_, same, over], labels, 2.5) == "onnx"
    assert choose([torch_, same, over], labels, None) == "openvino"
    assert choose([torch_, swapped], labels, None) == "torch"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_model_with_another_engine_scores_as_its_record_to_rounding(
    finished: tuple[Path, Path], mvtec_tree: Path, tmp_path: Path, engine: str
) -> None:
    """The converted network is part of the folder, under its check; the same bits alone and among others."""
    run_id = a_run(finished[1], coreset_ratio=0.1)
    folder = export(finished[1], run_id, tmp_path / "model", "--engine", engine)
    read = read_model(folder)
    assert read.spec.engine == engine
    assert "network.onnx" in read.spec.files
    scorer = Scorer(read, CPU)
    recorded = scores_of(finished[1], run_id, "test")
    pixels = np.stack([scorer.prepare(p) for p in read_pictures(mvtec_tree, list(recorded))])
    scores = scorer.score(pixels).scores
    np.testing.assert_allclose(scores, list(recorded.values()), rtol=1e-3)
    assert scorer.score(pixels[3:4]).scores[0] == scores[3]
    assert "bit for bit" in adloc("model", "check", folder).output


def test_a_method_that_reads_images_has_no_engine(finished: tuple[Path, Path], tmp_path: Path) -> None:
    """Nothing of it could be run by another one; `fastest` is torch then."""
    where = ("--workspace", finished[1], "--output")
    run_id = a_run(finished[1], "floor")
    told = adloc("model", "export", run_id, *where, tmp_path / "a", "--engine", "onnx", expect=2).output
    assert "reads images itself" in told
    adloc("model", "export", run_id, *where, tmp_path / "b", "--engine", "fastest")
    assert read_spec(tmp_path / "b").engine == "torch"
