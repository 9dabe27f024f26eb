"""The quick start's winner leaves for the line: exported, checked, predicting, served; all as in docs/line.md."""

from __future__ import annotations

import csv
import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from adloc.datasets import load_samples
from adloc.datasets.textures import TexturesConfig
from adloc.record.records import Records
from checkout import ROOT
from commandline import adloc
from serving import in_json, serving

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_report")]

QUICKSTART = ROOT / "studies" / "quickstart.yaml"
BRICKS = {"categories": ("brick",), "n_train": 24, "n_test_good": 8, "n_per_defect": 4}
SETTINGS = ("dataset.categories=[brick]", "dataset.n_train=24", "dataset.n_test_good=8", "dataset.n_per_defect=4",
            "image.size=96", "regimes=[clean]", "models=none")  # fmt: skip
SET = tuple(word for setting in SETTINGS for word in ("--set", setting))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick start on a few small bricks, without the shift."""
    found = tmp_path_factory.mktemp("line") / "workspace"
    adloc("study", "run", QUICKSTART, *SET, "--workspace", found)
    return found


@pytest.fixture(scope="module")
def model(workspace: Path) -> Path:
    """Its winner."""
    folder = workspace.parent / "brick"
    chosen = ("--study", QUICKSTART, "--best", "image_auroc", "--category", "brick", *SET, "--workspace", workspace)
    adloc("model", "export", *chosen, "--output", folder)
    return folder


@pytest.fixture(scope="module")
def recorded(workspace: Path, model: Path) -> dict[str, float]:
    """Scores of the test images by identity, as the run has them."""
    run_id = json.loads((model / "model.json").read_text())["origin"]["run_id"]
    scores = Records(workspace / "studies" / "quickstart").image_scores(run_id, "test")
    return {each.image: each.score for each in scores}


@pytest.fixture(scope="module")
def photos(workspace: Path, recorded: dict[str, float]) -> dict[str, Path]:
    """The test images as files, whose pixels are those of the study."""
    found = {}
    for sample in load_samples(TexturesConfig.model_validate(BRICKS)):
        if sample.identity in recorded:
            path = workspace.parent / "photos" / f"{sample.name.replace('/', '-')}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(sample.source.read().image).save(path)
            found[sample.identity] = path
    assert found.keys() == recorded.keys()
    return found


def ask(port: int, files: Sequence[Path]) -> list[dict[str, object]]:
    """What the server says of these files."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    body = in_json([path.read_bytes() for path in files])
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    rows: list[dict[str, object]] = json.loads(answer.read())["predictions"]
    return rows


def test_it_was_chosen_on_validation_images(workspace: Path, model: Path) -> None:
    """The larger of the two methods' validation figures, whatever their test figures."""
    rows = json.loads(adloc("study", "results", QUICKSTART, *SET, "--workspace", workspace, "--json").stdout)
    best = max((row for row in rows if row["category"] == "brick"), key=lambda row: row["val_image_auroc"])
    assert json.loads((model / "model.json").read_text())["method"] == best["method"]


def test_it_proves_itself(model: Path) -> None:
    """Bit for bit on the machine of the export."""
    assert "asked for bit for bit, largest difference 0" in adloc("model", "check", model).output


def test_it_predicts_its_own_test_images_as_recorded(
    model: Path, recorded: dict[str, float], photos: dict[str, Path], tmp_path: Path
) -> None:
    """Every bit, from files, with heatmaps and a page beside them."""
    output = tmp_path / "rows.csv"
    more = ("--heatmaps", tmp_path / "maps", "--report", tmp_path / "page.html")
    adloc("predict", model, *photos.values(), "--output", output, *more)
    scores = {row["path"]: float(row["score"]) for row in csv.DictReader(output.read_text().splitlines())}
    assert {name: scores[str(path)] for name, path in photos.items()} == recorded
    assert len(list((tmp_path / "maps").rglob("*.tiff"))) == len(recorded)
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_it_is_served_with_the_recorded_score(model: Path, recorded: dict[str, float], photos: dict[str, Path]) -> None:
    """A real image, asked over HTTP, gets the very score of the record, alone and among others."""
    with serving(model, model.parent) as port:
        first, *_ = photos
        (row,) = ask(port, [photos[first]])
        assert row["score"] == recorded[first]
        assert row["anomalous"] is (recorded[first] >= float(str(row["threshold"])))
        together = ask(port, list(photos.values()))
    assert [row["score"] for row in together] == [recorded[name] for name in photos]
