"""Studies whose features ONNX Runtime or OpenVINO computes: the key, what is kept, and what is refused."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
import torch

from adloc.computing.features import FeatureExtraction
from adloc.computing.store import Store
from adloc.methods.backbone import resolve_weights
from adloc.methods.network import load_backbone
from adloc.planning.stage_maker import StageMaker
from adloc.study import prepare
from adloc.study_file.spec import StudySpec
from adloc.study_warnings import idle_gpu
from adloc.workspace import Workspace
from commandline import adloc

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.planning.sources import FeatureStage
    from adloc.study import Study

pytestmark = pytest.mark.usefixtures("no_report")

CPU = torch.device("cpu")
CONVERTED = ["onnx", "openvino"]
LAYERS = ("first", "second")
STUDY = """\
study: engines
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 48}}
methods:
  - method: patchcore
    params: {{backbone: "small_networks:net", layers: [first, second], reweight: none, coreset_ratio: 0.1}}
heatmaps: 0
explain: {{suspicious_images: 0, missed_defects: 0, mask_noise: []}}
"""
NETWORKS = """\
from torch import nn

class Branching(nn.Sequential):
    def forward(self, x):
        return super().forward(x + 1 if x.mean() > 0 else x)

def named(kind):
    network = kind()
    network.add_module("first", nn.Conv2d(3, 8, 3, stride=4, padding=1))
    network.add_module("act", nn.ReLU(inplace=True))
    network.add_module("second", nn.Conv2d(8, 12, 3, stride=2, padding=1))
    return network

def net():
    return named(nn.Sequential)

def branching():
    return named(Branching)
"""


@pytest.fixture
def study_file(mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study, with its networks on the path."""
    (tmp_path / "small_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "small_networks", raising=False)
    path = tmp_path / "engines.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


def planned(path: Path, engine: str, *overrides: str) -> Study:
    """The study with that engine."""
    return prepare(path, [f"features.engine={engine}", *overrides], Workspace(path.parent), download=False)


def features_of(study: Study) -> FeatureStage:
    """Those of the train part."""
    source: FeatureStage = study.plan.runs[0].fit[0].source  # type: ignore[assignment]
    return source


def extract(store: Store, stage: FeatureStage) -> list[dict[str, Any]]:
    """The features of three images, as the store has them afterwards."""
    FeatureExtraction(store, CPU).run(stage, LAYERS, lambda _done, _total: None, [0, 1, 2])
    kept = [store.get("features", stage.image_keys[i]) for i in range(3)]
    return [dict(result.arrays) for result in kept if result is not None]


@pytest.mark.slow
@pytest.mark.parametrize("engine", CONVERTED)
@pytest.mark.parametrize("tiles", ["null", "{rows: 1, columns: 2, overlap: 0.5}"])
def test_features_are_those_of_torch(study_file: Path, tmp_path: Path, engine: str, tiles: str) -> None:
    """Within float32's rounding, under keys of their own, with tiles too."""
    store = Store(tmp_path / "store")
    by_torch, converted = (
        features_of(planned(study_file, each, "image.size=64", f"image.tiles={tiles}")) for each in ("torch", engine)
    )
    assert set(by_torch.image_keys).isdisjoint(converted.image_keys)
    pairs = list(zip(extract(store, by_torch), extract(store, converted), strict=True))
    assert len(pairs) == 3
    for expected, found in pairs:
        for layer in LAYERS:
            assert found[layer] == pytest.approx(expected[layer], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", CONVERTED)
def test_a_network_is_converted_once(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """What the store has is not converted again, nor is torch's network loaded for it."""
    stage = features_of(planned(study_file, engine))
    first = FeatureExtraction(Store(tmp_path / "store"), CPU).network(stage, LAYERS)
    (kept,) = (tmp_path / "store" / "networks").glob("*/*")
    assert kept.suffix == ".safetensors"
    monkeypatch.setattr("adloc.computing.features.load_backbone", None)  # calling it would fail
    again = FeatureExtraction(Store(tmp_path / "store"), CPU).network(stage, LAYERS)
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(first(images)["second"], again(images)["second"])


@pytest.mark.slow
def test_a_gpu_leaves_the_other_engines_on_the_cpu(study_file: Path, tmp_path: Path) -> None:
    """Nothing touches the device, which is not there; torch's network would be put on it."""
    stage = features_of(planned(study_file, "onnx"))
    extraction = FeatureExtraction(Store(tmp_path / "store"), torch.device("cuda", 99))
    assert extraction.network(stage, LAYERS).device == CPU
    assert extraction.run(stage, LAYERS, lambda _done, _total: None, [0, 1, 2]) == 3


def test_a_gpu_that_is_left_alone_is_told_of(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, and with another engine than torch; not else."""
    for engine, device, says in (("torch", "cuda", False), ("onnx", "cpu", False), ("onnx", "cuda", True)):
        monkeypatch.setattr("adloc.computing.environment.pick_device", lambda _name, kind=device: torch.device(kind))
        found = list(idle_gpu(planned(study_file, engine), "auto"))
        assert any("features are computed on the CPU" in sentence for sentence in found) == says


def test_keys_hold_the_version_of_the_engine(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version may give other bits; a search begun with one does not go on with another."""
    spec = StudySpec.model_validate(planned(study_file, "onnx").spec.model_dump(exclude={"dataset"}) | {
        "dataset": {"kind": "textures"}
    })  # fmt: skip
    keys, settings = set(), []
    for version in ("1.2.3", "1.2.4"):
        monkeypatch.setattr("adloc.methods.engines.engine.version", lambda _name, each=version: each)
        keys.add(features_of(planned(study_file, "onnx")).key)
        settings.append(StageMaker(spec, {}).settings()["features.engine"])
    assert len(keys) == 2
    assert settings == [["onnx", "1.2.3"], ["onnx", "1.2.4"]]


def test_keys_of_torch_are_as_they_were(study_file: Path) -> None:
    """The engine is in no key or search of a study that does not name one, or names torch."""
    named, unnamed = planned(study_file, "torch"), prepare(study_file, [], Workspace(study_file.parent), download=False)
    assert [run.key for run in named.plan.runs] == [run.key for run in unnamed.plan.runs]
    assert "features.engine" not in StageMaker(named.spec, {}).settings()


@pytest.mark.slow
def test_a_study_runs_by_another_engine(study_file: Path, tmp_path: Path) -> None:
    """With torch's figures; asked again it computes nothing."""
    rows = {}
    for engine in ("torch", "onnx"):
        run = ["study", "run", study_file, "--workspace", tmp_path / engine, "--set", f"features.engine={engine}"]
        rows[engine] = json.loads(adloc(*run, "--json").stdout)["results"][0]
    assert rows["onnx"]["threshold"] == pytest.approx(rows["torch"]["threshold"], rel=1e-5)
    assert rows["onnx"]["pixel_auroc"] == pytest.approx(rows["torch"]["pixel_auroc"], abs=5e-4)
    assert json.loads(adloc(*run, "--json").stdout)["outcome"]["n_stages"] == 0


@pytest.mark.slow
def test_what_cannot_be_converted_is_refused_before_any_work(study_file: Path, tmp_path: Path) -> None:
    """Exit code 2, with the file, what torch says and the remedy."""
    override = ["--set", "features.engine=onnx", "--set", "methods.0.params.backbone=small_networks:branching"]
    said = adloc("study", "run", study_file, "--workspace", tmp_path / "w", *override, expect=2).output
    assert "cannot be converted to ONNX" in said
    assert "use engine: torch" in said
    assert not (tmp_path / "w" / "store" / "features").exists()


def test_a_missing_engine_is_refused_with_its_remedy(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as the study is planned."""

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("adloc.methods.engines.engine.version", absent)
    said = adloc("study", "plan", study_file, "--set", "features.engine=openvino", expect=2).output
    assert "pip install 'adloc[engines]'" in said


def test_another_name_is_refused(study_file: Path) -> None:
    """With the choices that there are."""
    said = adloc("study", "validate", study_file, "--set", "features.engine=tensorrt", expect=2).output
    assert "features.engine is tensorrt" in said
    assert "torch, onnx" in said


def test_torchs_network_is_loaded_as_before(study_file: Path, tmp_path: Path) -> None:
    """The default engine's features are those of `load_backbone`, to the bit."""
    stage = features_of(planned(study_file, "torch"))
    network = FeatureExtraction(Store(tmp_path / "store"), CPU).network(stage, LAYERS)
    direct = load_backbone("small_networks:net", resolve_weights("small_networks:net", "default"), LAYERS, 0, CPU)
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(network(images)["second"], direct(images)["second"])
