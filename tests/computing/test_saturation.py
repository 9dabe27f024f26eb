"""sPRO of a study on a miniature of MVTec LOCO: its thresholds, its regions, and its figure from them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from adloc.cli import cli
from adloc.computing.saturation import read_regions
from adloc.computing.store import Store
from adloc.computing.truth import truth_of
from adloc.datasets import check, load_samples
from adloc.datasets.defect_kinds import DefectKind, read_defect_kinds
from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.readers.mvtec_loco import MvtecLocoConfig
from adloc.datasets.sample import Sample
from adloc.datasets.transform import ImageConfig
from adloc.methods import load_detector
from adloc.planning.parts import TestPart
from adloc.planning.stages import TruthStage
from adloc.study import prepare
from adloc.workspace import Workspace
from layouts import LOCO_KINDS, mvtec_loco

pytestmark = pytest.mark.usefixtures("no_report")

STUDY = """\
study: saturated
dataset: {{kind: mvtec_loco, root: {root}, categories: [gear]}}
image: {{size: [48, 64]}}
regimes: [clean, no_adaptation]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, coreset_ratio: 0.2}}
heatmaps: 0
models: none
"""


@pytest.fixture
def loco(mvtec_tree: Path, tmp_path: Path) -> Path:
    """A study of the miniature, written down beside it."""
    mvtec_loco(mvtec_tree / "gear", tmp_path / "loco")
    file = tmp_path / "saturated.yaml"
    file.write_text(STUDY.format(root=tmp_path / "loco"))
    return file


def kind(value: int, threshold: float, *, relative: bool) -> DefectKind:
    """A kind of defect."""
    return DefectKind(
        defect_name=str(value), pixel_value=value, saturation_threshold=threshold, relative_saturation=relative
    )


def test_what_is_enough_follows_a_region_to_the_evaluation_size(tmp_path: Path) -> None:
    """By hand: of 8 x 8 pixels 16 are enough; at half the size 4 of 16. Half of 64 is 8 of 16; void ones are none."""
    for i, value in enumerate((200, 255)):
        mask = np.zeros((32, 32), np.uint8)
        mask[8 * i : 8 * i + 8, :8] = value
        Image.fromarray(mask).save(tmp_path / f"{i}.png")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    kinds = (kind(255, 16, relative=False), kind(200, 0.5, relative=True))
    source = FileImage(tmp_path / "a.png", tmp_path / "0.png", (tmp_path / "1.png",), kinds=kinds)
    part = TestPart("a", "clean", (Sample("a", "a.png", "test", "x", source),), (source.fingerprint(),), None)
    stage = TruthStage(part, ImageConfig(size=16), (16, 16))
    assert [(r.image, r.mask.sum(), r.saturation) for r in read_regions(stage, (16, 16), None)] == [
        (0, 16, 8.0),
        (0, 16, 4.0),
    ]
    void = np.zeros((1, 16, 16), dtype=bool)
    void[0, :6] = True  # all of the first, half of the second
    assert [(r.mask.sum(), r.saturation) for r in read_regions(stage, (16, 16), void)] == [(8, 2.0)]


def by_definition(maps: np.ndarray, regions: list[tuple[int, np.ndarray, float]], valid: np.ndarray) -> float:
    """Every score a threshold: the mean of min(hit / enough, 1) over the false-positive rate, up to 0.05."""
    outside = valid.copy()
    for index, mask, _ in regions:
        outside[index] &= ~mask
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps[valid])[::-1]:
        flagged = maps >= threshold
        found = [min((flagged[index] & mask).sum() / enough, 1) for index, mask, enough in regions]
        points.append((float(flagged[outside].mean()), float(np.mean(found))))
        if points[-1][0] > 0.05:
            break
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 > x0:
            end = min(x1, 0.05)
            area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    return area / 0.05


@pytest.mark.slow
def test_the_record_has_the_figure_of_the_definition(loco: Path, tmp_path: Path) -> None:
    """Clean: from mask files that are read here, by the entries of the config. Shifted: another one, void left out."""
    workspace = tmp_path / "workspace"
    result = CliRunner().invoke(cli, ["study", "run", str(loco), "--workspace", str(workspace), "--json"])
    assert result.exit_code == 0, result.output
    rows = {r["regime"]: r for r in json.loads(result.stdout)["results"] if r["category"] == "gear"}
    store = Store(workspace / "store")
    clean, shifted = prepare(loco, (), Workspace(workspace), download=False).plan.runs
    stage = clean.test
    scores, truth = (store.get(s.kind, s.key) for s in (stage.scores, stage.truth))
    assert scores is not None
    assert truth is not None
    detector = load_detector(clean.variant.method)
    maps = detector.anomaly_maps(scores.arrays["patch_maps"], (48, 64), stage.scores.params)
    rules = {int(str(each["pixel_value"])): each for each in LOCO_KINDS}
    regions = []
    for index, sample in enumerate(stage.truth.part.samples):
        folder = tmp_path / "loco/gear/ground_truth" / sample.defect / Path(sample.name).stem
        for path in sorted(folder.glob("*.png")):
            stored = np.asarray(Image.open(path))
            if not stored.any():
                continue
            rule, area = rules[int(stored.max())], int((stored > 0).sum())
            threshold = float(str(rule["saturation_threshold"]))
            enough = threshold * area if rule["relative_saturation"] else min(threshold, area)
            rows_at = (2 * np.arange(48) + 1) * 64 // (2 * 48)  # the pixel of 64 at the centre of each of 48
            mask = stored[rows_at] > 0
            regions.append((index, mask, enough / area * mask.sum()))
    assert len(regions) > int(truth.arrays["labels"].sum())  # several masks an image are several regions
    expected = by_definition(maps, regions, np.ones(maps.shape, dtype=bool))
    assert rows["clean"]["pixel_spro"] == pytest.approx(expected)

    kept = shifted.saturation
    assert kept is not None
    truth, scores = (store.get(s.kind, s.key) for s in (shifted.test.truth, shifted.test.scores))
    assert truth is not None
    assert scores is not None
    void = truth_of(truth.arrays, 0, len(kept.truth.part)).void
    assert void is not None
    maps = detector.anomaly_maps(scores.arrays["patch_maps"], (48, 64), kept.scores.params)
    moved = [(r.image, r.mask, r.saturation) for r in read_regions(kept.truth, (48, 64), void)]
    assert rows["no_adaptation"]["pixel_spro"] == pytest.approx(by_definition(maps, moved, ~void))


def test_without_thresholds_the_stages_are_the_same_and_one_is_missing(loco: Path, tmp_path: Path) -> None:
    """The config changes no key but its own stage's and the record's; streamed maps, or not asked for: none."""
    workspace = Workspace(tmp_path / "workspace")
    run = prepare(loco, (), workspace, download=False).plan.runs[0]
    for sets in ("evaluation.mode=streaming", "evaluation.metrics=[pixel_aupro]"):
        assert prepare(loco, (sets,), workspace, download=False).plan.runs[0].saturation is None
    config = tmp_path / "loco/gear/defects_config.json"
    changed = json.loads(config.read_text())
    changed[0]["saturation_threshold"] = 21
    config.write_text(json.dumps(changed))
    other = prepare(loco, (), workspace, download=False).plan.runs[0]
    assert run.saturation is not None
    assert other.saturation is not None
    assert other.saturation.key != run.saturation.key
    config.unlink()
    bare = prepare(loco, (), workspace, download=False).plan.runs[0]
    assert bare.saturation is None
    assert (bare.test.key, bare.test.truth.key) == (run.test.key, run.test.truth.key)
    assert len({run.key, other.key, bare.key}) == 3
    warned = check(MvtecLocoConfig(root=tmp_path / "loco", categories=("gear",))).warnings
    assert any("defects_config.json: no such file" in problem.found for problem in warned)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "the file: Invalid JSON"),
        ('[{"defect_name": "a"}]', "0.pixel_value: Field required"),
        (json.dumps([{**LOCO_KINDS[0], "saturation_threshold": 0}]), "0.saturation_threshold: Input should be greater"),
        (json.dumps([{**LOCO_KINDS[1], "saturation_threshold": 2}]), "a relative saturation_threshold is a share"),
        (json.dumps([LOCO_KINDS[0], LOCO_KINDS[0]]), "two kinds of defect have one pixel_value"),
    ],
)
def test_a_damaged_config_is_named(loco: Path, text: str, found: str) -> None:
    """Its path, the entry and what is wrong with it; the study is refused with it."""
    path = loco.parent / "loco/gear/defects_config.json"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_defect_kinds(path)
    assert str(path) in caught.value.problems[0].found
    assert found in caught.value.problems[0].found
    with pytest.raises(DatasetError, match=r"defects_config\.json"):
        load_samples(MvtecLocoConfig(root=loco.parent / "loco"))
