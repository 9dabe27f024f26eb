"""A study's model, exported, gives its own test images the very scores of the record, by `adloc predict`."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from adloc.record.records import Records
from commandline import adloc

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.record.records import RunRecord

pytestmark = pytest.mark.slow

STUDY = """\
study: to_the_line
dataset: {{kind: mvtec_ad, root: {root}, categories: [strip]}}
image: {{size: [48, 64]}}
regimes: [clean]
heatmaps: 0
models: none
explain: {{suspicious_images: 0, missed_defects: 0}}
methods:
  - method: patchcore
    params: {{backbone: resnet18, weights: random, layers: [layer2, layer3], neighbours: 3, coreset_ratio: 0.2}}
  - method: knn
    params: {{backbone: resnet18, weights: random, layers: [layer3]}}
  - method: floor
"""


@pytest.fixture(scope="module")
def finished(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a study that has run."""
    folder = tmp_path_factory.mktemp("to_the_line")
    (folder / "study.yaml").write_text(STUDY.format(root=mvtec_tree))
    adloc("study", "run", folder / "study.yaml", "--workspace", folder / "ws")
    return folder / "ws"


def record_of(workspace: Path, method: str) -> tuple[RunRecord, Path]:
    """The method's record, and its folder."""
    records = Records(workspace / "studies" / "to_the_line")
    record = next(each for each in records.all() if each.method == method)
    return record, records.path(record.run_id)


@pytest.mark.parametrize("method", ["patchcore", "knn", "floor"])
def test_scores_are_those_of_the_record(finished: Path, mvtec_tree: Path, tmp_path: Path, method: str) -> None:
    """Bit for bit, with the record's threshold and its verdicts, in whatever company an image is scored."""
    record, folder = record_of(finished, method)
    model = tmp_path / "model"
    adloc("model", "export", record.run_id, "--workspace", finished, "--output", model)
    with (folder / "images.csv").open(newline="") as file:
        recorded = {row["name"]: row for row in csv.DictReader(file) if row["part"] == "test"}
    assert len(recorded) == 10
    images = [mvtec_tree / "strip" / name for name in recorded]
    maps = [] if method == "knn" else ["--heatmaps", tmp_path / "maps"]
    done = adloc("predict", model, *images, *maps)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["path"] for row in rows] == [str(path) for path in images]
    for row, of in zip(rows, recorded.values(), strict=True):
        assert (float(row["score"]), row["anomalous"]) == (float(of["score"]), of["anomalous"])
        assert float(row["threshold"]) == record.threshold
    alone = adloc("predict", model, images[0])
    assert next(csv.DictReader(io.StringIO(alone.stdout)))["score"] == rows[0]["score"]
    for path in (tmp_path / "maps").rglob("*.tiff"):
        assert (tifffile.imread(path).shape, tifffile.imread(path).dtype) == ((48, 64), np.float32)


def test_whole_images_have_no_heatmaps(finished: Path, mvtec_tree: Path, tmp_path: Path) -> None:
    """A method without maps says so before any work; the page shows its images alone."""
    record, _ = record_of(finished, "knn")
    adloc("model", "export", record.run_id, "--workspace", finished, "--output", tmp_path / "model")
    images = mvtec_tree / "strip" / "test"
    done = adloc("predict", tmp_path / "model", images, "--heatmaps", tmp_path / "maps", expect=2)
    assert "whole images" in done.stderr
    assert not (tmp_path / "maps").exists()
    adloc("predict", tmp_path / "model", images, "--report", tmp_path / "page.html", "--output", tmp_path / "rows.csv")
    assert "anomaly map, warm" not in (tmp_path / "page.html").read_text(encoding="utf-8")
