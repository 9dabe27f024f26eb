"""`adloc data` and `adloc store` through the command line."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from commandline import call as adloc
from layouts import LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: look
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: 48}}
methods: [{{method: patchcore, params: {{backbone: efficientnet_lite0}}}}]
"""


@pytest.fixture
def study_file(mvtec_copy: Path, tmp_path: Path) -> Path:
    """A study of images that the test may change."""
    path = tmp_path / "look.yaml"
    path.write_text(STUDY.format(root=mvtec_copy))
    return path


def test_check_counts_images_by_part(study_file: Path, tmp_path: Path) -> None:
    """12 train images and 4 + 10 test images a category are divided 10 / 6 / 10; as a table and as JSON."""
    result = adloc("data", "check", study_file, "--workspace", tmp_path / "w")
    assert result.exit_code == 0
    rows = [line.split()[:5] for line in result.stdout.splitlines() if line.startswith(("gear", "strip"))]
    assert rows == [
        [category, *counts]
        for category in ("gear", "strip")
        for counts in (["train", "10", "10", "0"], ["validation", "6", "2", "4"], ["test", "10", "4", "6"])
    ]
    assert json.loads(adloc("data", "check", study_file, "--workspace", tmp_path / "w", "--json").stdout)


def test_check_names_what_is_broken(study_file: Path, mvtec_copy: Path, tmp_path: Path) -> None:
    """Exit code 2, and the file."""
    (mvtec_copy / "gear" / "train" / "good" / "003.png").write_bytes(b"no image")
    result = adloc("data", "check", study_file, "--workspace", tmp_path / "w")
    assert result.exit_code == 2
    assert "gear/train/good/003.png" in result.output


def test_check_shows_masks_groups_and_domains(mvtec_copy: Path, tmp_path: Path) -> None:
    """What of the images has no mask, how many groups and which domains there are, by part."""
    path = tmp_path / "look.yaml"
    path.write_text(
        STUDY.format(root=mvtec_copy).replace(
            "categories: [gear, strip]", "masks: optional, domain: '/(good|hole|glare)/'"
        )
        + "split: {group: '(?P<group>[0-9])\\.png$'}\n"
    )
    shutil.rmtree(mvtec_copy / "gear/ground_truth/hole")
    result = adloc("data", "check", path, "--workspace", tmp_path / "w", "--json")
    content = json.loads(result.stdout)
    rows = [row for row in content["parts"] if row["category"] == "gear"]
    assert sum(row["without mask"] for row in rows) == 5
    assert sum(row["groups"] for row in rows) == 10
    assert sum(row["domains"].get("hole", 0) for row in rows) == 5
    assert any("no mask for 5 of 10" in warning for warning in content["warnings"])
    assert "without mask" in adloc("data", "check", path, "--workspace", tmp_path / "w").stdout


def test_check_names_pairs_that_look_the_same(study_file: Path, mvtec_copy: Path, tmp_path: Path) -> None:
    """A training image compressed into test/good is warned of, with both paths and parts; ten pairs are named."""
    with Image.open(mvtec_copy / "gear/train/good/000.png") as image:
        image.save(mvtec_copy / "gear/test/good/copy.jpg", quality=95)
    result = adloc("data", "check", study_file, "--workspace", tmp_path / "w", "--json")
    warnings = json.loads(result.stdout)["warnings"]
    assert result.exit_code == 0
    assert any("gear/train/good/000.png" in w and "copy.jpg (test) look the same" in w for w in warnings)


def test_check_of_a_published_validation_part(mvtec_tree: Path, tmp_path: Path) -> None:
    """A drawn split of a dataset that has one says so; the official one has nothing to say."""
    LAYOUTS["mvtec_loco"].write(mvtec_tree / "gear", tmp_path / "loco")
    path = tmp_path / "look.yaml"
    study = STUDY.replace("mvtec_ad", "mvtec_loco").replace("gear, strip", "gear")
    path.write_text(study.format(root=tmp_path / "loco"))
    drawn = adloc("data", "check", path, "--workspace", tmp_path / "w", "--json")
    assert "published validation part are drawn into other parts" in drawn.stdout
    path.write_text(path.read_text() + "split: {kind: official}\n")
    refused = adloc("data", "check", path, "--workspace", tmp_path / "w")
    assert refused.exit_code == 2  # the published validation part has no defects for F1
    assert "use split.kind: drawn, or use thresholds.objective: normal_quantile" in refused.stdout
    path.write_text(path.read_text() + "thresholds: {objective: normal_max}\n")
    official = adloc("data", "check", path, "--workspace", tmp_path / "w", "--json")
    assert "published validation part" not in official.stdout
    assert [row["images"] for row in json.loads(official.stdout)["parts"]] == [9, 3, 14]


def test_preview_is_a_picture(study_file: Path, tmp_path: Path) -> None:
    """Written where it says."""
    result = adloc("data", "preview", study_file, "--workspace", tmp_path / "w", "--images", "2")
    assert result.exit_code == 0
    path = tmp_path / "w" / "studies" / "look" / "preview.png"
    assert result.stdout.strip() == str(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_store_is_listed_verified_and_emptied(tmp_path: Path) -> None:
    """By kind; a damaged file is set aside with exit code 3; `gc --max-gb 0` leaves nothing."""
    import numpy as np

    from adloc.computing.store import Store
    from adloc.methods.detector import Result as StageResult

    store = Store(tmp_path / "store")
    for key in ("aa", "bb"):
        store.put("truth", key, StageResult({"x": np.ones(1000)}))
    assert json.loads(adloc("store", "ls", "--workspace", tmp_path, "--json").stdout)["truth"]["files"] == 2
    path = store.path("truth", "aa")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    damaged = adloc("store", "verify", "--workspace", tmp_path)
    assert damaged.exit_code == 3
    assert "1 damaged" in damaged.stdout
    assert "deleted 1 files" in adloc("store", "gc", "--workspace", tmp_path, "--max-gb", "0").stdout
    assert json.loads(adloc("store", "ls", "--workspace", tmp_path, "--json").stdout) == {}
