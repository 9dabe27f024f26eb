"""MLflow's server on an exported model, started and asked as docs/line.md has it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

from adloc.ui import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST_START_S = 300


@contextmanager
def serving(model: Path, folder: Path) -> Iterator[int]:
    """Run `mlflow models serve` until the end of the block; the port that it answers at. Its log is in `folder`."""
    programs, port = Path(sys.executable).parent, free_port(8700, set())
    command = [programs / "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", str(port)]
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONSAFEPATH": "1"}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + LONGEST_START_S
        while time.monotonic() < deadline:
            assert process.poll() is None, (folder / "log.txt").read_text()
            try:
                is_well(port)
                break
            except OSError:
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def is_well(port: int) -> bool:
    """Whether the health check says so."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/ping")
    return connection.getresponse().status == 200


def in_json(files: Sequence[bytes], column: str = "image") -> bytes:
    """A request for the scores of these files."""
    data = [[base64.b64encode(file).decode()] for file in files]
    return json.dumps({"dataframe_split": {"columns": [column], "data": data}}).encode()
