"""MVTec AD 2's private parts: seen by no fit, threshold or evaluation, and exported as the server takes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from adloc.cli import cli
from adloc.computing.compute import choose_threshold, evaluate
from adloc.datasets import load_samples
from adloc.datasets.errors import DatasetError
from adloc.datasets.readers.mvtec_ad_2 import MvtecAd2Config
from adloc.datasets.split import SplitConfig, split
from adloc.datasets.transform import ImageConfig
from adloc.errors import StageMismatchError
from adloc.methods.detector import Result
from adloc.planning.parts import PrivatePart, TestPart, TrainPart, ValidationPart, require
from adloc.planning.stages import EvaluationStage, ThresholdStage, TruthStage
from adloc.private import pixel_threshold
from adloc.thresholds import ThresholdConfig
from layouts import mvtec_ad_2

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: served
dataset: {{kind: mvtec_ad_2, root: {root}}}
split: {{kind: official}}
image: {{size: [48, 64]}}
thresholds: {{objective: normal_quantile}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, coreset_ratio: 0.2}}
heatmaps: 0
models: none
"""


@pytest.fixture
def root(mvtec_tree: Path, tmp_path: Path) -> Path:
    """The miniature, of two categories."""
    for category in ("gear", "strip"):
        mvtec_ad_2(mvtec_tree / category, tmp_path / "ad2")
    return tmp_path / "ad2"


def private_part(root: Path) -> PrivatePart:
    """The private images of gear."""
    samples = MvtecAd2Config(root=root).private("gear")
    return PrivatePart("gear", "clean", tuple(samples), tuple(s.source.fingerprint() for s in samples), None)


def test_private_images_are_in_no_split_and_in_no_other_part(root: Path) -> None:
    """They are listed apart; a split refuses them, and so does whatever fits, calibrates or evaluates."""
    config = MvtecAd2Config(root=root, categories=("gear",))
    part = private_part(root)
    assert [sample.name for sample in part.samples] == [
        "test_private/000_regular.png",
        "test_private_mixed/000_mixed.png",
    ]
    assert {s.identity for s in part.samples}.isdisjoint({s.identity for s in load_samples(config)})
    for kind in ("drawn", "official"):
        with pytest.raises(ValueError, match="in no part of a split"):
            split([*load_samples(config), *part.samples], SplitConfig(kind=kind))
    for kind in (TrainPart, ValidationPart, TestPart):
        with pytest.raises(StageMismatchError, match="was given a PrivatePart"):
            require(part, kind)


def test_no_threshold_and_no_evaluation_takes_a_private_part(root: Path) -> None:
    """Whoever builds such a stage, computing it is refused before a score is looked at."""
    part: Any = private_part(root)
    unread: Any = None
    with pytest.raises(StageMismatchError):
        choose_threshold(ThresholdStage((unread,), (part,), ThresholdConfig()), [Result({})])
    truth = TruthStage(part, ImageConfig(), (4, 4))
    with pytest.raises(StageMismatchError):
        evaluate(EvaluationStage(unread, truth), Result({}), Result({}), unread)


def test_a_missing_private_part_is_named(root: Path) -> None:
    """With where it is to be had."""
    (root / "gear/test_private_mixed/000_mixed.png").unlink()
    with pytest.raises(DatasetError, match="test_private_mixed: no images"):
        MvtecAd2Config(root=root).private("gear")


@pytest.mark.parametrize("fpr", [0.0, 0.001, 0.1, 0.5])
def test_the_pixel_threshold_flags_at_most_its_share(fpr: float) -> None:
    """And would flag more one score lower; tied scores are flagged together, or not at all."""
    rng = np.random.default_rng(7)
    for maps in (rng.normal(size=(5, 20, 30)).astype(np.float32), rng.integers(0, 9, (5, 20, 30)).astype(np.float32)):
        threshold = pixel_threshold(maps, maps.size, fpr)
        below = maps[maps < threshold].max()
        assert (maps >= threshold).mean() <= fpr < (maps >= below).mean()


@pytest.mark.slow
def test_the_export_is_what_the_server_takes(root: Path, tmp_path: Path) -> None:
    """By the publisher's own check: folders, names, float16 and {0, 255} of one channel; and at the images' size."""
    file, workspace = tmp_path / "served.yaml", ["--workspace", str(tmp_path / "workspace")]
    file.write_text(STUDY.format(root=root))

    def adloc(*arguments: str, expect: int = 0) -> str:
        result = CliRunner().invoke(cli, ["study", *arguments, *workspace])
        assert result.exit_code == expect, result.output
        return result.output if expect else result.stdout

    rows = json.loads(adloc("run", str(file), "--json"))["results"]
    run_id = next(row["run_id"] for row in rows if row["category"] == "strip")
    output = tmp_path / "submission"
    arguments = ["export-private", str(file), "--run", run_id, "--output", str(output), "--pixel-fpr", "0.2"]
    written = json.loads(adloc(*arguments, "--json"))
    assert [(each["category"], each["n_images"]) for each in written] == [("gear", 2), ("strip", 2)]
    names = ("test_private/000_regular", "test_private_mixed/000_mixed")
    expected = {
        f"{folder}/{category}/{name}.{suffix}"
        for folder, suffix in (("anomaly_images", "tiff"), ("anomaly_images_thresholded", "png"))
        for category in ("gear", "strip")
        for name in names
    }
    assert {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()} == expected
    for each, size in zip(written, ((64, 64), (40, 90)), strict=True):
        for name in names:
            scores = tifffile.imread(output / "anomaly_images" / each["category"] / f"{name}.tiff")
            mask = np.asarray(Image.open(output / "anomaly_images_thresholded" / each["category"] / f"{name}.png"))
            assert (scores.dtype, scores.shape, mask.dtype, mask.shape) == (np.float16, size, np.uint8, size)
            assert set(np.unique(mask).tolist()) <= {0, 255}
            clear = np.abs(scores.astype(np.float64) - each["threshold"]) > 0.01 * abs(each["threshold"])
            assert np.array_equal((mask == 255)[clear], (scores >= each["threshold"])[clear])
            assert 0 < mask.mean() < 255  # the miniature's private image is the last test image: it has a defect
    again = adloc(*arguments, expect=2)
    assert "is there, and not an empty folder" in again
    assert "it must be a run_id of served" in adloc(*arguments[:3], "nothing", *arguments[4:], expect=2)
