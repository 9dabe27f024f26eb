"""Features of images in the store, where several studies may put them at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from adloc.computing.features import FeatureExtraction
from adloc.computing.store import Store
from adloc.study import prepare
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

STUDY = """\
study: features
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 32}}
methods:
  - {{method: patchcore, params: {{backbone: efficientnet_lite0}}}}
"""
IMAGES = [0, 1, 2]


def test_layers_of_two_studies_are_all_kept(mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One study puts its layers after the other has looked what is missing: the three layers of both are there."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    study = prepare(path, [], Workspace(tmp_path), download=False)
    stage = study.plan.runs[0].fit[0].source
    store = Store(tmp_path / "store")
    ours, theirs = (FeatureExtraction(Store(tmp_path / "store"), torch.device("cpu")) for _ in range(2))

    def run(extraction: FeatureExtraction, *layers: str) -> int:
        return extraction.run(stage, layers, lambda _done, _total: None, IMAGES)

    looked, passed = FeatureExtraction.missing, []

    def overtaken(*arguments: object) -> object:
        found = looked(ours, *arguments)  # type: ignore[arg-type]
        if not passed:
            passed.append(run(theirs, "layer2", "layer3"))
        return found

    monkeypatch.setattr(ours, "missing", overtaken)
    assert run(ours, "layer1", "layer2") == len(IMAGES)
    assert passed == [len(IMAGES)]
    monkeypatch.undo()
    for image in IMAGES:
        kept = store.get("features", stage.image_keys[image])
        assert kept is not None
        assert set(kept.arrays) == {"layer1", "layer2", "layer3"}
    assert run(ours, "layer1", "layer2", "layer3") == 0


def test_an_image_alone_and_among_others_has_the_same_features(mvtec_tree: Path, tmp_path: Path) -> None:
    """Where a killed study goes on, an image may be the last one missing: below 160 pixels its bits were others."""
    path = tmp_path / "study.yaml"
    network = "backbone: efficientnet_lite0", "backbone: resnet18, weights: random"
    path.write_text(STUDY.format(root=mvtec_tree).replace(*network))
    stage = prepare(path, [], Workspace(tmp_path), download=False).plan.runs[0].fit[0].source
    together, alone = (Store(tmp_path / name) for name in ("together", "alone"))
    for store, groups in ((together, [IMAGES]), (alone, [[image] for image in IMAGES])):
        for images in groups:
            extraction = FeatureExtraction(store, torch.device("cpu"))
            assert extraction.run(stage, ("layer2", "layer3"), lambda _done, _total: None, images) == len(images)
    for image in IMAGES:
        kept = [store.get("features", stage.image_keys[image]) for store in (together, alone)]
        for layer in ("layer2", "layer3"):
            first, second = (result.arrays[layer] for result in kept if result is not None)
            assert (first == second).all(), (image, layer)
