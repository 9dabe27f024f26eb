"""Where studies are tracked: the workspace's own MLflow database, or a server that a team shares. Imports no mlflow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from adloc.errors import Complaint, UserError
from adloc.keys import content_key
from adloc.tracking.database import looks_whole

if TYPE_CHECKING:
    from adloc.workspace import Workspace

SQLITE = "sqlite:///"
SERVERS = ("http", "https")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the studies of a workspace are tracked.

    On a server every run carries the workspace's own id as the tag `adloc.workspace`: two workspaces that have a study
    of the same name there share its experiment, and neither touches the other's runs.

    Attributes:
        workspace: whose studies.
        server: URI of an MLflow server; "" for the workspace's own database.
        prefix: of the names of experiments on a server: "team" makes "team/<study>"; "" for none.
    """

    workspace: Workspace
    server: str = ""
    prefix: str = ""

    @classmethod
    def find(cls, workspace: Workspace, given: str | None) -> Place:
        """`--tracking-uri`, else $MLFLOW_TRACKING_URI, else the workspace's database; $MLFLOW_EXPERIMENT_NAME prefixes.

        Raises:
            UserError: the URI is neither of a server nor of this workspace's database.
        """
        uri = given or os.environ.get("MLFLOW_TRACKING_URI") or ""
        if not uri or _is_database_of(workspace, uri):
            return cls(workspace)
        if urlsplit(uri).scheme not in SERVERS or not urlsplit(uri).netloc:
            name = "--tracking-uri" if given else "MLFLOW_TRACKING_URI"
            raise UserError(
                Complaint(
                    f"{name} is {without_secrets(uri)}",
                    "it must be the address of an MLflow server, or the database of the workspace itself:"
                    f" {SQLITE}{workspace.tracking_path}",
                    "use http://HOST:PORT, with `mlflow server --backend-store-uri ..` before any other database;"
                    " or leave it out",
                )
            )
        return cls(workspace, uri.rstrip("/"), os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip("/"))

    @property
    def uri(self) -> str:
        """What MLflow's client is given."""
        return self.server or f"{SQLITE}{self.workspace.tracking_path}"

    @property
    def address(self) -> str:
        """The same for people and files: without a password."""
        return without_secrets(self.uri)

    def experiment(self, study: str) -> str:
        """Name of a study's experiment."""
        return f"{self.prefix}/{study}" if self.prefix else study

    def artifacts(self, study: str) -> str | None:
        """Where MLflow keeps a study's artifacts, absolute, as it stores it; None: where the server says."""
        return None if self.server else (self.workspace.artifacts_path / study).as_uri()

    def location(self, study: str) -> str:
        """What an index of the study is true of: another server, name or place of the artifacts makes another."""
        return self.artifacts(study) or f"{self.address} {self.experiment(study)}"

    def index_path(self, study: str) -> Path:
        """The file that says which record is which MLflow run here."""
        suffix = f"-{content_key([self.location(study)])[:12]}" if self.server else ""
        return self.workspace.study_path(study) / f"mlflow{suffix}.json"

    def exists(self) -> bool:
        """Whether anything can have been tracked: the workspace's own database and artifacts are there."""
        return bool(self.server) or (
            looks_whole(self.workspace.tracking_path) and self.workspace.artifacts_path.exists()
        )

    def owner(self) -> str:
        """The workspace's id, made here at first, which moves with it; "" for its own database, where it is alone.

        One behind a URL has it there, the same on all machines: at the same URL of another server is another workspace.
        """
        if not self.server:
            return ""
        path = self.workspace.root / ".id"
        with self.workspace.turn("mlflow"):
            if not path.exists():
                aside = path.with_name(f"{path.name}.tmp")
                aside.write_text(uuid4().hex[:12], encoding="utf-8")
                aside.replace(path)
            return path.read_text(encoding="utf-8").strip()


def without_secrets(uri: str) -> str:
    """A URI without its user and password.

    Example:
        >>> without_secrets("https://ann:secret@mlflow.example.com:5000/team")
        'https://mlflow.example.com:5000/team'
    """
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def _is_database_of(workspace: Workspace, uri: str) -> bool:
    return uri.startswith(SQLITE) and Path(uri.removeprefix(SQLITE)).resolve() == workspace.tracking_path.resolve()
