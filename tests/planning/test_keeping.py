"""Which features stay on the disk: the same bits without them, room for them found first, none taken from a study."""

from __future__ import annotations

import json
import shutil
import time
from collections import namedtuple
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from adloc.computing.compute import Workbench
from adloc.computing.features import KIND, PASSED, PassingFeatures, StoredFeatures
from adloc.computing.store import Store
from adloc.errors import UserError
from adloc.methods.detector import Result
from adloc.planning.extents import Extents
from adloc.planning.keeping import SPARE_BYTES, DiskUse, passing, plan_disk, require_room
from adloc.planning.parts import TrainPart
from adloc.planning.sources import FeatureStage
from adloc.study import prepare
from adloc.workspace import Workspace
from commandline import adloc

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.study import Study

pytestmark = pytest.mark.usefixtures("no_report")

STUDY = """\
study: keeping
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 32}}
models: none
methods:
  - {{method: patchcore, params: {{backbone: efficientnet_lite0, neighbours: 2, coreset_ratio: 0.05}}}}
"""


class Silent:
    """Hears and says nothing."""

    def stage_started(self, stage: object) -> None:
        """Nothing."""

    def stage_progress(self, stage: object, done: int, total: int) -> None:
        """Nothing."""

    def stage_done(self, stage: object, seconds: float, n_images: int) -> None:
        """Nothing."""


def prepared(root: Path, folder: Path, *overrides: str) -> Study:
    """The study of the tree."""
    path = folder / "study.yaml"
    path.write_text(STUDY.format(root=root))
    return prepare(path, list(overrides), Workspace(folder), download=False)


def bench_of(study: Study, folder: Path) -> Workbench:
    """A workbench with a store of its own."""
    return Workbench(Store(folder), Extents.of(study.plan), torch.device("cpu"), Silent())


@pytest.mark.parametrize(("keep", "kept"), [("all", {True, False}), ("train", {True}), ("none", set())])
def test_features_are_kept_by_part(mvtec_tree: Path, tmp_path: Path, keep: str, kept: set[bool]) -> None:
    """All of them, those of train parts, or none; and no key of a stage depends on it."""
    study = prepared(mvtec_tree, tmp_path, f"features.keep={keep}")
    stages = [stage for stage in study.plan.stages.values() if isinstance(stage, FeatureStage)]
    found = passing(stages, study.spec.features.keep)
    assert {isinstance(stage.part, TrainPart) for stage in stages if stage.key not in found} == kept
    assert list(study.plan.stages) == list(prepared(mvtec_tree, tmp_path).plan.stages)


def test_features_that_pass_are_those_that_are_kept(mvtec_tree: Path, tmp_path: Path) -> None:
    """In any batches, twice over, bit by bit, in float16 too; of a part the store gains only the seconds."""
    found = {}
    for keep in ("all", "none"):
        study = prepared(mvtec_tree, tmp_path, f"features.keep={keep}", "features.dtype=float16")
        bench, stage = bench_of(study, tmp_path / keep), study.plan.runs[0].fit[0].source
        assert isinstance(stage, FeatureStage)
        bench.result(stage)
        found[keep] = bench.features(stage)
    kept, passed = found["all"], found["none"]
    assert isinstance(kept, StoredFeatures)
    assert isinstance(passed, PassingFeatures)
    assert (passed.n_images, passed.image_size) == (kept.n_images, kept.image_size)
    for layer in ("layer2", "layer3"):
        expected = torch.cat([batch[layer] for batch in kept.batches([layer])])
        for batch_size in (3, 32):
            again = torch.cat([batch[layer] for batch in passed.batches([layer], batch_size)])
            np.testing.assert_array_equal(again, expected)
    assert 0 < passed.seconds() <= passed.passing_s
    assert passed.seconds() == passed.seconds()
    assert {entry.kind for entry in Store(tmp_path / "none").entries()} == {PASSED}


def test_a_step_does_not_pay_for_the_passes(mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit whose images pass a slow backbone takes its own seconds; the passes are named beside them."""
    compute = PassingFeatures.batches

    def slow(features: PassingFeatures, *arguments: object) -> object:
        for batch in compute(features, *arguments):  # type: ignore[arg-type]
            time.sleep(0.2)
            features.passing_s += 0.2
            yield batch

    monkeypatch.setattr(PassingFeatures, "batches", slow)
    study = prepared(mvtec_tree, tmp_path, "features.keep=none")
    fitted = bench_of(study, tmp_path / "store").result(study.plan.runs[0].fit[0])
    assert fitted.seconds < 0.2
    assert float(fitted.facts["features_s"]) > 0


def test_images_that_are_kept_are_read(mvtec_tree: Path, tmp_path: Path) -> None:
    """What another study has put into the store passes no backbone."""
    study = prepared(mvtec_tree, tmp_path)
    stage = study.plan.runs[0].fit[0].source
    bench_of(study, tmp_path / "store").result(stage)
    bench = bench_of(prepared(mvtec_tree, tmp_path, "features.keep=none"), tmp_path / "store")
    assert isinstance(stage, FeatureStage)
    before = {entry.key for entry in Store(tmp_path / "store").entries()}
    features = bench.features(stage)
    list(features.batches(("layer2",)))
    assert features.seconds() == pytest.approx(StoredFeatures(bench._store, stage.image_keys, (32, 32)).seconds())
    assert {entry.key for entry in Store(tmp_path / "store").entries()} - before == {stage.key}


def test_bytes_are_counted_once_an_image_that_is_missing(mvtec_tree: Path, tmp_path: Path) -> None:
    """What is planned is what the store then holds, headers aside; nothing once it is there."""
    study = prepared(mvtec_tree, tmp_path)
    bench, store = bench_of(study, tmp_path / "store"), Store(tmp_path / "store")
    stages = [stage for stage in study.plan.stages.values() if isinstance(stage, FeatureStage)]

    def planned(keep: str) -> DiskUse:
        there = lambda key: store.path(KIND, key).exists()  # noqa: E731
        return plan_disk([*stages, *stages], keep, store.root, there, bench.image_bytes)  # type: ignore[arg-type]

    use = planned("all")
    keys = {key for stage in stages for key in stage.image_keys}
    trained = {key for stage in stages if isinstance(stage.part, TrainPart) for key in stage.image_keys}
    assert use.n_images == len(keys)
    assert planned("train").n_images == len(trained)
    assert (planned("none").n_images, planned("none").n_bytes) == (0, 0)
    assert 0 < use.free_bytes <= shutil.disk_usage(tmp_path).total
    for stage in stages:
        bench.result(stage)
    arrays = sum(a.nbytes for key in keys if (kept := store.get(KIND, key)) for a in kept.arrays.values())
    assert use.n_bytes == arrays
    assert planned("all").n_images == 0


def test_a_disk_without_the_room_is_refused_with_what_needs_less(tmp_path: Path) -> None:
    """To the byte, something left for all else; without features to keep nothing is refused."""
    require_room(DiskUse(10, 5, SPARE_BYTES + 5), "all", tmp_path)
    with pytest.raises(UserError, match=r"features of 10 images will take 6e-09 GB .* 1 GB are free") as caught:
        require_room(DiskUse(10, 6, SPARE_BYTES + 5), "all", tmp_path)
    assert "keep: train, or none" in caught.value.complaints[0].remedy
    with pytest.raises(UserError) as caught:
        require_room(DiskUse(10, 6, SPARE_BYTES + 5), "train", tmp_path)
    assert "keep: none" in caught.value.complaints[0].remedy
    require_room(DiskUse(0, 0, 0), "none", tmp_path)


def test_a_full_disk_is_told_before_any_work(mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`study run` ends with 2 and nothing is in the store, where the features would not fit."""
    usage = namedtuple("usage", "total used free")  # noqa: PYI024  # as shutil's
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**9))
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    result = adloc("study", "run", str(path), "--workspace", str(tmp_path / "w"), expect=2)
    assert "features: {keep: train, or none}" in result.output
    assert not list((tmp_path / "w").glob("store/*/*/*.safetensors"))


def test_trials_need_features(mvtec_tree: Path, tmp_path: Path) -> None:
    """A study that tunes and keeps none is refused: each trial would pass all its images again."""
    with pytest.raises(UserError, match=r"features\.keep is none, and a method is tuned"):
        prepared(mvtec_tree, tmp_path, "features.keep=none", "methods[0].tune={space: auto}")


# What a running study will read.


def test_nothing_is_collected_that_was_used_since_a_study_began(tmp_path: Path) -> None:
    """Of two results the older goes, and the one that a running study has touched stays, whatever the cap."""
    store = Store(tmp_path)
    for key in ("a" * 32, "b" * 32):
        store.put("kind", key, Result({"x": np.zeros(10)}))
    began = time.time() + 0.01
    time.sleep(0.02)
    store.touch("kind", "b" * 32)
    store.touch("kind", "c" * 32)  # which is not there
    assert [entry.key for entry in store.collect(0, in_use_since_s=began)] == ["a" * 32]
    assert [entry.key for entry in store.collect(0)] == ["b" * 32]


def test_a_workspace_knows_since_when_studies_run(tmp_path: Path) -> None:
    """Of those that run now the first one's beginning; one that is refused its lock changes nothing."""
    workspace = Workspace(tmp_path)
    assert workspace.in_use_since() is None
    with workspace.lock("first"):
        began = workspace.in_use_since()
        assert began is not None
        assert abs(began - time.time()) < 60
        with pytest.raises(UserError), workspace.lock("first"):
            pass
        with workspace.lock("second"):
            assert workspace.in_use_since() == began
            assert (workspace.in_use_since(besides="first") or 0) > began
    assert workspace.in_use_since() is None


@pytest.mark.slow
def test_figures_do_not_depend_on_what_is_kept(mvtec_tree: Path, tmp_path: Path) -> None:
    """The records of a study that keeps all and of one that keeps none hold the same figures and scores."""
    found = {}
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    for keep in ("all", "none"):
        place = ("--workspace", str(tmp_path / keep), "--set", f"features.keep={keep}")
        adloc("study", "run", str(path), *place)
        rows = json.loads(adloc("study", "results", str(path), *place, "--format", "json").stdout)
        seconds = ("fit_s", "score_ms_per_image", "peak_memory_mb")
        found[keep] = [{k: v for k, v in row.items() if k not in seconds} for row in rows]
    assert found["all"] == found["none"]
    assert not (tmp_path / "none" / "store" / KIND).exists()
