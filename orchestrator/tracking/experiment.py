"""MLflow: an index of the records, made to be compared in its UI.

One experiment a study, a parent run a study, one nested run a run, and the macro rows. Only the driver writes.
A nested run is made when its record is on disk, so a crash leaves none half-written; what MLflow lacks of the
records is added at the next start, from the records alone.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_USER,
)
from sqlalchemy import event
from sqlalchemy.engine import Engine

from adloc.conditions import AXES, described
from adloc.metrics.registry import METRICS
from adloc.study_file.variants import SETTING
from adloc.tracking.index import TrackingIndex, artifact_location, index_path, macro_key, record_key, trial_key
from adloc.tracking.models import LoggedModels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from adloc.answer.results import Row
    from adloc.record.records import RunRecord
    from adloc.study_file.spec import StudySpec
    from adloc.tuning.trial_records import TrialRecord
    from adloc.workspace import Workspace

CONTEXTS = {"train": "training", "validation": "validation", "test": "test"}
MOST_IN_A_BATCH = 1000  # metrics, MLflow's limit
LONGEST_NOTE = 5000  # characters; MLflow cuts tags silently at 8,000
LONGEST_PARAM = 500  # MLflow cuts silently at 6,000; the UI shows a few dozen
_LOCATIONS = {"runs": "artifact_uri", "logged_models": "artifact_location", "model_versions": "storage_location"}


class Tracking:
    """The study's experiment in the workspace's MLflow database.

    Attributes:
        experiment_id: of the experiment.
        parent_id: of the study's own run.
        models: the logged models.
    """

    def __init__(self, workspace: Workspace, spec: StudySpec, param_names: Iterable[str]) -> None:
        """Open the database (made here if it is missing) and the study's experiment and parent run.

        Args:
            workspace: holds the database and the artifacts.
            spec: the study.
            param_names: of all its methods: every run logs every name, or the UI cannot compare them.
        """
        workspace.root.mkdir(parents=True, exist_ok=True)
        for name in ("mlflow", "alembic"):  # a page of migrations at the first start
            logging.getLogger(name).setLevel(logging.WARNING)
        if not event.contains(Engine, "connect", _write_ahead):
            event.listen(Engine, "connect", _write_ahead)
        self._spec = spec
        self._param_names = sorted(param_names)
        self._varied = sorted({key for entry in spec.methods for key in entry.grid})
        self._index = TrackingIndex(index_path(workspace, spec.study))
        with workspace.turn("mlflow"):  # a new database is migrated step by step, which bears no company
            self._client = MlflowClient(f"sqlite:///{workspace.tracking_path}")
            self.experiment_id = self._experiment(workspace)
        self._check_index()
        self._index.location, self._index.ended = artifact_location(workspace, spec.study), ""
        self.parent_id = self._index.parent or self._create_parent()
        self._index.save()
        self._mend()
        self.models = LoggedModels(self._client, self.experiment_id, self._index)

    def begin(self, files: Iterable[Path]) -> None:
        """Mark the study as running, and log the files that say what it is."""
        self._client.update_run(self.parent_id, status="RUNNING")
        for path in files:
            self._client.log_artifact(self.parent_id, str(path))

    def log(self, record: RunRecord, folder: Path) -> None:
        """Add a record as a nested run, unless it is there; a run that showed an older record goes."""
        if self._index.has(record.run_id, record_key(record)):
            return
        self._delete(record.run_id)
        started = int(datetime.fromisoformat(record.started).timestamp() * 1000)
        tags = self._tags("run", record.run_id, record.category, record.method, record.regime, record.scope)
        tags |= {"adloc.threshold_scope": record.threshold_scope, "adloc.repeat": str(record.repeat)}
        tags["adloc.domain"] = record.domain
        tags |= {"adloc.setting": record.setting} if record.setting else {}
        if record.error:
            tags["adloc.error"] = record.error[-LONGEST_PARAM:]
        metrics = {METRICS[name].mlflow_name: value for name, value in record.metrics.items() if value is not None}
        if record.threshold is not None:
            metrics[METRICS["threshold"].mlflow_name] = record.threshold
        params: dict[str, object] = {
            **record.params,
            "domain": record.domain,
            **record.condition,
            SETTING: record.setting or "n/a",
        }
        sizes = {"n_train": record.n_train, "n_val": record.n_val, "n_test": record.n_test}
        run_id = self._create(self._name(record.category, record.params, tags, record.condition), tags, started)
        self._client.log_inputs(run_id, self._datasets(record))
        self._write(run_id, params, metrics | {f"data/{name}": float(n) for name, n in sizes.items()}, started)
        self._client.log_artifacts(run_id, str(folder))
        end = started + int(record.seconds * 1000)
        self._client.set_terminated(run_id, "FINISHED" if record.status == "done" else "FAILED", end)
        self._remember(record.run_id, run_id, record_key(record))

    def log_macro(self, row: Row, params: Mapping[str, object], drops: Row | None) -> None:
        """Add or renew a macro row: the average of a variant over the categories, and its drop from clean."""
        name, key = str(row["run_id"]), macro_key(row)
        if self._index.has(name, key):
            return
        self._delete(name)
        now = int(time.time() * 1000)
        tags = self._tags("macro", name, "macro", *(str(row[k]) for k in ("method", "regime", "scope")))
        tags |= {"adloc.threshold_scope": str(row["threshold_scope"]), "adloc.repeat": str(row["repeat"])}
        tags["adloc.domain"] = str(row["domain"])
        tags |= {"adloc.setting": str(row[SETTING])} if row[SETTING] else {}
        # What was tuned for each category by itself is nobody's in the average.
        own = {k: "per category" if v is not None and row.get(f"params.{k}") is None else v for k, v in params.items()}
        run_id = self._create(self._name("macro", own, tags, row), tags, now)
        own |= {k: row[k] for k in AXES if row.get(k) is not None}
        own[SETTING] = row[SETTING] or "n/a"
        metrics = {
            METRICS[k].mlflow_name: v
            for k, v in row.items()
            if isinstance(v, float) and k in METRICS and k != "threshold"
        }
        for k, v in (drops or {}).items():
            if isinstance(v, float) and "drop" in k and not k.startswith("params."):
                metrics[f"drop/{k.removeprefix('drop_')}"] = v
        self._write(run_id, own, metrics, now)
        self._client.set_terminated(run_id, "FINISHED", now)
        self._remember(name, run_id, key)

    def log_trial(self, record: TrialRecord) -> str:
        """Add a trial as a nested run, unless it is there; return the id of its MLflow run."""
        key = trial_key(record)
        if self._index.has(record.name, key):
            return self._index.runs[record.name]["mlflow_run_id"]
        self._delete(record.name)
        started = int(datetime.fromisoformat(record.started).timestamp() * 1000)
        scope = record.category or "macro"
        model = "category" if "category" in self._spec.scopes else "unified"
        tags = self._tags("trial", record.name, scope, record.method, "clean", model)
        tags |= {"adloc.search": record.search, "adloc.trial": str(record.number), "adloc.state": record.state}
        tags |= {"adloc.repeat": str(record.repeat), "adloc.revision": str(record.revision)}
        if record.error:
            tags["adloc.error"] = record.error[-LONGEST_PARAM:]
        run_id = self._create(record.name, tags, started)
        metrics = {METRICS[name].mlflow_name: v for name, v in record.figures.items() if v is not None}
        for category, figures in record.categories.items():
            for name in self._spec.tuning.objectives:
                if len(record.categories) > 1 and figures.get(name) is not None:
                    metrics[f"{METRICS[name].mlflow_name}/{metric_part(category)}"] = float(figures[name] or 0.0)
        params: dict[str, object] = {**record.hyperparameters, SETTING: f"trial {record.number}"}
        self._write(run_id, params, metrics | {"trial/number": float(record.number)}, started)
        end = started + int(record.seconds * 1000)
        self._client.set_terminated(run_id, "FAILED" if record.state == "failed" else "FINISHED", end)
        self._remember(record.name, run_id, key)
        return run_id

    def log_files(self, folder: Path, name: str) -> None:
        """Put a folder's files on the parent run, in place of those that it has under this name."""
        place = str(self._client.get_run(self.parent_id).info.artifact_uri)
        shutil.rmtree(url2pathname(urlparse(f"{place}/{name}").path), ignore_errors=True)
        self._client.log_artifacts(self.parent_id, str(folder), name)

    def retire(self, names: Iterable[str]) -> None:
        """Mark the MLflow runs of these names as deleted, which MLflow can undo: their place was taken by others."""
        for name in names:
            self._delete(name)
        self._index.save()

    def shown(self) -> set[str]:
        """Names of the runs that MLflow shows."""
        return set(self._index.runs)

    def describe(self, sentences: Sequence[str]) -> None:
        """Put the study's question and what it found on the parent run, where the UI shows a description."""
        text = "\n\n".join(filter(None, [self._spec.description, *sentences]))
        if text:
            self._client.set_tag(self.parent_id, "mlflow.note.content", text[:LONGEST_NOTE])

    def end(self, status: str, tables: Path, figures: Mapping[str, float], report: Sequence[Path] = ()) -> None:
        """Log the tables, the report and key figures on the parent; set its end state: FINISHED, FAILED or KILLED.

        Args:
            status: the end state.
            tables: folder of them.
            figures: numbers by name.
            report: the page, then its pictures.
        """
        for path in report:
            self._client.log_artifact(self.parent_id, str(path), None if path.suffix == ".html" else "figures")
        if tables.is_dir():
            self._client.log_artifacts(self.parent_id, str(tables), "tables")
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in figures.items()]
        for start in range(0, len(metrics), MOST_IN_A_BATCH):
            self._client.log_batch(self.parent_id, metrics=metrics[start : start + MOST_IN_A_BATCH])
        self._client.set_terminated(self.parent_id, status)
        self._index.ended = status
        self._index.save()

    def _experiment(self, workspace: Workspace) -> str:
        experiment = self._client.get_experiment_by_name(self._spec.study)
        location = artifact_location(workspace, self._spec.study)
        if experiment is None:
            kind = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens on language models
            return str(self._client.create_experiment(self._spec.study, location, tags=kind))
        if experiment.artifact_location != location:
            _move_artifacts(workspace.tracking_path, experiment.artifact_location, location)
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _check_index(self) -> None:
        """Make the index again from MLflow's tags when it is lost or speaks of another database."""
        if self._index.parent:
            try:
                known = self._client.get_run(self._index.parent).info
            except MlflowException:
                known = None
            if known and known.experiment_id == self.experiment_id and known.lifecycle_stage == "active":
                return
        self._index.clear()
        for run in self._search("tags.`adloc.kind` != ''"):
            tags = run.data.tags
            if tags["adloc.kind"] == "study":
                self._index.parent = run.info.run_id
            elif "adloc.run_id" in tags:
                self._index.runs[tags["adloc.run_id"]] = {"mlflow_run_id": run.info.run_id, "key": ""}

    def _create_parent(self) -> str:
        tags = {"adloc.study": self._spec.study, "adloc.kind": "study", MLFLOW_RUN_NAME: self._spec.study}
        if self._spec.description:
            tags["mlflow.note.content"] = self._spec.description
        run = self._client.create_run(self.experiment_id, tags=tags | {MLFLOW_USER: "adloc"})
        self._index.parent = str(run.info.run_id)
        return self._index.parent

    def _mend(self) -> None:
        """End what a killed process left running: unfinished nested runs go, their records come again."""
        known = {entry["mlflow_run_id"] for entry in self._index.runs.values() if entry["key"]}
        for run in self._search("attributes.status = 'RUNNING'"):
            self._client.set_terminated(run.info.run_id, "KILLED")
            if run.info.run_id not in known and run.info.run_id != self.parent_id:
                self._client.delete_run(run.info.run_id)

    def _search(self, where: str) -> Iterable[Run]:
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], where, ViewType.ACTIVE_ONLY, max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, name: str, tags: dict[str, str], started: int) -> str:
        tags = tags | {MLFLOW_PARENT_RUN_ID: self.parent_id, MLFLOW_RUN_NAME: name, MLFLOW_USER: "adloc"}
        tags["adloc.version"] = "1"
        run = self._client.create_run(self.experiment_id, start_time=started, tags=tags)
        self._remember(tags["adloc.run_id"], str(run.info.run_id), "")  # one that is not finished is replaced
        return str(run.info.run_id)

    def _name(
        self, category: str, params: Mapping[str, object], tags: Mapping[str, str], condition: Mapping[str, object]
    ) -> str:
        """Short and telling: "bottle patchcore clean coreset_ratio 0.05"."""
        varied = [f"{k} {_short(params[k])}" for k in self._varied if k in params]
        scope = f"unified {tags['adloc.threshold_scope']} threshold" if tags["adloc.scope"] == "unified" else ""
        repeat = f"repeat {tags['adloc.repeat']}" if tags["adloc.repeat"] != "0" else ""
        words = (
            category,
            tags["adloc.method"],
            tags.get("adloc.setting"),
            tags["adloc.regime"],
            scope,
            *varied,
            *described(condition),
            repeat,
        )
        return " ".join(word for word in words if word)

    def _tags(self, kind: str, run_id: str, category: str, method: str, regime: str, scope: str) -> dict[str, str]:
        return {
            "adloc.study": self._spec.study,
            "adloc.kind": kind,
            "adloc.run_id": run_id,
            "adloc.category": category,
            "adloc.method": method,
            "adloc.regime": regime,
            "adloc.scope": scope,
        }

    def _write(self, run_id: str, params: Mapping[str, object], metrics: Mapping[str, float], now: int) -> None:
        """All params and metrics in one batch; numeric params again as hp/..., which can be filtered by < >."""
        numeric = {
            f"hp/{k}": float(v) for k, v in params.items() if isinstance(v, int | float) and not isinstance(v, bool)
        }
        values = {name: _short(params.get(name, "n/a")) for name in self._param_names}
        self._client.log_batch(
            run_id,
            metrics=[Metric(k, v, now, 0) for k, v in {**metrics, **numeric}.items()],
            params=[Param(k, v) for k, v in values.items()],
        )

    def _datasets(self, record: RunRecord) -> list[DatasetInput]:
        source = json.dumps({"dataset": self._spec.dataset.model_dump(mode="json")})
        return [
            DatasetInput(
                Dataset(f"{record.category}-{part}", digest, "local", source),
                [InputTag(MLFLOW_DATASET_CONTEXT, CONTEXTS[part])],
            )
            for part, digest in record.datasets.items()
        ]

    def _remember(self, run_id: str, mlflow_run_id: str, key: str) -> None:
        self._index.runs[run_id] = {"mlflow_run_id": mlflow_run_id, "key": key}
        self._index.save()

    def _delete(self, name: str) -> None:
        """Mark the MLflow run of this name, if there is one, as deleted, which MLflow can undo."""
        old = self._index.runs.pop(name, None)
        if old is None:
            return
        try:
            self._client.delete_run(old["mlflow_run_id"])
        except MlflowException:
            return  # it is gone already


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


def metric_part(name: str) -> str:
    """A category's name as part of a metric's: MLflow takes letters, digits, _ - . : and spaces; others by number.

    >>> metric_part("pcb#2 (new)")
    'pcb_x23_2 _x28_new_x29_'
    """
    return re.sub(r"[^\w.\- :]", lambda match: f"_x{ord(match[0]):x}_", name)


def _short(value: object) -> str:
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return text[:LONGEST_PARAM] or "-"
