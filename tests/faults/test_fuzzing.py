"""Readers under seeded mutations of what they read: accepted, or the usual error, and never another exception.

$ADLOC_FUZZ multiplies the numbers of inputs, for long runs.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from adloc.computing.store import Store
from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.polygons import read_coco, read_labelme
from adloc.datasets.readers.table import TableConfig
from adloc.errors import UserError
from adloc.methods.detector import Result
from adloc.methods.errors import MethodError
from adloc.model.folder import read_model
from adloc.record.records import Records
from adloc.study_file.validation import load_study
from adloc.study_file.variants import variants
from exported import write_model
from faults.mutations import Seeded, encoded, mutated, seeded, timed
from handmade import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
TIMES = int(os.environ.get("ADLOC_FUZZ", "1"))

STUDY: dict[str, Any] = {
    "study": "fuzzed",
    "description": "Does it hold?",
    "dataset": {"kind": "textures", "categories": ["brick", "grass"], "n_train": 10, "seed": 1},
    "split": {"kind": "drawn", "train_fraction": 0.8, "seed": 3, "group": "(x)"},
    "shift": {"severity": [0.5, 1], "factors": "each"},
    "train": {"images": "all", "contamination": [0, 0.1]},
    "learning_curve": {"train_images": [1, 4, "all"], "draws": 2},
    "image": {"size": [64, 96], "tiles": {"rows": 2, "columns": 2, "overlap": 0.1}},
    "features": {"dtype": "float16", "engine": "torch", "keep": "train"},
    "regimes": ["clean", "no_adaptation"],
    "scopes": ["category", "unified"],
    "thresholds": {"objective": "guaranteed_fpr", "fpr": 0.1, "confidence": 0.9, "scope": "both"},
    "operating": {"prevalence": 0.01, "cost_miss": 5, "cost_false_alarm": 1, "parts_per_shift": 100},
    "evaluation": {"size": 64, "metrics": ["image_auroc", "pixel_aupro"], "mode": "exact"},
    "comparison": {"margin": 0.02},
    "methods": [
        {
            "method": "patchcore",
            "params": {"backbone": "resnet18", "layers": ["layer2"], "neighbours": 3, "search": {"index": "ivf"}},
            "grid": {"coreset_ratio": [0.1, 0.5]},
        },
        {"method": "padim", "params": {"backbone": "resnet18", "n_features": 9}, "tune": {"space": "auto"}},
        {"method": "knn", "tune": {"space": {"neighbours": {"low": 1, "high": 9, "type": "int"}}}},
    ],
    "tuning": {"metric": "val_image_auroc", "trials": 4, "wave": 2},
    "repeats": 2,
    "max_runs": 100_000,
    "heatmaps": 2,
    "explain": {"mask_noise": [1]},
    "models": "none",
    "seed": 7,
}
ODD = [
    None, True, False, 0, -1, 1, 2**31, 2**62, -0.0, 1e308, 0.5, "", "a", "all", "native", "auto", "none", "${HOME}",
    "~", "\u2028", "a:b", "os:system", "adloc.keys:content_key", "x" * 2000, [], [[]], {}, {"": ""},
    {"kind": "domains"}, [None], [0, 0], ["all", "all"], {"low": 0, "high": 0}, {"choices": [1, "a"]}, {"space": {}},
    "1e3", "yes", "2026-01-01", "0x10", "(((",
]  # fmt: skip


def places(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value inside."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated_study(random: Seeded) -> dict[str, Any]:
    """The study with one to three of its values replaced, removed, doubled, moved, or called otherwise."""
    study = copy.deepcopy(STUDY)
    for key in random.sample(sorted(set(STUDY) - {"study", "dataset", "methods"}), random.randrange(8, 18)):
        del study[key]
    for _ in range(random.randrange(1, 4)):
        *above, last = random.choice(list(places(study)))
        node: Any = study
        for key in above:
            node = node[key]
        how = random.randrange(5)
        if how == 0:
            del node[last]
        elif how == 1 and isinstance(node, dict):
            node[random.choice(["", "kind", "sizes", "0", "a.b", "method"])] = node.pop(last)
        elif how == 2 and isinstance(node, list):
            node.append(copy.deepcopy(random.choice(node)))
        elif how == 3:
            other: Any = study
            for key in random.choice(list(places(study))):
                other = other[key]
            node[last] = copy.deepcopy(other)
        else:
            node[last] = copy.deepcopy(random.choice(ODD))
    return study


def test_mutated_studies_are_accepted_or_told(tmp_path: Path, caused: Callable[..., None]) -> None:
    """A study that is accepted can also be written down, read again, and multiplied out."""
    path, again = tmp_path / "s.yaml", tmp_path / "again.yaml"
    n, n_accepted = 400 * TIMES, 0

    def use() -> None:
        _, spec = load_study(path)
        variants(spec)
        again.write_text(json.dumps(spec.resolved()))
        assert load_study(again)[1] == spec

    for seed in range(n):
        study = mutated_study(seeded(seed))
        path.write_text(json.dumps(study), encoding="utf-8")
        n_accepted += timed(use, UserError, study)
    assert n / 50 < n_accepted < n  # the mutations are neither all wrong nor all right
    caused("mutated study files", n)


def test_mutated_images_are_read_or_told(tmp_path: Path, caused: Callable[..., None]) -> None:
    """As images and as masks, of every format that is read."""
    exif = Image.Exif()
    exif[0x0112] = 6
    images = {
        "png": [encoded("RGB", "png"), encoded("P", "png"), encoded("I;16", "png"), encoded("1", "png")],
        "jpg": [encoded("RGB", "jpeg", exif=exif), encoded("CMYK", "jpeg"), encoded("L", "jpeg", progressive=True)],
        "bmp": [encoded("RGB", "bmp"), encoded("P", "bmp")],
        "tif": [encoded("F", "tiff"), encoded("RGB", "tiff", compression="tiff_lzw"), encoded("L", "tiff")],
        "webp": [encoded("RGB", "webp"), encoded("RGB", "webp", lossless=True)],
        "jp2": [encoded("RGB", "jpeg2000")],
    }  # fmt: skip
    inputs = [(suffix, content) for suffix, contents in images.items() for content in contents]
    n = 0
    for seed in range(150 * TIMES):
        for suffix, content in inputs:
            path = tmp_path / f"a.{suffix}"
            path.write_bytes(mutated(content, seeded(seed)))
            image = FileImage(path, path)
            for use in (image.read, image.fingerprint, image.examine):
                timed(use, DatasetError, (suffix, seed))
            n += 1
    caused("mutated images", n)


def test_mutated_records_are_read_as_written_or_not_at_all(tmp_path: Path, caused: Callable[..., None]) -> None:
    """No figure of a record changes without being noticed."""
    records = Records(tmp_path)
    folder = records.draft("run")
    (folder / "images.csv").write_text("part,score\n")
    records.write(record(run_id="run", metrics={"image_auroc": 0.875, "pixel_aupro": None}, threshold=1.5))
    path = tmp_path / "records" / "run" / "record.json"
    content, n = path.read_bytes(), 1500 * TIMES
    written = Records(tmp_path).get("run")
    assert written is not None
    for seed in range(n):
        path.write_bytes(mutated(content, seeded(seed)))
        found: list[object] = []
        assert timed(lambda found=found: found.append(Records(tmp_path).get("run")), (), seed)  # type: ignore[misc]
        assert found in ([None], [written]), seed
    caused("mutated records", n)


def test_mutated_results_are_read_as_written_or_not_at_all(tmp_path: Path, caused: Callable[..., None]) -> None:
    """Nor does an array or a fact of a stage in the store."""
    key, arrays = "ab" * 32, {"bank": np.arange(24.0).reshape(4, 6), "names": np.arange(3, dtype=np.int64)}
    store = Store(tmp_path)
    store.put("fit", key, Result(arrays, {"radius": 1.5}, 2.0))
    path = store.path("fit", key)
    content, n = path.read_bytes(), 1000 * TIMES
    for seed in range(n):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutated(content, seeded(seed)))
        found: list[Result | None] = []
        read = lambda found=found: found.append(Store(tmp_path).get("fit", key, lambda _: True))  # noqa: E731
        assert timed(read, (), seed)
        if found[0] is not None:
            assert found[0].facts == {"radius": 1.5}, seed
            assert all(np.array_equal(found[0].arrays[name], arrays[name]) for name in arrays), seed
    caused("mutated stage results", n)


def test_mutated_models_are_whole_or_told(tmp_path: Path, caused: Callable[..., None]) -> None:
    """Whichever file of its folder it is."""
    model = write_model(tmp_path / "m")
    before = read_model(model)
    n = 0
    for name in sorted(path.name for path in model.iterdir()):
        content = (model / name).read_bytes()
        for seed in range(150 * TIMES):
            (model / name).write_bytes(mutated(content, seeded(seed)))
            found: list[Any] = []
            if timed(lambda found=found: found.append(read_model(model)), UserError, (name, seed)):  # type: ignore[misc]
                assert found[0].spec == before.spec, (name, seed)
                assert np.array_equal(
                    found[0].fit["mean_image"].arrays["mean"], before.fit["mean_image"].arrays["mean"]
                )
            n += 1
        (model / name).write_bytes(content)
    caused("mutated model files", n)


def test_mutated_tables_and_annotations_are_read_or_told(tmp_path: Path, caused: Callable[..., None]) -> None:
    """CSV, labelme and COCO."""
    rows = "".join(f"a/{i}.png,{i % 2},part,scratch,test,m/{i}.png,cam,g{i}\n" for i in range(8))
    table = ("path,label,category,defect,part,mask,domain,group\n" + rows).encode()
    shape = {"label": "x", "points": [[0, 0], [3, 1], [5, 5]], "shape_type": "polygon"}
    labelme = json.dumps({"imageHeight": 32, "imageWidth": 40, "shapes": [shape]}).encode()
    image = {"id": 1, "file_name": "a.png", "height": 32, "width": 40}
    marks = {"image_id": 1, "segmentation": [[0, 0, 5, 0, 5, 5]]}
    coco = json.dumps({"images": [image], "annotations": [marks]}).encode()
    n = 700 * TIMES

    def draw(path: Path) -> None:
        outlines = [read_labelme(path)] if path.name == "labelme.json" else read_coco(path).values()
        for each in outlines:
            each.mask()

    for seed in range(n):
        path = tmp_path / "t.csv"
        path.write_bytes(mutated(table, seeded(seed)))
        timed(lambda: TableConfig(file=path).listing().required(), DatasetError, seed)  # noqa: B023
        for name, content in (("labelme.json", labelme), ("coco.json", coco)):
            drawn = tmp_path / name
            drawn.write_bytes(mutated(content, seeded(seed)))
            timed(lambda: draw(drawn), DatasetError, (name, seed))  # noqa: B023
    caused("mutated tables and annotations", 3 * n)


@pytest.mark.filterwarnings("ignore")  # what torch says of files that are none of its own
def test_mutated_weights_are_tensors_or_told(
    tmp_path: Path, caused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both formats, and of torch's of old, which is a pickle."""
    import torch
    from safetensors.torch import save_file

    from adloc.methods.weights import read_state_dict

    monkeypatch.chdir(tmp_path)
    tensors = {"0.weight": torch.ones(2, 3, 1, 1), "0.bias": torch.zeros(2), "n": torch.tensor(3)}
    save_file(tensors, tmp_path / "new.safetensors")
    torch.save(tensors, tmp_path / "new.pth")
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    n = 0
    for name in ("new.safetensors", "new.pth", "old.pth"):
        content = (tmp_path / name).read_bytes()
        for seed in range(400 * TIMES):
            path = tmp_path / f"w{name[3:]}"
            path.write_bytes(mutated(content, seeded(seed)))
            timed(lambda: read_state_dict(path), MethodError, (name, seed))  # noqa: B023
            n += 1
    shutil.rmtree(tmp_path)
    caused("mutated weights", n)
