"""Folders, tables and annotations that are no dataset: each is told by the check of the data and by a study's plan."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from categories import write_category
from commandline import call
from faults.category import HEIGHT, WIDTH, both, folder, gone, holds, linked, study_of
from faults.told import refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = [f"gear/train/good/{i:03}.png,0," for i in range(6)] + [f"gear/test/good/{i:03}.png,0," for i in range(4)]
BAD = [f"gear/test/hole/{i:03}.png,1,gear/ground_truth/hole/{i:03}_mask.png" for i in range(2)]
TABLE = "\n".join(["path,label,mask", *GOOD, *BAD, ""])
PATHS = "normal: [gear/train/good/*], anomalous: [gear/test/hole/*]"
FIRST = "gear/train/good/000.png"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a category without a fault; to read only."""
    root = tmp_path_factory.mktemp("sound")
    write_category(root, "gear", HEIGHT, WIDTH, channels=3, n_train=6, n_defects=2)
    return root


def is_told(study: Path, workspace: Path, words: str) -> None:
    """Both verbs that look at images say so."""
    refused(call("data", "check", study, "--workspace", workspace), words, "error: ")
    refused(call("study", "plan", study, "--workspace", workspace), words)


def a_file(name: str) -> Callable[[Path], None]:
    """A file lies where a folder belongs."""
    return both(gone(name), holds(name, b"x"))


def renamed(to: bytes) -> Callable[[Path], None]:
    """The category is called otherwise."""

    def spoil(root: Path) -> None:
        (root / "gear").rename(root / os.fsdecode(to))

    return spoil


def a_loop(name: str) -> Callable[[Path], None]:
    """A link that never ends lies there."""
    return both(gone(name), linked(name, name.rpartition("/")[2]))


FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    f"{name} {how}": (make(name), words)
    for name, words in {
        "gear": ": no category inside",
        "gear/train/good": "gear/train/good: no images",
        "gear/test": "gear/test: no images",
    }.items()
    for how, make in {"is gone": gone, "is empty": folder, "is a file": a_file, "is a loop": a_loop}.items()
}
FOLDERS |= {
    "gear/train is gone": (gone("gear/train"), ": no category inside"),
    "gear/train is a file": (a_file("gear/train"), "gear/train/good: no images"),
    "only text to fit on": (
        both(folder("gear/train/good"), holds("gear/train/good/a.txt", b"x")),
        "gear/train/good: no images (only 1 .txt files, which are not read)",
    ),
    "one image to fit on": (
        both(*(gone(f"gear/train/good/{number:03}.png") for number in range(1, 6))),
        "the validation part has no normal image",
    ),
    "category of a long name": (
        renamed(b"g" * 200),
        "is no name for a category",
    ),
    "category of two lines": (renamed(b"a\nb"), "is no name for a category"),
    "category of bytes": (
        renamed(b"\xff"),
        "is no name for a category",
    ),
    "root is gone": (shutil.rmtree, ": no such folder"),
    "root is a file": (both(gone("."), holds(".", b"x")), ": not a folder"),
}


@pytest.mark.parametrize(("spoil", "words"), FOLDERS.values(), ids=FOLDERS)
def test_folder_that_is_no_dataset_is_told(
    sound: Path, tmp_path: Path, caused: Callable[..., None], spoil: Callable[[Path], None], words: str
) -> None:
    """With its path, what lies there, and the layout."""
    root = tmp_path / "data"
    shutil.copytree(sound, root)
    spoil(root)
    is_told(study_of(root, tmp_path), tmp_path / "w", words)
    caused("folders and tables that are wrong")


def coco(height: int = HEIGHT, width: int = WIDTH, first: float = 0) -> str:
    """A COCO file of one image and one triangle."""
    image = {"id": 1, "file_name": "gear/test/hole/000.png", "height": height, "width": width}
    marks = {"image_id": 1, "segmentation": [[first, 0, 5, 0, 5, 5]]}
    return json.dumps({"images": [image], "annotations": [marks], "categories": []})


def labelme(height: int = HEIGHT, kind: str = "polygon", points: object = ((0, 0), (3, 1), (5, 5))) -> str:
    """A labelme file of one shape."""
    shape = {"label": "x", "points": points, "shape_type": kind}
    return json.dumps({"imageHeight": height, "imageWidth": WIDTH, "shapes": [shape]})


# Keys of kind: folder, the text of root/marks.json and of root/masks/000.json, and what is said to be found.
GLOBS = {
    "glob of nothing": ("normal: [nope/*]", "", "nope/*: no images (no such folder)"),
    "glob of a bracket": ("normal: ['gear/train/[/*']", "", "gear/train/[/*: no images"),
    "normal and anomalous": (
        "normal: [gear/**], anomalous: [gear/test/hole/*]",
        "",
        "found by normal and by anomalous",
    ),
    "no such masks": (f"{PATHS}, masks: nope", "", "nope: no such folder"),
    "no such annotations": (f"{PATHS}, masks: nope.json", "", "nope.json: no such file"),
    "category that is not there": ("categories: [nope], normal: [train/good/*]", "", "nope: no such category"),
    "category above root": ("categories: ['..'], normal: [train/good/*]", "", "..: no such category"),
    "category of the system": ("categories: [/etc], normal: ['*']", "", "/etc: no such category"),
    "half a COCO file": (f"{PATHS}, masks: marks.json", "{", "marks.json: the file: Invalid JSON"),
    "deep COCO file": (f"{PATHS}, masks: marks.json", "[" * 100_000, "marks.json: the file: Invalid JSON"),
    "list for a COCO file": (f"{PATHS}, masks: marks.json", "[1]", "marks.json: the file: Input should be an object"),
    "corner at infinity": (f"{PATHS}, masks: marks.json", coco(first=float("inf")), "marks.json: annotations.0"),
    "image without a side": (f"{PATHS}, masks: marks.json", coco(height=0), "marks.json: images.0.height"),
    "image without an end": (f"{PATHS}, masks: marks.json", coco(10**9, 10**9), "1000000000 x 1000000000"),
    "half a labelme file": (f"{PATHS}, masks: masks", "{", "000.json: the file: Invalid JSON"),
    "labelme image without an end": (f"{PATHS}, masks: masks", labelme(10**9), "000.json: drawn on 1000000000 x 40"),
    "labelme image of another size": (f"{PATHS}, masks: masks", labelme(31), "000.json: drawn on 31 x 40"),
    "labelme circle": (f"{PATHS}, masks: masks", labelme(kind="circle"), "000.json: shapes[0] is a circle"),
    "labelme line": (f"{PATHS}, masks: masks", labelme(points=((0, 0), (1, 1))), "shapes[0] is a polygon of 2 points"),
    "labelme corner that is no number": (
        f"{PATHS}, masks: masks",
        labelme(points=((0, float("nan")), (1, 1), (2, 2))),
        "000.json: shapes.0.points.0.1",
    ),
}


@pytest.mark.parametrize(("keys", "text", "words"), GLOBS.values(), ids=GLOBS)
def test_globs_and_annotations_that_are_wrong_are_told(
    sound: Path, tmp_path: Path, caused: Callable[..., None], keys: str, text: str, words: str
) -> None:
    """With the file, and the place in it."""
    root = tmp_path / "data"
    shutil.copytree(sound, root)
    (root / "masks").mkdir()
    for name in ("marks.json", "masks/000.json") if text else ():
        (root / name).write_text(text)
    is_told(study_of(root, tmp_path, f"kind: folder, {keys}"), tmp_path / "w", words)
    caused("folders and tables that are wrong")


def of_category(name: str) -> bytes:
    """A table of that category alone."""
    rows = [f'{FIRST.replace("000", f"{i:03}")},0,"{name}"' for i in range(6)]
    return "\n".join(["path,label,category", *rows, ""]).encode()


TABLES: dict[str, tuple[bytes, str]] = {
    "no bytes": (b"", "t.csv: cannot be read"),
    "a line": (b"\n", "t.csv: cannot be read"),
    "columns alone": (b"path,label\n", "t.csv: no rows"),
    "no column label": (b"path\na.png\n", "t.csv: no column label"),
    "semicolons": (TABLE.replace(",", ";").encode(), "t.csv: no column path and label"),
    "noise": (b"\x89PNG" + bytes(range(128, 250)), "t.csv: cannot be read"),
    "latin-1": ("path,label\ntür.png,0\n".encode("latin1"), "t.csv: cannot be read"),
    "UTF-16": (TABLE.encode("utf-16"), "t.csv: cannot be read"),
    "a workbook": (b"PK\x03\x04" + bytes(100), "t.csv: no column path and label"),
    "longer row": (TABLE.encode() + b"a,b,c,d,e,f\n", "t.csv: cannot be read"),
    "open quotation": (TABLE.encode() + b'"gear/x.png,0\n', "t.csv: cannot be read"),
    "NUL in a path": (TABLE.replace("000", "0\x000").encode(), "row 2: a NUL character in path"),
    "row twice": (TABLE.encode() + f"{FIRST},0,\n".encode(), f"row 14: {FIRST} is in row 2 already"),
    "image that is gone": (TABLE.encode() + b"gear/none.png,0,\n", "gear/none.png: no such file"),
    "mask that is gone": (TABLE.encode() + b"gear/test/glare/000.png,1,none.png\n", "none.png: no such file"),
    "file of the system": (TABLE.encode() + b"/etc/passwd,0,\n", "/etc/passwd: does not decode"),
    "folder for an image": (TABLE.encode() + b"gear/train,0,\n", "gear/train: is a folder"),
    "table for an image": (TABLE.encode() + b"t.csv,0,\n", "t.csv: does not decode"),
    "path of 5,000 characters": (TABLE.encode() + b"x" * 5000 + b".png,0,\n", "xxx"),
    "no path": (TABLE.encode() + b",0,\n", "row 14: no path"),
    "no label": (TABLE.encode() + b"gear/test/glare/000.png,,\n", "row 14: label is empty"),
    "unknown label": (TABLE.encode() + b"gear/test/glare/000.png,2,\n", "row 14: label is 2"),
    "unknown part": (f"path,label,part\n{FIRST},0,both\n".encode(), "row 2: part is both"),
    "anomalous to fit on": (f"path,label,part\n{FIRST},1,train\n".encode(), "row 2: an anomalous image in part train"),
    "good anomalous": (f"path,label,defect\n{FIRST},1,good\n".encode(), "row 2: label 1 with defect good"),
    "nothing normal": (f"path,label\n{FIRST},1\n".encode(), "no normal images of t outside the test"),
    "category above the workspace": (of_category("a/../../../b"), "'a/../../../b': is no name for a category"),
    "category of no folder": (of_category(".."), "'..': is no name for a category"),
    "hidden category": (of_category(".git"), "'.git': is no name for a category"),
    "category of two lines": (of_category("a\nb"), r"'a\nb': is no name for a category"),
    "category of 300 characters": (of_category("c" * 300), "is no name for a category"),
}


@pytest.mark.parametrize(("content", "words"), TABLES.values(), ids=TABLES)
def test_table_that_is_wrong_is_told(
    sound: Path, tmp_path: Path, caused: Callable[..., None], content: bytes, words: str
) -> None:
    """With its row; a name in it never leads out of the workspace."""
    root = tmp_path / "data"
    shutil.copytree(sound, root)
    (root / "t.csv").write_bytes(content)
    study = tmp_path / "s.yaml"
    study.write_text(f"study: s\ndataset: {{kind: table, file: {root / 't.csv'}}}\nmethods: [{{method: floor}}]\n")
    is_told(study, tmp_path / "w", words)
    caused("folders and tables that are wrong")
