"""`mlflow models serve` on an exported model, for real: real images in, the record's scores out, nonsense answered."""

from __future__ import annotations

import base64
import json
import pickle
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from adloc.record.records import Records
from commandline import adloc
from pages import page
from serving import in_json, is_well, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_report")]

JSON = "application/json"
STUDY = """\
study: line
dataset: {{kind: mvtec_ad, root: {root}, categories: [bottle]}}
train: {{images: 24}}
image: {{size: 64}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, coreset_ratio: 0.1, reweight: none}}
heatmaps: 0
models: none
"""


def refuse(constant: str) -> None:
    """Of a parser that keeps to the standard."""
    raise ValueError(constant)


@dataclass(frozen=True)
class Reply:
    """What the server answered."""

    status: int
    text: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of a good answer, one for each image; NaN, which is no JSON, is not taken for a number."""
        found: list[dict[str, Any]] = json.loads(self.text, parse_constant=refuse)["predictions"]
        return found


@dataclass(frozen=True)
class Server:
    """A running server, the model's scores of test images by path, and where those images are."""

    port: int
    recorded: dict[str, float]
    root: Path

    def is_well(self) -> bool:
        """Whether the health check says so."""
        return is_well(self.port)

    def post(self, body: bytes, kind: str = JSON) -> Reply:
        """Send a body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("POST", "/invocations", body, {"Content-Type": kind})
        answer = connection.getresponse()
        return Reply(answer.status, answer.read().decode())

    def score(self, *files: bytes) -> Reply:
        """Send images."""
        return self.post(in_json(files))

    def image(self, name: str) -> bytes:
        """A test image's file."""
        return (self.root / name).read_bytes()


def picture(pixels: NDArray[Any]) -> bytes:
    """As a PNG."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def claims_to_be(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose head names a size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def server(industrial_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The best model of a study of bottles, exported and served as in docs/line.md; without a network."""
    folder = tmp_path_factory.mktemp("line")
    file, workspace, model = folder / "line.yaml", folder / "workspace", folder / "model"
    file.write_text(STUDY.format(root=industrial_root))
    adloc("study", "run", file, "--workspace", workspace)
    adloc("model", "export", "--study", file, "--best", "image_auroc", "--workspace", workspace, "--output", model)
    run_id = json.loads((model / "model.json").read_text())["origin"]["run_id"]
    records = Records(workspace / "studies" / "line")
    recorded = {each.image: each.score for each in records.image_scores(run_id, "test")}

    with serving(model, folder) as port:
        yield Server(port, recorded, industrial_root)


def test_score_is_the_records(server: Server) -> None:
    """Bit for bit, alone and among others, for every test image."""
    names = list(server.recorded)
    replies = [server.score(server.image(name)).rows[0] for name in names[:3]]
    together = server.score(*(server.image(name) for name in names)).rows
    assert [row["score"] for row in replies] == [server.recorded[name] for name in names[:3]]
    assert [row["score"] for row in together] == [server.recorded[name] for name in names]
    for row in together:
        assert row["anomalous"] == (row["score"] >= row["threshold"])
        assert row["error"] is None


@pytest.mark.parametrize("n_clients", [2, 8])
def test_clients_at_the_same_time_get_their_own_scores(server: Server, n_clients: int) -> None:
    """They wait for each other, and the health check answers meanwhile."""
    names = list(server.recorded)[: 2 * n_clients]
    with ThreadPoolExecutor(n_clients) as clients:
        replies = [clients.submit(server.score, server.image(name)) for name in names]
        assert server.is_well()
        scores = [reply.result().rows[0]["score"] for reply in replies]
    assert scores == [server.recorded[name] for name in names]


def test_broken_image_is_a_row_with_its_error(server: Server) -> None:
    """The others of the request have their scores, in their order."""
    first, last = list(server.recorded)[:2]
    good, broken, other = server.score(server.image(first), b"no image", server.image(last)).rows
    assert (good["score"], other["score"]) == (server.recorded[first], server.recorded[last])
    assert broken["score"] is None
    assert broken["anomalous"] is None
    assert "not a png" in broken["error"]


@pytest.mark.parametrize(
    ("key", "is_table"), [("dataframe_records", True), ("instances", True), ("inputs", False)], ids=str
)
def test_every_form_of_json_is_understood(server: Server, key: str, is_table: bool) -> None:
    """MLflow decodes base64 in some of them and not in others."""
    name = next(iter(server.recorded))
    text = base64.b64encode(server.image(name)).decode()
    body = {key: [{"image": text}] if is_table else {"image": [text]}}
    assert server.post(json.dumps(body).encode()).rows[0]["score"] == server.recorded[name]


REQUESTS = {
    "empty": (b"", JSON, 400, "valid JSON"),
    "not JSON": (b"{score me", JSON, 400, "valid JSON"),
    "a list": (b"[1, 2]", JSON, 400, "Received a list"),
    "no table": (b"{}", JSON, 400, "exactly one of the input fields"),
    "no such column": (in_json([b"a"], "picture"), JSON, 400, "Model is missing inputs ['image']"),
    "a number for an image": (b'{"dataframe_records": [{"image": 7}]}', JSON, 400, "not compatible with model"),
    "a form": (b"image=1", "application/x-www-form-urlencoded", 415, "only supports the following content types"),
    "a pickle": (pickle.dumps({"image": 1}), JSON, 400, "valid JSON"),
}


@pytest.mark.parametrize(("body", "kind", "status", "words"), list(REQUESTS.values()), ids=list(REQUESTS))
def test_malformed_request_is_refused_in_words(server: Server, body: bytes, kind: str, status: int, words: str) -> None:
    """With a status of the client's mistake; the next request is scored as ever."""
    reply = server.post(body, kind)
    assert reply.status == status
    assert words in reply.text
    assert "Traceback" not in reply.text
    assert_well(server)


PICTURES = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello, line", "not a png, jpg, bmp, tif, webp or jp2"),
    "a pickle": (pickle.dumps({"a": 1}), "not a png, jpg, bmp, tif, webp or jp2"),
    "truncated": (picture(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))[:9000], "truncated"),
    "144 million pixels": (claims_to_be(12_000, 12_000), "12000 x 12000 pixels: an image may have at most 100 MB"),
    "3,600 million pixels": (claims_to_be(60_000, 60_000), "an image may have at most 100 MB and 100 million pixels"),
    "200 MB in JSON": (bytes(150_000_000), "150 MB: an image may have at most 100 MB"),
}


@pytest.mark.parametrize(("file", "words"), list(PICTURES.values()), ids=list(PICTURES))
def test_malformed_picture_is_answered_in_words(server: Server, file: bytes, words: str) -> None:
    """In its row; nothing is scored and nothing dies."""
    reply = server.score(file)
    assert reply.status == 200
    assert reply.rows[0]["score"] is None
    assert words in reply.rows[0]["error"]
    assert_well(server)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.linspace(0, 65_535, 96 * 96).reshape(96, 96).astype(np.uint16), id="16 bit"),
        pytest.param(np.full((10, 20_000, 3), 128, np.uint8), id="20,000 x 10"),
        pytest.param(np.full((1, 1), 128, np.uint8), id="1 x 1"),
    ],
)
def test_unusual_picture_has_a_score(server: Server, pixels: NDArray[Any]) -> None:
    """Whatever can be decoded is resized as the study resizes it."""
    (row,) = server.score(picture(pixels)).rows
    assert row["error"] is None
    assert np.isfinite(row["score"])
    assert_well(server)


def test_documentation_serves_by_the_same_command() -> None:
    """The command of the fixture is the documented one."""
    assert re.search(r"mlflow models serve -m \S+ --env-manager local", page("line"))


def assert_well(server: Server) -> None:
    """Alive, and with the same score as ever."""
    name = next(iter(server.recorded))
    assert server.is_well()
    assert server.score(server.image(name)).rows[0]["score"] == server.recorded[name]
