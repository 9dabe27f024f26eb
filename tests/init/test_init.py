"""`adloc init`: what a folder is taken for, and the study file that is written for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from adloc.init.first import study_name
from adloc.init.look import Sizes
from adloc.init.settings import input_size
from adloc.init.words import part_of, role_of
from adloc.uncertainty.order_statistics import least_normals
from commandline import call as adloc
from layouts import LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path


def fill(folder: Path, n: int, *, name: str = "{:03}.png", height: int = 40, width: int = 40) -> None:
    """Write n images of noise, no two alike, from a generator that the path seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(str(folder).encode()))
    for i in range(n):
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name.format(i))


def fill_masks(folder: Path, n: int) -> None:
    """Write n masks with a square in the middle."""
    folder.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    for i in range(n):
        Image.fromarray(mask).save(folder / f"{i:03}.png")


def first_file(folder: Path, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """The keys of the file that is written for a folder, which validates and whose images are in order; and stderr."""
    path = tmp_path / "first.yaml"
    result = adloc("init", folder, "--output", path)
    assert result.exit_code == 0, result.output
    assert adloc("study", "validate", path).exit_code == 0
    checked = adloc("data", "check", path, "--workspace", tmp_path / "w")
    assert checked.exit_code == 0, checked.output
    return YAML(typ="safe").load(path.read_text(encoding="utf-8")), result.stderr


def test_good_and_bad_folders(tmp_path: Path) -> None:
    """The two folders are the globs; the threshold is by F1, for both kinds reach the validation part."""
    fill(tmp_path / "parts" / "good", 12)
    fill(tmp_path / "parts" / "bad", 5)
    study, said = first_file(tmp_path / "parts", tmp_path)
    root = str(tmp_path / "parts")
    assert study["dataset"] == {"kind": "folder", "root": root, "normal": ["good/*"], "anomalous": ["bad/*"]}
    assert study["thresholds"] == {"objective": "f1"}
    assert study["study"] == "parts"
    assert [m["method"] for m in study["methods"]] == ["patchcore", "padim"]
    assert "no masks" in said
    assert "NOT SURE" not in said


def test_types_and_masks_in_folders_of_their_own(tmp_path: Path) -> None:
    """normal/, abnormal/<type>/, mask/<type>/."""
    fill(tmp_path / "parts" / "normal", 12)
    for kind in ("crack", "stain"):
        fill(tmp_path / "parts" / "abnormal" / kind, 4)
        fill_masks(tmp_path / "parts" / "mask" / kind, 4)
    study, said = first_file(tmp_path / "parts", tmp_path)
    assert study["dataset"]["anomalous"] == ["abnormal/*"]
    assert study["dataset"]["masks"] == "mask"
    assert "8 defective (4 crack, 4 stain), 8 with a mask" in said


def test_masks_beside_their_images_are_found(tmp_path: Path) -> None:
    """x_mask.png beside x.png."""
    fill(tmp_path / "parts" / "good", 12)
    fill(tmp_path / "parts" / "bad", 5)
    fill_masks(tmp_path / "masks", 5)
    for mask in (tmp_path / "masks").iterdir():
        mask.rename(tmp_path / "parts" / "bad" / f"{mask.stem}_mask.png")
    study, said = first_file(tmp_path / "parts", tmp_path)
    assert study["dataset"]["masks"] == "bad"
    assert "5 defective (5 bad), 5 with a mask" in said


def test_masks_that_some_images_lack_are_counted(tmp_path: Path) -> None:
    """3 of 5: pixel metrics are over these, and the file says so."""
    fill(tmp_path / "parts" / "good", 12)
    fill(tmp_path / "parts" / "bad", 5)
    fill_masks(tmp_path / "parts" / "masks", 3)
    _, said = first_file(tmp_path / "parts", tmp_path)
    assert "over the 3 of 5" in said


@pytest.mark.parametrize("inside", [".", "good", "Meine Bürsten (neu)", "[1] 写真"])
def test_good_images_alone(tmp_path: Path, inside: str) -> None:
    """Directly in the folder or in one below, whatever it is called: a threshold from good images, and no defects."""
    fill(tmp_path / "my brushes" / inside, 12, name="größe {}.png")
    study, said = first_file(tmp_path / "my brushes", tmp_path)
    assert "anomalous" not in study["dataset"]
    assert study["study"] == "my_brushes"
    # 12 images are divided 2 for the test, and of 10 8 to fit on: 2 calibrate, and can promise 1 / (2 + 1) at best
    assert study["thresholds"] == {"objective": "normal_quantile", "fpr": 0.34}
    assert "AUROC, F1 and recall stay empty" in said
    assert ("NOT SURE" in said) == (inside != "good")


@pytest.mark.parametrize("kind", sorted(LAYOUTS.keys() - {"mpdd"}))
def test_published_layouts_are_read_by_their_own_reader(kind: str, mvtec_tree: Path, tmp_path: Path) -> None:
    """A miniature of each gives its reader, with nothing to be unsure of."""
    layout = LAYOUTS[kind]
    for category in ("gear", "strip") if layout.several else ("gear",):
        layout.write(mvtec_tree / category, tmp_path / "tree")
    study, said = first_file(tmp_path / "tree", tmp_path)
    assert study["dataset"]["kind"] == kind
    assert "NOT SURE" not in said


def test_names_of_mpdd_are_read_as_mpdd(mvtec_tree: Path, tmp_path: Path) -> None:
    """Its layout is MVTec AD's; its categories' names tell them apart. One category may be pointed at by itself."""
    LAYOUTS["mpdd"].write(mvtec_tree / "gear", tmp_path / "tree")
    (tmp_path / "tree" / "gear").rename(tmp_path / "tree" / "tubes")
    study, _ = first_file(tmp_path / "tree" / "tubes", tmp_path)
    assert study["dataset"]["kind"] == "mpdd"
    assert study["dataset"]["categories"] == ["tubes"]
    assert study["study"] == "tubes"


def test_a_broken_category_is_left_out_by_name(mvtec_copy: Path, tmp_path: Path) -> None:
    """The others are read, and what is wrong with it is said."""
    for path in (mvtec_copy / "strip" / "test").rglob("*.png"):
        path.unlink()
    study, said = first_file(mvtec_copy, tmp_path)
    assert study["dataset"]["categories"] == ["gear"]
    assert "NOT SURE: category strip left out" in said


def test_several_categories(tmp_path: Path) -> None:
    """A folder each; a defect folder that one of them lacks keeps none of them out."""
    for category in ("front", "back side"):
        fill(tmp_path / "parts" / category / "OK", 10)
    fill(tmp_path / "parts" / "front" / "NG", 5)
    study, said = first_file(tmp_path / "parts", tmp_path)
    assert study["dataset"]["categories"] == ["back side", "front"]
    assert study["dataset"]["anomalous"] == ["NG/*"]
    assert study["thresholds"]["objective"] == "normal_quantile"  # F1 is not defined for back side
    assert "back side: 10 good images" in said


def test_parts_of_other_names(tmp_path: Path) -> None:
    """Train/ is fitted on whatever is inside; what is not normal in Test/ is a defect type."""
    fill(tmp_path / "parts" / "Train", 10)
    fill(tmp_path / "parts" / "Test" / "normal", 4)
    fill(tmp_path / "parts" / "Test" / "bent [x]", 5)
    study, said = first_file(tmp_path / "parts", tmp_path)
    assert study["dataset"]["normal"] == ["Train/*"]
    assert study["dataset"]["test_normal"] == ["Test/normal/*"]
    assert "5 defective (5 bent [x])" in said


def test_defects_in_the_training_folder_are_found(tmp_path: Path) -> None:
    """A layout for classifiers is not BTAD's, which would pass train/ng over."""
    for part in ("train", "test"):
        fill(tmp_path / "parts" / part / "ok", 8)
        fill(tmp_path / "parts" / part / "ng", 4)
    study, said = first_file(tmp_path / "parts", tmp_path)
    assert study["dataset"]["anomalous"] == ["test/ng/*", "train/ng/*"]
    assert "8 defective (8 ng)" in said


def test_names_that_say_nothing_are_not_sure(tmp_path: Path) -> None:
    """Two folders of unknown names are taken as categories, on stderr and in the file with the other way to read."""
    fill(tmp_path / "parts" / "alpha", 8)
    fill(tmp_path / "parts" / "beta", 8)
    study, said = first_file(tmp_path / "parts", tmp_path)
    assert study["dataset"]["categories"] == ["alpha", "beta"]
    assert "NOT SURE: alpha, beta: taken as categories" in said
    assert "# NOT SURE: alpha, beta" in (tmp_path / "first.yaml").read_text()


def test_unknown_folders_beside_good_are_defect_types_and_said(tmp_path: Path) -> None:
    """good/, scratch/: a defect type by its place, which is noted."""
    fill(tmp_path / "parts" / "good", 10)
    fill(tmp_path / "parts" / "scratch", 5)
    study, said = first_file(tmp_path / "parts", tmp_path)
    assert study["dataset"]["anomalous"] == ["scratch/*"]
    assert "NOT SURE: scratch: 5 images taken as defective" in said


def test_images_beside_a_defect_folder_are_the_good_ones(tmp_path: Path) -> None:
    """Only those directly in the folder."""
    fill(tmp_path / "parts", 10)
    fill(tmp_path / "parts" / "Fehlerhaft", 5)
    study, said = first_file(tmp_path / "parts", tmp_path)
    assert study["dataset"]["normal"] == ["*.png"]
    assert "parts: 10 good images" in said


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "no images\n"),
        (("notes.txt", "scan.heic"), "1 .heic files"),
        (("bad/0.png", "bad/1.png"), "none is known to be good: bad/ (2)"),
        (("good/0.png", "good/1.png", "good/2.png"), "add good images: 4 are enough to run"),
    ],
)
def test_a_folder_without_a_study_in_it_is_answered(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    """Found, rule, remedy, exit code 2, and no file."""
    (tmp_path / "parts").mkdir()
    for name in files:
        path = tmp_path / "parts" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40)).save(path) if path.suffix == ".png" else path.write_text("no image")
    result = adloc("init", tmp_path / "parts", "--output", tmp_path / "first.yaml")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "first.yaml").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Not there, a file, or a URL."""
    assert "s3://bucket/parts: a URL" in adloc("init", "s3://bucket/parts").stderr
    assert "no such folder" in adloc("init", tmp_path / "nothing").stderr
    (tmp_path / "file").write_text("")
    assert "not a folder" in adloc("init", tmp_path / "file").stderr


def test_a_file_is_not_written_over(tmp_path: Path) -> None:
    """Without --force it stays as it was; --print writes nothing and prints the file alone."""
    fill(tmp_path / "good", 6)
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    refused = adloc("init", tmp_path / "good", "--output", path)
    assert refused.exit_code == 2
    assert f"{path}: exists" in refused.stderr
    printed = adloc("init", tmp_path / "good", "--output", path, "--print")
    assert YAML(typ="safe").load(printed.stdout)["study"] == "good"
    assert path.read_text() == "mine"
    assert adloc("init", tmp_path / "good", "--output", path, "--force").exit_code == 0
    assert path.read_text() == printed.stdout


def test_long_images_keep_their_proportions(tmp_path: Path) -> None:
    """90 x 40 pixels: the short side is 224, the long one 224 x 2.25 = 504, in steps of 32 to the nearest."""
    fill(tmp_path / "good", 6, height=40, width=90)
    study, _ = first_file(tmp_path / "good", tmp_path)
    assert study["image"] == {"size": [224, 512]}


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(300, 400, 224), (300, 401, (224, 288)), (100, 100, 224), (480, 200, (544, 224)), (100, 900, (224, 672))],
)
def test_input_size_follows_the_proportions(height: int, width: int, size: int | tuple[int, int]) -> None:
    """Square up to 4:3; beyond, in proportion up to 3:1, in steps of 32: 224 x 401/300 = 299.4, 224 x 2.4 = 537.6."""
    assert input_size(Sizes(height, width, width / height, vary=False)) == size


def test_the_rate_is_one_that_the_images_can_promise(tmp_path: Path) -> None:
    """59 good images promise 5 % at 95 % (0.95^59 < 0.05 < 0.95^58): 370 images leave 59 to calibrate on."""
    assert 0.95**59 < 0.05 < 0.95**58
    assert least_normals(0.05) == 59
    for i in range(370):  # 74 for the test; of 296, 237 to fit on and 59 to calibrate on
        Image.new("RGB", (4, 4), (i % 256, i // 256, 0)).save(tmp_path / f"{i}.bmp")
    printed = adloc("init", tmp_path, "--print")
    assert YAML(typ="safe").load(printed.stdout)["thresholds"] == {"objective": "guaranteed_fpr", "fpr": 0.05}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((name, "normal") for name in ("good", "01_OK", "Normal", "i.O.", "gut", "défaut-free", "no defects", "良品")),
        *((name, "normal") for name in ("ohne Fehler", "conforme", "합격정상")),
        *(
            (name, "anomalous")
            for name in ("bad", "NG", "NOK", "n.i.O.", "not_ok", "non-conforme", "Défauts", "不良品")
        ),
        *((name, "anomalous") for name in ("不合格", "Ausschuss")),
        *((name, "masks") for name in ("mask", "ground_truth", "GroundTruth", "gt", "good_masks", "Masken")),
        *((name, None) for name in ("scratch", "goodyear", "bottle", "nothing", "2024-01-05", "")),
    ],
)
def test_what_a_name_says(name: str, role: str | None) -> None:
    """By whole words, in several languages; a denial turns the meaning."""
    assert role_of(name) == role


def test_parts_by_name() -> None:
    """Whole words; a contest is no test."""
    assert [part_of(name) for name in ("Train", "test_good", "training-set", "contest")] == [
        "train",
        "test",
        "train",
        None,
    ]


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my images", "my_images"), ("Bürsten (neu)", "Bursten_neu"), ("部品", "images"), ("a" * 99, "a" * 80)],
)
def test_a_study_name_is_safe(folder: str, name: str) -> None:
    """Letters, digits, _ and -, at most 80, never nothing."""
    assert study_name(folder) == name


@pytest.mark.slow
def test_good_images_alone_end_in_a_report(tmp_path: Path) -> None:
    """Init and run, two commands: thresholds from good images, the share of false alarms, every other metric empty."""
    fill(tmp_path / "my brushes" / "good", 12)
    path = tmp_path / "first.yaml"
    assert adloc("init", tmp_path / "my brushes", "--output", path).exit_code == 0
    ran = adloc("study", "run", path, "--workspace", tmp_path / "w", "--set", "image.size=48")
    assert ran.exit_code == 0, ran.output
    folder = tmp_path / "w" / "studies" / "my_brushes"
    assert not (folder / "report_error.txt").exists()
    rows = json.loads((folder / "results.json").read_text())
    runs = [row for row in rows if row["category"] != "macro"]
    assert {row["regime"] for row in runs} == {"clean", "no_adaptation", "threshold_only", "full_adaptation"}
    for row in runs:
        assert row["status"] == "done"
        assert row["threshold"] is not None
        assert [row[name] for name in ("image_auroc", "image_f1", "image_recall", "pixel_auroc", "pixel_aupro")] == [
            None
        ] * 5
        assert 0 <= row["image_accuracy"] <= 1  # of good images alone: the share that is not flagged
    assert "false alarms" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_good_and_bad_without_masks_end_in_a_report(tmp_path: Path) -> None:
    """Image metrics; pixel metrics are empty."""
    fill(tmp_path / "parts" / "good", 12)
    fill(tmp_path / "parts" / "bad", 6)
    path = tmp_path / "first.yaml"
    assert adloc("init", tmp_path / "parts", "--output", path).exit_code == 0
    size = ("--set", "image.size=48", "--set", "regimes=[clean]")
    ran = adloc("study", "run", path, "--workspace", tmp_path / "w", *size)
    assert ran.exit_code == 0, ran.output
    folder = tmp_path / "w" / "studies" / "parts"
    assert not (folder / "report_error.txt").exists()
    for row in json.loads((folder / "results.json").read_text()):
        assert row["image_auroc"] is not None
        assert row["pixel_auroc"] is None
        assert row["pixel_aupro"] is None
