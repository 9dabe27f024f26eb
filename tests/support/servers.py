"""Real servers for tests, on free ports of loopback: PostgreSQL and MLflow, which may be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_START_S = 300


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """A server's process, in a session of its own so that its workers end with it."""

    def __init__(self, command: list[str], folder: Path, user: str | None = None, **environment: str) -> None:
        self._command, self._folder, self._user = command, folder, user
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may not answer yet."""
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, user=self._user, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def end(self, number: int = signal.SIGTERM) -> None:
        """Signal it and all of its session, SIGKILL as an accident would; wait until it is gone."""
        if self._process is None:
            return
        for each in (number, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, each)
                self._process.wait(30)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self._process = None

    def check(self) -> None:
        """Fail, with what it wrote, if it has ended."""
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log.txt").read_text()


class PostgreSQL:
    """A PostgreSQL server with the databases that it is asked for.

    Attributes:
        folder: of its files; it goes with the server.
        port: on loopback.
    """

    PASSWORD = "secret-of-the-test"  # noqa: S105  # to see that it is written down nowhere

    def __init__(self) -> None:
        self._programs = postgresql_programs()
        # Not a test's own folder, which other users may not enter: as root it refuses to run.
        folder, self._user = Path(tempfile.mkdtemp(prefix="adloc-postgresql-")), None
        if os.geteuid() == 0:
            self._user = "postgres" if any(u.pw_name == "postgres" for u in pwd.getpwall()) else "nobody"
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        self.folder, self.port = folder, free_port()
        secret = folder / "password"
        secret.write_text(self.PASSWORD)
        secret.chmod(0o644)
        made = ["-D", str(folder / "data"), "-U", "adloc", "-A", "scram-sha-256", "--pwfile", str(secret), "--no-sync"]
        subprocess.run([self._programs / "initdb", *made], user=self._user, cwd=folder, check=True, capture_output=True)
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(folder / "data"), *options]
        self.program = Program(command, folder, self._user)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.program.start()
        deadline = time.monotonic() + LONGEST_START_S
        while subprocess.run([self._programs / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-q"]).returncode:  # noqa: PLW1510
            self.program.check()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def database(self, name: str) -> str:
        """URL of a new database."""
        import psycopg

        with psycopg.connect(self.url("postgres").replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, name: str) -> str:
        """As SQLAlchemy takes it."""
        return f"postgresql+psycopg://adloc:{self.PASSWORD}@127.0.0.1:{self.port}/{name}"


def postgresql_programs() -> Path:
    """The folder of its programs; the test is skipped where there are none."""
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed")
    found = shutil.which("postgres")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    places = [place for place in places if all((place / name).exists() for name in ("initdb", "pg_isready"))]
    if not places:
        pytest.skip("PostgreSQL is not installed")
    return places[-1]


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server, until the end of the block."""
    server = PostgreSQL()
    try:
        server.start()
        yield server
    finally:
        server.program.end(signal.SIGINT)
        shutil.rmtree(server.folder)


class MLflow:
    """MLflow's tracking server over a database, which keeps artifacts in a folder of its own.

    Attributes:
        address: for clients.
    """

    def __init__(self, folder: Path, database: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        # The process that `mlflow server` starts, without that command's own 12 s of processor time for imports.
        told = {
            "_MLFLOW_SERVER_FILE_STORE": database,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": (folder / "artifacts").as_uri(),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONSAFEPATH": "1",
        }
        command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
        self.program = Program([*command, "mlflow.server.fastapi_app:app"], folder, **told)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.program.start()
        deadline = time.monotonic() + LONGEST_START_S
        question = urllib.request.Request(  # noqa: S310  # a query: the first one makes the tables
            f"{self.address}/api/2.0/mlflow/experiments/search",
            b'{"max_results": 1}',
            {"Content-Type": "application/json"},
        )
        while True:
            self.program.check()
            try:
                with urllib.request.urlopen(question, timeout=LONGEST_START_S):  # noqa: S310  # our own
                    return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)


@contextmanager
def mlflow_server(folder: Path, database: str) -> Iterator[MLflow]:
    """An MLflow server, until the end of the block."""
    server = MLflow(folder, database)
    try:
        server.start()
        yield server
    finally:
        server.program.end()
