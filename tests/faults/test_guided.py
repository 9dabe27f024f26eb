"""Readers under inputs guided by what the ones before have reached: accepted, or the usual error, and nothing else.

Where bytes have a checksum it is made right again, as whoever means harm would do. $ADLOC_GUIDED multiplies the numbers
of inputs, for long runs.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.errors import UserError
from adloc.model.folder import read_model
from adloc.record.records import Records
from adloc.study_file.validation import load_study
from adloc.study_file.variants import variants
from exported import reseal, write_model
from faults.mutations import encoded, explore, seeded, timed
from handmade import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.mutations import Explored

pytestmark = pytest.mark.slow
STUDIES = (
    b"study: s\ndataset: {kind: textures, categories: [brick]}\nmethods:\n"
    b"  - method: floor\n    grid: {unit: [grey_level]}\n",
    b"{study: s, dataset: {kind: textures}, shift: {severity: [0.5, 1]}, regimes: [clean, refit], methods: "
    b"[{method: padim, params: {backbone: resnet18, n_features: 9}, tune: {space: auto}}], tuning: {trials: 4}}",
    b"study: &x s\ndataset: {kind: textures, <<: {seed: 0x1}}\nimage: {size: [64, 96], tiles: {rows: 2, columns: 2}}\n"
    b"description: |\n  *x\nmethods: [{method: knn, tune: {space: {neighbours: {low: 1, high: 9, type: int}}}}]\n",
)
WORDS = (b"BF16", b"F8_E5M2", b"F64", b"I64", b"BOOL", b"U8", b"0", b"-1", b"1e999", b"null", b"[]", b"{}", b"../x")
TIMES = int(os.environ.get("ADLOC_GUIDED", "1"))


def has_led_somewhere(found: Explored, n_seeds: int) -> bool:
    """Whether code was reached that no right input reaches, by inputs that were kept for it."""
    return found.n_steps > found.n_seeds > 0 and len(found.kept) > n_seeds


def test_guided_study_files_are_accepted_or_told(tmp_path: Path, caused: Callable[..., None]) -> None:
    """As text, so that YAML's own grammar is explored too."""
    path, n = tmp_path / "s.yaml", 300 * TIMES

    def read() -> None:
        variants(load_study(path)[1])

    def use(content: bytes) -> None:
        path.write_bytes(content)
        timed(read, UserError, content)

    found = explore(STUDIES, n, use, ("adloc.",), seeded(1), WORDS)
    assert has_led_somewhere(found, len(STUDIES))
    caused("guided study files", n)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of files that it reads all the same
def test_guided_images_are_read_or_told(tmp_path: Path, caused: Callable[..., None]) -> None:
    """Of every format that is read, into Pillow's own readers."""
    n = 0
    for suffix, form, mode in (("png", "png", "P"), ("jpg", "jpeg", "RGB"), ("bmp", "bmp", "P"), ("tif", "tiff", "RGB"),
                               ("webp", "webp", "RGB"), ("jp2", "jpeg2000", "RGB")):  # fmt: skip
        path, seed = tmp_path / f"a.{suffix}", encoded(mode, form)

        def use(content: bytes, path: Path = path) -> None:
            path.write_bytes(content)
            image = FileImage(path, path)
            for read in (image.read, image.fingerprint, image.examine):
                timed(read, DatasetError, content)

        found = explore([seed], 60 * TIMES, use, ("adloc.", "PIL."), seeded(2))
        assert has_led_somewhere(found, 1), suffix
        n += 60 * TIMES
    caused("guided images", n)


def test_guided_records_are_read_or_not_there(tmp_path: Path, caused: Callable[..., None]) -> None:
    """A record as an earlier version wrote it, which had no checksum: what can be read of it is a record."""
    records, n = Records(tmp_path), 800 * TIMES
    folder = records.draft("run")
    (folder / "images.csv").write_text("part,category,name,label,score,defect\ntest,gear,a,1,0.5,hole\n")
    records.write(record(run_id="run", metrics={"image_auroc": 0.875, "pixel_aupro": None}, threshold=1.5))
    path = tmp_path / "records" / "run" / "record.json"
    seed = json.dumps({k: v for k, v in json.loads(path.read_bytes()).items() if k != "checksum"}, indent=1).encode()

    def read() -> None:
        fresh = Records(tmp_path)
        found = fresh.get("run")
        if found is not None:
            fresh.is_whole(found)
            fresh.damaged_files(found)

    def use(content: bytes) -> None:
        path.write_bytes(content)
        timed(read, (), content)

    found = explore([seed], n, use, ("adloc.",), seeded(3))
    assert has_led_somewhere(found, 1)
    caused("guided records", n)


def test_guided_models_are_read_or_told(tmp_path: Path, caused: Callable[..., None]) -> None:
    """model.json and the heads of its arrays, with lengths, hashes and check made right: it may come from anybody."""
    model, n = write_model(tmp_path / "m", anomalous=(0.5,), hashes=["ab" * 32]), 300 * TIMES
    reference = json.loads((model / "model.json").read_bytes())["reference"]["file"]
    before = {name: (model / name).read_bytes() for name in ("model.json", "arrays.safetensors", reference)}

    def read() -> None:
        found = read_model(model)
        assert found.reference.normal.ndim == 1
        assert len(found.reference.statistics) == len(found.reference.scores)

    for name, content in before.items():
        start = 0 if name == "model.json" else 8 + int.from_bytes(content[:8], "little")
        head = content if not start else content[8:start]

        def use(head: bytes, name: str = name, start: int = start, content: bytes = content) -> None:
            for each, right in before.items():
                (model / each).write_bytes(right)
            (model / name).write_bytes(len(head).to_bytes(8, "little") + head + content[start:] if start else head)
            with suppress(ValueError, OSError):
                reseal(model)
            timed(read, UserError, (name, head))

        found = explore([head], n, use, ("adloc.", "safetensors."), seeded(4), WORDS)
        assert has_led_somewhere(found, 1), name
        caused("guided model files", n)
