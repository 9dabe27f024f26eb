"""`adloc predict` through the command line, on a model whose scores are known beforehand: flat grey images."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from adloc.cli import cli
from adloc.model.spec import Scale
from commandline import adloc
from exported import GREY, HEIGHT, WIDTH, draw, score_of, write_model

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat grey of 51 is normal; anomalous from a score of .1."""
    return write_model(tmp_path_factory.mktemp("exported") / "model")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_row_an_image_in_the_order_given(model: Path, tmp_path: Path) -> None:
    """More images than are scored together; each with its score, by the model's threshold."""
    greys = [GREY + (7 * i) % 90 for i in range(40)]
    paths = [draw(tmp_path / f"{i}.png", grey) for i, grey in enumerate(greys)]
    done = adloc("predict", model, *paths)
    rows = rows_of(done.stdout)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    np.testing.assert_allclose([float(row["score"]) for row in rows], [score_of(g) for g in greys], atol=1e-6)
    assert [row["anomalous"] for row in rows] == [str(int(score_of(grey) >= 0.1)) for grey in greys]
    assert {(row["threshold"], row["error"]) for row in rows} == {("0.1", "")}
    assert "40 scored" in done.stderr
    assert f"{sum(score_of(grey) >= 0.1 for grey in greys)} anomalous, 0 broken" in done.stderr


def test_every_output_says_the_same(model: Path, tmp_path: Path) -> None:
    """JSON lines on standard output, and files by their suffix."""
    draw(tmp_path / "in" / "a.png", 60)
    (tmp_path / "in" / "b.png").write_bytes(b"")
    found: list[list[dict[str, Any]]] = []
    done = adloc("predict", model, tmp_path / "in", "--format", "jsonl", expect=3)
    found.append([json.loads(line) for line in done.stdout.splitlines()])
    for name in ("rows.jsonl", "rows.parquet"):
        assert adloc("predict", model, tmp_path / "in", "--output", tmp_path / name, expect=3).stdout == ""
    found.append([json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()])
    found.append(pq.read_table(tmp_path / "rows.parquet").to_pylist())
    assert found[0] == found[1] == found[2]
    assert [row["anomalous"] for row in found[0]] == [False, None]


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG of that size, up to its pixels."""
    sizes = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", sizes), (b"IDAT", zlib.compress(b"\0")))
    written = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def wide_grey(path: Path) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH), GREY * 257, np.uint16)).save(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(200_000_000)


MALFORMED: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "empty": (lambda path: path.write_bytes(b""), "the file is empty"),
    "truncated": (lambda path: path.write_bytes(png()[:2000]), "does not decode"),
    "text": (lambda path: path.write_text("no image"), "does not decode"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": [1]})), "does not decode"),
    "16-bit grey": (wide_grey, None),
    "20,000 x 10": (lambda path: Image.new("RGB", (20_000, 10), (GREY,) * 3).save(path), None),
    "108 megapixels": (lambda path: path.write_bytes(png_header(12_000, 9_000)), "at most"),
    "400 megapixels": (lambda path: path.write_bytes(png_header(20_000, 20_000)), "at most"),
    "200 MB": (sparse, "200 MB"),
    "folder": (Path.mkdir, "not a file"),
    "link to itself": (lambda path: path.symlink_to(path), "cannot be read"),
    "gone": (lambda path: path, "no such file"),
    "line feed in its name\n": (draw, None),
    "größe 寸法 😀": (draw, None),
}


def test_malformed_input_is_a_row(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies there under an image's name, the batch goes on and the row says what is wrong."""
    monkeypatch.chdir(tmp_path)
    for name, (make, _) in MALFORMED.items():
        make(Path(f"{name}.png"))
    os.mkfifo("pipe.png")  # nobody writes to it: opening it would wait for ever
    expected = {f"{name}.png": error for name, (_, error) in MALFORMED.items()} | {"pipe.png": "not a file"}
    lines = "\n".join(name for name in expected if "\n" not in name)
    done = CliRunner().invoke(cli, ["predict", str(model), "line feed in its name\n.png", "-"], input=lines)
    assert done.exit_code == 3, done.output
    rows = {row["path"]: row for row in rows_of(done.stdout)}
    assert rows.keys() == expected.keys()
    for name, error in expected.items():
        if error is None:
            assert float(rows[name]["score"]) == pytest.approx(0, abs=1e-6), name
            assert rows[name]["error"] == ""
        else:
            assert error in rows[name]["error"], name
            assert "\n" not in rows[name]["error"]
            assert rows[name]["score"] == rows[name]["anomalous"] == ""
    assert f"4 scored, 0 anomalous, {len(expected) - 4} broken" in done.stderr


def test_a_huge_file_is_refused_unread(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is looked at first: no byte of it is in memory."""

    def never(path: Path) -> bytes:
        raise AssertionError(path)

    monkeypatch.setattr("adloc.model.pictures.read_bytes", never)
    sparse(tmp_path / "huge.png")
    (row,) = rows_of(adloc("predict", model, tmp_path / "huge.png", expect=3).stdout)
    assert "200 MB" in row["error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{images}", "--threshold", "nan"], "--threshold"),
        (["{images}", "--threshold", "1", "--fpr", "0.1"], "give one"),
        (["{images}", "--fpr", "0"], "--fpr"),
        (["{images}", "--fpr", "nan"], "--fpr"),
        (["{images}", "--output", "rows.xlsx"], ".parquet"),
        (["{images}", "--output", "/nowhere/rows.csv"], "folder"),
        (["{images}", "--output", "x" * 300 + "/rows.csv"], "folder"),
        (["{images}", "--report", "/nowhere/page.html"], "folder"),
        (["{images}", "--report", "x" * 300 + "/page.html"], "folder"),
        (["{images}", "--heatmaps", "{images}"], "elsewhere"),
        (["{images}", "--heatmaps", "{images}/maps"], "elsewhere"),
        (["{images}/a.png", "--watch"], "one folder"),
        (["{images}", "--watch", "--report", "page.html"], "--report"),
        (["{images}", "--watch", "--output", "rows.parquet"], "Parquet"),
        (["{images}/*.bmp"], "no image matches"),
        ([], "no image is named"),
    ],
)
def test_mistakes_are_found_before_any_work(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    """Exit code 2, a sentence, and nothing written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("adloc.model.scorer.Scorer.__init__", lambda *_: pytest.fail("the model was loaded"))
    images = tmp_path / "in"
    draw(images / "a.png")
    done = adloc("predict", model, *(each.format(images=images) for each in arguments), expect=2)
    assert words in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.png"]


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    """Exit code 2, before an image is read."""
    draw(tmp_path / "a.png")
    done = adloc("predict", tmp_path, tmp_path / "a.png", "--output", tmp_path / "rows.csv", expect=2)
    assert "model" in done.stderr
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.slow
def test_mistakes_load_no_torch(model: Path, tmp_path: Path) -> None:
    """And scoring loads neither anomalib nor MLflow for a method that needs none."""
    draw(tmp_path / "a.png")
    code = (
        "import sys\nfrom adloc.cli import cli\n"
        "def run(*a):\n    try: cli(list(a), standalone_mode=False)\n    except SystemExit as e: return e.code\n"
        f"assert run('predict', {str(model)!r}, {str(tmp_path)!r}, '--output', 'x.y') == 2\n"
        f"assert run('predict', {str(model)!r}, {str(tmp_path)!r}, '--fpr', '1e-9') == 2\n"
        "assert 'torch' not in sys.modules\n"
        f"assert run('predict', {str(model)!r}, {str(tmp_path)!r}) == 0\n"
        "assert not {'anomalib', 'mlflow', 'lightning', 'pandas', 'matplotlib', 'pyarrow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_without_a_threshold_nothing_is_called_anomalous(tmp_path: Path) -> None:
    """Said once; a threshold that is given is used."""
    bare = write_model(tmp_path / "model", threshold=None, pixel=None)
    draw(tmp_path / "a.png", 200)
    done = adloc("predict", bare, tmp_path / "a.png")
    assert rows_of(done.stdout)[0]["anomalous"] == rows_of(done.stdout)[0]["threshold"] == ""
    assert done.stderr.count("no threshold") == 1
    (row,) = rows_of(adloc("predict", bare, tmp_path / "a.png", "--threshold", "0.5").stdout)
    assert (row["anomalous"], row["threshold"]) == ("1", "0.5")


def test_a_score_at_the_threshold_is_anomalous(model: Path, tmp_path: Path) -> None:
    """Anomalous when score >= threshold."""
    draw(tmp_path / "a.png", 60)
    score = rows_of(adloc("predict", model, tmp_path / "a.png").stdout)[0]["score"]
    above = repr(math.nextafter(float(score), 1))
    for threshold, expected in ((score, "1"), (above, "0")):
        done = adloc("predict", model, tmp_path / "a.png", "--threshold", threshold)
        assert rows_of(done.stdout)[0]["anomalous"] == expected


def test_heatmaps_have_the_names_of_their_images(model: Path, tmp_path: Path) -> None:
    """Folders are mirrored, two images of one stem have two maps, a broken one has none."""
    for name in ("in/a/1.png", "in/b/1.png", "in/b/1.bmp"):
        draw(tmp_path / name, spot=204)
    (tmp_path / "in" / "b" / "2.png").write_bytes(b"")
    adloc("predict", model, tmp_path / "in", "--heatmaps", tmp_path / "maps", expect=3)
    names = {str(path.relative_to(tmp_path / "maps")) for path in (tmp_path / "maps").rglob("*.*")}
    stems = ("a/1", "b/1", "b/1-2")
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "tiff")}
    for stem in stems:
        raw = tifffile.imread(tmp_path / "maps" / f"{stem}.tiff")
        assert (raw.dtype, raw.shape) == (np.float32, (HEIGHT, WIDTH))
        expected = np.zeros((HEIGHT, WIDTH))
        expected[4:16, 6:22] = score_of(204)
        np.testing.assert_allclose(raw, expected, atol=1e-6)


def test_overlays_are_warm_inside_the_contour(model: Path, tmp_path: Path) -> None:
    """On the model's own scale: red over the spot, blue elsewhere, and the same colours beside another image."""
    draw(tmp_path / "in" / "spot.png", spot=204)
    draw(tmp_path / "in" / "flat.png")
    adloc("predict", model, tmp_path / "in", "--heatmaps", tmp_path / "maps")
    spot, flat = (np.asarray(Image.open(tmp_path / "maps" / f"{n}.png")).astype(int) for n in ("spot", "flat"))
    assert spot.shape == (HEIGHT, WIDTH, 3)
    red, _, blue = spot[10, 14]
    assert red > blue + 50
    np.testing.assert_array_equal(spot[-5:], flat[-5:])
    assert (np.abs(spot[2:18, 4:24] - flat[2:18, 4:24]).sum(axis=2) > 0).mean() > 0.6  # the spot and its outline


@pytest.mark.parametrize("lacks", ["maps", "scale"])
def test_heatmaps_that_cannot_be_are_refused(lacks: str, tmp_path: Path) -> None:
    """Of a method that scores whole images, and without a scale: before any work."""
    values: dict[str, Any] = {"scale": None} if lacks == "scale" else {"method": "knn", "scale": Scale(low=0, high=1)}
    model = write_model(tmp_path / "model", **values)
    draw(tmp_path / "a.png")
    done = adloc("predict", model, tmp_path / "a.png", "--heatmaps", tmp_path / "maps", expect=2)
    assert ("whole images" if lacks == "maps" else "scale") in done.stderr
    assert done.stdout == ""
