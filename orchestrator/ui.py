"""The MLflow UI and the Optuna dashboard on a workspace, as two small servers that end together."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.errors import Complaint, UserError
from adloc.tracking.database import is_sound
from adloc.tracking.index import TrackingIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adloc.workspace import Workspace

HOST = "127.0.0.1"  # never more: the dashboard checks no Host header and neither asks for a password
MLFLOW_PORT, OPTUNA_PORT = 5000, 8080
LONGEST_START_S, LONGEST_END_S = 180, 10
DASHBOARD_STORAGE = "ADLOC_DASHBOARD_STORAGE"  # tells the dashboard's process where its trials are
MOST_STUDIES = 5  # whose tables are linked


@dataclass(frozen=True)
class Server:
    """One server: what it shows, where, and how it is started."""

    title: str
    port: int
    command: tuple[str, ...]
    environment: dict[str, str]

    @property
    def address(self) -> str:
        """For a browser on this machine."""
        return f"http://{HOST}:{self.port}"


def serve(
    workspace: Workspace, storage: str | None, study: str | None, port: int | None, say: Callable[[str], None]
) -> None:
    """Start both, print their addresses, and wait; Ctrl-C or SIGTERM ends them with all their children.

    Args:
        workspace: holds the database and the journals.
        storage: URL of Optuna's database; None for the journals in the workspace.
        study: show this study's journal and tables alone.
        port: MLflow's; None for the first free one from 5000 on.
        say: prints a line.

    Raises:
        UserError: nothing was tracked in the workspace yet, the study was not tuned, the port is taken, or a server did
            not start.
    """
    servers = _servers(workspace, storage, study, port)
    processes: list[subprocess.Popen[bytes]] = []
    with _stop_signal() as stop:
        try:
            for server in servers:
                processes.append(_start(server))  # noqa: PERF401  # one by one: what was started must be ended
            for server, process in zip(servers, processes, strict=True):
                _await(server, process, stop)
            for server in servers:
                say(f"{server.title:<28}{server.address}")
            for title, link in tables(workspace, study):
                say(f"{title:<28}{servers[0].address}{link}")
            for line in _without_dashboard(workspace, study) if storage is None else []:
                say(line)
            say("Ctrl-C ends them")
            while not stop.wait(0.5):
                for server, process in zip(servers, processes, strict=True):
                    if process.poll() is not None:
                        raise _did_not_last(server, process.returncode)
        finally:
            _end(processes)


def tables(workspace: Workspace, study: str | None) -> list[tuple[str, str]]:
    """Title and place in MLflow's UI of the tables of the studies that were tracked last, or of one."""
    found = workspace.root.glob(f"studies/{study or '*'}/mlflow.json")
    latest = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[:MOST_STUDIES]
    return [
        (f"  {path.parent.name}: {name}", link) for path in latest for name, link in TrackingIndex(path).views.items()
    ]


def free_port(wanted: int, taken: set[int]) -> int:
    """The first port from `wanted` on that nobody on this machine listens to, other than those `taken`."""
    for port in range(wanted, wanted + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in taken:
            return port
    raise UserError(
        Complaint(f"ports {wanted} to {wanted + 199} are all in use", "a server needs a free port", "stop some of them")
    )


def _servers(workspace: Workspace, storage: str | None, study: str | None, port: int | None) -> list[Server]:
    if not workspace.tracking_path.exists():
        track = _how_to_track(workspace)
        remedy = (
            "\n  ".join(["show each study here:", *track]) if track else "run a study first, or name its --workspace"
        )
        raise UserError(
            Complaint(f"{workspace.root}: no mlflow.db", "the UI shows what was tracked on this machine", remedy)
        )
    if not os.access(workspace.root, os.W_OK):
        raise UserError(
            Complaint(
                f"{workspace.root} may only be read",
                "MLflow and Optuna write to their databases to show them",
                "serve a copy of it; `adloc study results` and `adloc study report --output` read it where it is",
            )
        )
    _require_sound(workspace)
    lean = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONSAFEPATH": "1"}
    lean |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    taken = {free_port(MLFLOW_PORT, set()) if port is None else _own_port(port)}
    mlflow = ("ui", "--host", HOST, "--port", str(max(taken)), "--workers", "1",
              "--backend-store-uri", f"sqlite:///{workspace.tracking_path}",
              "--default-artifact-root", workspace.artifacts_path.as_uri())  # fmt: skip
    servers = [Server("MLflow", max(taken), (sys.executable, "-m", "mlflow", *mlflow), lean)]
    for title, where in _storages(workspace, storage, study):
        port = free_port(OPTUNA_PORT, taken)
        taken.add(port)
        # A program of our own: `python -m optuna_dashboard` does not exist, and its script may not be on the PATH.
        # A URL may hold a password, which everybody on the machine would read in a command.
        start = (
            "import os, sys; from optuna_dashboard._cli import main;"
            f" sys.argv = ['optuna-dashboard', os.environ['{DASHBOARD_STORAGE}'], *sys.argv[1:]]; main()"
        )
        dashboard = ("--host", HOST, "--port", str(port), "--server", "wsgiref", "--quiet")
        own = lean | {DASHBOARD_STORAGE: where}
        servers.append(Server(title, port, (sys.executable, "-c", start, *dashboard), own))
    return servers


def _require_sound(workspace: Workspace) -> None:
    """Say of a damaged database how to make it again: MLflow would end at once, and say nothing here.

    Raises:
        UserError: it is damaged.
    """
    if not is_sound(workspace.tracking_path):
        again = ["show each study again, which moves the damaged file away:", *_how_to_track(workspace)]
        raise UserError(
            Complaint(
                f"{workspace.tracking_path}: is damaged",
                "MLflow's database is an index of the records, from which it is made again",
                "\n  ".join(again),
            )
        )


def _how_to_track(workspace: Workspace) -> list[str]:
    """A command for each study that was run in the workspace, on whatever machine."""
    files = sorted(workspace.studies_path().glob("*/study.yaml"))
    return [f"adloc study track {shlex.quote(str(f))} --workspace {shlex.quote(workspace.location)}" for f in files]


def _without_dashboard(workspace: Workspace, study: str | None) -> list[str]:
    """A line for each study, or for the one, whose trials no journal here holds; a line where none was tuned."""
    tuned = sorted(path.parent.name for path in workspace.root.glob(f"studies/{study or '*'}/trials"))
    if not tuned and not any(workspace.root.glob("optuna/*.journal")):
        return ["no study of this workspace was tuned: there is no Optuna dashboard to open"]
    lacking = [name for name in tuned if not workspace.journal_path(name).exists()]
    return [f"{name}: no Optuna dashboard, for its trials have no journal here: study run makes it" for name in lacking]


def _own_port(port: int) -> int:
    """The port, if nobody listens there.

    Raises:
        UserError: somebody does.
    """
    if free_port(port, set()) != port:
        raise UserError(
            Complaint(f"--port is {port}, where another program listens", "it must be free", "leave --port out")
        )
    return port


def _storages(workspace: Workspace, storage: str | None, study: str | None) -> list[tuple[str, str]]:
    """Title and storage of each dashboard: one a journal, for a dashboard reads one storage."""
    if storage is not None:
        return [("Optuna", storage)]
    journals = sorted((workspace.root / "optuna").glob("*.journal"))
    if study is not None:
        journals = [path for path in journals if path.stem == study]
        if not journals:
            raise UserError(
                Complaint(
                    f"{workspace.journal_path(study)}: no such journal",
                    "a study has a dashboard once it was tuned",
                    "leave --study out to see what there is",
                )
            )
    if journals:
        from adloc.tuning.storage import repair

        for path in journals:
            repair(path)
    return [(f"Optuna {path.stem}", str(path)) for path in journals]


def _start(server: Server) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C reaches us alone, and its workers end with it."""
    return subprocess.Popen(
        server.command,
        env=server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _await(server: Server, process: subprocess.Popen[bytes], stop: threading.Event) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + LONGEST_START_S
    while not stop.wait(0.2):
        if process.poll() is not None or time.monotonic() > deadline:
            raise _did_not_last(server, process.returncode)
        try:
            with urllib.request.urlopen(server.address, timeout=2):  # noqa: S310  # our own server
                return
        except (urllib.error.URLError, OSError):
            continue


def _did_not_last(server: Server, code: int | None) -> UserError:
    what = "did not answer" if code is None else f"ended with exit code {code}"
    return UserError(
        Complaint(
            f"{server.title} {what}",
            f"it must run at {server.address}",
            "start it by hand to see why: " + " ".join(server.command[1:]),
        )
    )


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ask each with its children to end, then make them."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + LONGEST_END_S
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        _signal(process, signal.SIGKILL)  # whatever of its session is left
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
