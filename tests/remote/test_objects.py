"""Objects behind a URL: written whole or not at all, whatever a network does; what a user has to mend is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adloc.datasets import objects as module
from adloc.datasets.objects import Objects, UnreachableError
from object_server import BUCKET, Faults

if TYPE_CHECKING:
    from pathlib import Path

    from object_server import ObjectServer


@pytest.fixture(params=["s3", "file"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """In a bucket, and in a folder."""
    if request.param == "file":
        return Objects(f"file://{tmp_path}/with a space")
    request.getfixturevalue("server")
    return Objects(f"s3://{BUCKET}/with a space/{tmp_path.name}")


def test_what_is_written_is_read(objects: Objects, tmp_path: Path) -> None:
    """By name, listed below any folder, with its size; and gone when it is removed, twice too."""
    assert (objects.read("a/b"), objects.stat("a/b"), objects.list()) == (None, None, {})
    (tmp_path / "sent").write_bytes(b"0123")
    objects.write("a/b", b"hello")
    objects.send("a/c", tmp_path / "sent")
    assert objects.read("a/b") == b"hello"
    assert {name: stat.n_bytes for name, stat in objects.list("a").items()} == {"a/b": 5, "a/c": 4}
    assert objects.list("ab") == {}
    assert objects.fetch("a/c", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"0123"
    assert not objects.fetch("a/d", tmp_path / "nothing")
    for _ in range(2):
        objects.remove("a/b")
    assert list(objects.list()) == ["a/c"]


def test_first_of_two_is_kept(objects: Objects) -> None:
    """Whoever comes second is told, and changes nothing; the first may ask again."""
    assert objects.create("claim", b"one")
    assert not objects.create("claim", b"other")
    assert objects.create("claim", b"one")
    assert objects.read("claim") == b"one"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_faults_change_nothing(server: ObjectServer, seed: int) -> None:
    """A quarter of all requests fails: all is written once, and read as it was written."""
    objects = Objects(f"s3://{BUCKET}/faults/{seed}")
    server.faults = Faults(0.25, seed=seed, late_s=1.5)
    for number in range(20):
        content = f"{number}".encode() * 1000
        objects.write(f"written/{number}", content)
        assert objects.create(f"created/{number}", content)
        assert not objects.create(f"created/{number}", b"other")
        assert objects.read(f"written/{number}") == content
    assert set(server.faults.done) == {"500", "reset", "cut", "late"}
    server.faults = Faults()
    assert len(objects.list("written")) == len(objects.list("created")) == 20
    assert all(stat.n_bytes in (1000, 2000) for stat in objects.list().values())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "have whoever owns the bucket allow"),
        ("InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ("RequestTimeTooSkewed", "set this machine's clock"),
    ],
)
def test_refusal_is_said_at_once(server: ObjectServer, code: str, words: str) -> None:
    """With the server's word for it and a remedy; a bucket that may only be read is read."""
    objects = Objects(f"s3://{BUCKET}/{code}")
    objects.write("there", b"1")
    server.faults = Faults(refuse={"PUT": code})
    n_before = len(server.requests)
    with pytest.raises(UnreachableError, match=words) as refused:
        objects.write("new", b"")
    assert code in str(refused.value)
    assert len(server.requests) == n_before + 1
    assert objects.read("there") == b"1"


def test_damaged_object_is_said_at_once(server: ObjectServer, tmp_path: Path) -> None:
    """By its server's checksum: nobody waits for the server; a file that is fetched is its reader's to verify."""
    objects = Objects(f"s3://{BUCKET}/damaged")
    objects.write("there", b"0123" * 100)
    server.damage("damaged/there")
    server.requests.clear()
    with pytest.raises(UnreachableError, match=f"{objects.url}/there: damaged"):
        objects.read("there")
    assert [method for method, _ in server.requests].count("GET") == 3
    assert objects.fetch("there", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() != b"0123" * 100


def test_bucket_that_is_not_there_is_said(server: ObjectServer) -> None:
    """Whatever is asked of it, with the server that was asked."""
    objects = Objects("s3://nowhere/x")
    with pytest.raises(UnreachableError, match="s3://nowhere/x: no such bucket"):
        objects.write("a", b"")
    with pytest.raises(UnreachableError, match=server.endpoint):
        objects.read("a")


def test_no_credentials_are_said(server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And where to put them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    del server
    with pytest.raises(UnreachableError, match="NoCredentialsError"):
        Objects(f"s3://{BUCKET}/x").read("a")


def test_server_that_is_away_is_said(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded number of attempts."""
    del server
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the port of discard, where nothing listens
    with pytest.raises(UnreachableError, match=f"no answer after {module.ATTEMPTS} attempts"):
        Objects(f"s3://{BUCKET}/x").read("a")


@pytest.mark.parametrize("n_away", [module.PATIENT_ATTEMPTS - 1, 3 * module.PATIENT_ATTEMPTS])
def test_server_that_has_answered_is_waited_for(n_away: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart ends no study; of one that is away for good the first wait is the long one, those that follow short."""
    objects, attempts = Objects(f"file://{tmp_path}/bucket"), [0]
    objects.write("a", b"1")
    cat_file = objects._fs.cat_file

    def away(path: str) -> bytes:
        attempts[0] += 1
        if attempts[0] <= n_away:
            raise TimeoutError
        found: bytes = cat_file(path)
        return found

    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.0001)
    monkeypatch.setattr(objects._fs, "cat_file", away)
    if n_away < module.PATIENT_ATTEMPTS:
        assert objects.read("a") == b"1"
        return
    for n_attempts in (module.PATIENT_ATTEMPTS, module.ATTEMPTS):
        attempts[0] = 0
        with pytest.raises(UnreachableError, match=f"no answer after {n_attempts} attempts"):
            objects.read("a")
        assert attempts == [n_attempts]


def test_endpoint_that_is_no_url_is_said_at_once(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it must look like."""
    del server
    monkeypatch.setenv("AWS_ENDPOINT_URL", "objects.example")
    with pytest.raises(UnreachableError, match=r"Invalid endpoint: objects.example\n.*\n.*http://HOST:PORT"):
        Objects(f"s3://{BUCKET}/x").read("a")


def test_objects_of_a_process_are_refused() -> None:
    """A workspace in memory would be gone, and the study reported as done."""
    with pytest.raises(UnreachableError, match="end with this process"):
        Objects("memory://workspace")


def test_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    import fsspec.core

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UnreachableError, match=r"pip install 'adloc\[team\]'"):
        Objects("s3://bucket/x")
    with pytest.raises(UnreachableError, match="Install s3fs"):
        Objects("foo://bucket/x")
