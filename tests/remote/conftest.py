"""An object server for the tests of what lies behind a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adloc.datasets import objects as module
from object_server import Faults, ObjectServer, object_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectServer]:
    """A server for all tests of a file."""
    with object_server() as server:
        yield server


@pytest.fixture
def server(running: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    """The server, to which this process has the key; it fails nobody."""
    import s3fs

    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "TIMEOUTS", {"connect_timeout": 5, "read_timeout": 1})
    s3fs.S3FileSystem.clear_instance_cache()
    running.faults = Faults()
    yield running
    running.faults = Faults()
    s3fs.S3FileSystem.clear_instance_cache()
