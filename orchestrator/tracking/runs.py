"""The MLflow runs of a study that are this workspace's: found, made, remembered, mended and retired."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from alembic.util.exc import CommandError
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_latest_schema_revision, _get_schema_version, _upgrade_db
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_USER
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adloc.interrupts import interrupts_held_back
from adloc.tracking.database import set_aside, set_damaged_aside
from adloc.tracking.index import TrackingIndex
from adloc.tracking.reach import check_answers, limit_waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow.entities import Experiment

    from adloc.tracking.place import Place

KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens on language models
OWNER = "adloc.workspace"
GONE = "RESOURCE_DOES_NOT_EXIST"  # what MLflow says of a run that it does not have
_LOCATIONS = {"runs": "artifact_uri", "logged_models": "artifact_location", "model_versions": "storage_location"}


class OwnRuns:
    """A study's experiment, and which of its runs are this workspace's.

    Attributes:
        client: MLflow's.
        index: which record is which run.
        experiment_id: of the experiment.
        parent_id: of the study's own run.
        owner: of every run, see `Place.owner`.
    """

    def __init__(self, place: Place, study: str) -> None:
        """Open the experiment and its parent run, made here if they are missing, and mend what an accident left.

        Raises:
            MlflowException: the server cannot be reached, or does not do what it is asked.
        """
        place.workspace.root.mkdir(parents=True, exist_ok=True)
        for name in ("mlflow", "alembic"):  # a page of migrations at the first start
            logging.getLogger(name).setLevel(logging.WARNING)
        if not event.contains(Engine, "connect", _write_ahead):
            event.listen(Engine, "connect", _write_ahead)
        self._place, self._study, self.owner = place, study, place.owner()
        self.index = TrackingIndex(place.index_path(study))
        if place.server:
            limit_waiting()
            check_answers(place.server)
            self.client = MlflowClient(place.uri)
            self.experiment_id = self._experiment()
        else:
            # A new database is migrated step by step, which bears no company and no interruption.
            with place.workspace.turn("mlflow"), interrupts_held_back():
                self._require_database()
                self.client = MlflowClient(place.uri)
                self.experiment_id = self._experiment()
        self._check_index()
        self.index.location, self.index.ended = place.location(study), ""
        self.parent_id = self.index.parent or self._create_parent()
        self.index.save()
        self.mend()

    def create(self, name: str, tags: dict[str, str], started: int) -> str:
        """Begin a nested run; the id that MLflow gives it.

        Args:
            name: for people.
            tags: with "adloc.run_id", under which it is remembered as begun.
            started: milliseconds since 1970.
        """
        tags = tags | {MLFLOW_PARENT_RUN_ID: self.parent_id, MLFLOW_RUN_NAME: name, MLFLOW_USER: "adloc"}
        tags |= {"adloc.version": "1"} | self._mark()
        run = self.client.create_run(self.experiment_id, start_time=started, tags=tags)
        self.remember(tags["adloc.run_id"], str(run.info.run_id), "")  # one that is not finished is replaced
        return str(run.info.run_id)

    def remember(self, name: str, mlflow_run_id: str, key: str) -> None:
        """Keep in the index which run shows which record."""
        self.index.runs[name] = {"mlflow_run_id": mlflow_run_id, "key": key}
        self.index.save()

    def delete(self, name: str) -> None:
        """Mark the run of this name, if there is one, as deleted, which MLflow can undo."""
        old = self.index.runs.get(name)
        if old is not None:
            self._delete_run(old["mlflow_run_id"])
            del self.index.runs[name]  # not before: a server that did not hear of it is asked again

    def mend(self) -> None:
        """End what a killed process, or an answer of the server that was lost, left behind.

        Runs that are not finished or not known go, their records come again; of the workspace's own database, to
        which nobody else writes, only unfinished ones are looked at.
        """
        known = {entry["mlflow_run_id"] for entry in self.index.runs.values() if entry["key"]}
        shown = set()
        for run in list(self._search("" if self._place.server else "attributes.status = 'RUNNING'")):
            shown.add(run.info.run_id)
            running = run.info.status == "RUNNING"
            if running:
                self.client.set_terminated(run.info.run_id, "KILLED")
            if run.info.run_id != self.parent_id and (run.info.run_id not in known or (self._place.server and running)):
                self._delete_run(run.info.run_id)
                shown.discard(run.info.run_id)
        if self._place.server:
            runs = self.index.runs
            self.index.runs = {name: entry for name, entry in runs.items() if entry["mlflow_run_id"] in shown}
            self.index.save()

    def _require_database(self) -> None:
        """Make the workspace's own database fit to be opened, or set it aside: it is an index of the records.

        One whose tables are of an earlier MLflow, or that a process left half made when it was killed, is brought up to
        date. What was shown in one that is gone, by whatever study, is shown again.
        """
        workspace = self._place.workspace
        set_damaged_aside(workspace.tracking_path)
        if workspace.tracking_path.exists() and not _is_up_to_date(self._place.uri):
            set_aside(workspace.tracking_path)
        if not workspace.tracking_path.exists():
            self.index.clear()
            for path in workspace.root.glob("studies/*/mlflow.json"):
                path.unlink(missing_ok=True)

    def _experiment(self) -> str:
        name, location = self._place.experiment(self._study), self._place.artifacts(self._study)
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self.client.create_experiment(name, location, tags=KIND))
            except MlflowException:
                experiment = self.client.get_experiment_by_name(name)  # somebody else was faster
                if experiment is None:
                    raise
        if location is not None and experiment.artifact_location != location:
            _move_artifacts(self._place.workspace.tracking_path, experiment.artifact_location, location)
        return self._restored(experiment)

    def _restored(self, experiment: Experiment) -> str:
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _check_index(self) -> None:
        """Make the index again from MLflow's tags when it is lost or speaks of another database."""
        if self.index.parent:
            try:
                known = self.client.get_run(self.index.parent).info
            except MlflowException as error:
                if error.error_code != GONE:
                    raise
                known = None
            if known and known.experiment_id == self.experiment_id and known.lifecycle_stage == "active":
                return
        self.index.clear()
        for run in self._search("tags.`adloc.kind` != ''"):
            tags = run.data.tags
            if tags["adloc.kind"] == "study":
                self.index.parent = run.info.run_id
            elif "adloc.run_id" in tags:
                self.index.runs[tags["adloc.run_id"]] = {"mlflow_run_id": run.info.run_id, "key": ""}

    def _create_parent(self) -> str:
        tags = {"adloc.study": self._study, "adloc.kind": "study", MLFLOW_RUN_NAME: self._study, MLFLOW_USER: "adloc"}
        run = self.client.create_run(self.experiment_id, tags=tags | self._mark())
        self.index.parent = str(run.info.run_id)
        return self.index.parent

    def _mark(self) -> dict[str, str]:
        return {OWNER: self.owner} if self.owner else {}

    def _search(self, where: str) -> Iterator[Run]:
        """Our active runs to which this applies."""
        own = f"tags.`{OWNER}` = '{self.owner}'" if self.owner else ""
        query, token = " and ".join(filter(None, (where, own))), None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], query, ViewType.ACTIVE_ONLY, max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _delete_run(self, mlflow_run_id: str) -> None:
        try:
            self.client.delete_run(mlflow_run_id)
        except MlflowException as error:
            if error.error_code != GONE:
                raise


def _is_up_to_date(uri: str) -> bool:
    """Whether a database has the tables that this MLflow wants, after those that it can were changed to them."""
    engine = create_engine(uri)
    try:
        if _get_schema_version(engine) == _get_latest_schema_revision():  # type: ignore[no-untyped-call]
            return True
        _upgrade_db(engine)  # type: ignore[no-untyped-call]  # what `mlflow db upgrade` does
    except (MlflowException, SQLAlchemyError, CommandError):
        return False
    finally:
        engine.dispose()
    return True


def _write_ahead(connection: object, _: object) -> None:
    """Let SQLite commit without waiting for the disk: MLflow commits some eight times a run, at 2 to 9 ms each.

    With a write-ahead log a crash of the machine may lose the last commits, never the database; what is lost is
    added again from the records.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")


def _move_artifacts(database: Path, old: str, new: str) -> None:
    """After the workspace was moved: MLflow stores artifact locations absolute and has no call to change them."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (new, old))
        for table, column in _LOCATIONS.items():
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} LIKE ? || '/%'",  # noqa: S608
                (new, len(old) + 1, old),
            )
