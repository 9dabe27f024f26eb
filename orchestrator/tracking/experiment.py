"""MLflow: an index of the records, made to be compared in its UI.

One experiment a study, a parent run a study, one nested run a run, and the macro rows. Only the driver writes.
A nested run is made when its record is on disk, so a crash leaves none half-written; what MLflow lacks of the
records is added at the next start, from the records alone.
"""

from __future__ import annotations

import json
import shutil
import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_GIT_COMMIT,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)

from adloc.metrics.registry import METRICS
from adloc.printed import printable
from adloc.study_file.conditions import AXES
from adloc.study_file.variants import SETTING
from adloc.tracking.index import macro_key, record_key, trial_key
from adloc.tracking.machine import MachineWatch
from adloc.tracking.models import LoggedModels
from adloc.tracking.naming import LONGEST_PARAM, metric_part, run_name, short
from adloc.tracking.pictures import SHOWN, common_heatmaps, write_pictures
from adloc.tracking.runs import OwnRuns
from adloc.tracking.views import TAG, link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from adloc.answer.results import Row
    from adloc.record.records import RunRecord
    from adloc.study_file.spec import StudySpec
    from adloc.tracking.place import Place
    from adloc.tracking.views import View
    from adloc.tuning.trial_records import TrialRecord

CONTEXTS = {"train": "training", "validation": "validation", "test": "test"}
MOST_IN_A_BATCH = 1000  # metrics, MLflow's limit
LONGEST_NOTE = 5000  # characters; MLflow cuts tags silently at 8,000


class Tracking:
    """The study's experiment where it is tracked.

    Attributes:
        parent_id: of the study's own run.
        models: the logged models.
    """

    def __init__(self, place: Place, spec: StudySpec, param_names: Iterable[str]) -> None:
        """Open the study's experiment and parent run, made here where they are missing.

        Args:
            place: the workspace's database, made here if it is missing, or a server.
            spec: the study.
            param_names: of all its methods: every run logs every name, or the UI cannot compare them.

        Raises:
            MlflowException: the server cannot be reached, or does not do what it is asked.
        """
        self._spec, self._place = spec, place
        self._param_names = sorted(param_names)
        self._varied = sorted({key for entry in spec.methods for key in entry.grid})
        self._runs = OwnRuns(place, spec.study)
        self._client, self._index = self._runs.client, self._runs.index
        self.parent_id = self._runs.parent_id
        self.models = LoggedModels(self._runs)
        self._watch: MachineWatch | None = None

    def begin(self, files: Iterable[Path], source: str, commit: str) -> None:
        """Mark the study as running, and log the files that say what it is.

        Args:
            files: to be logged.
            source: the study file's name.
            commit: of this program, "" where it is not known.
        """
        self._client.update_run(self.parent_id, status="RUNNING")
        tags = {MLFLOW_SOURCE_NAME: source, MLFLOW_SOURCE_TYPE: "LOCAL"} | (
            {MLFLOW_GIT_COMMIT: commit} if commit else {}
        )
        self._client.log_batch(self.parent_id, tags=[RunTag(name, value) for name, value in tags.items()])
        for path in files:
            self._client.log_artifact(self.parent_id, str(path))
        self._watch = MachineWatch(self.parent_id, self._place.uri)

    def log(self, record: RunRecord, folder: Path) -> None:
        """Add a record as a nested run, unless it is there; a run that showed an older record goes."""
        if self._index.has(record.run_id, record_key(record)):
            return
        self._runs.delete(record.run_id)
        started = int(datetime.fromisoformat(record.started).timestamp() * 1000)
        tags = self._tags("run", record.run_id, record.category, record.method, record.regime, record.scope)
        tags |= {"adloc.threshold_scope": record.threshold_scope, "adloc.repeat": str(record.repeat)}
        tags["adloc.domain"] = record.domain
        tags |= {"adloc.setting": record.setting} if record.setting else {}
        if record.error:
            tags["adloc.error"] = record.error[-LONGEST_PARAM:]
        heatmaps = common_heatmaps(folder, record.files)
        tags |= SHOWN if heatmaps else {}
        metrics = _named(record.metrics)
        if record.threshold is not None:
            metrics[METRICS["threshold"].mlflow_name] = record.threshold
        params: dict[str, object] = {
            **record.params,
            "domain": record.domain,
            **record.condition,
            SETTING: record.setting or "n/a",
        }
        sizes = {"n_train": record.n_train, "n_val": record.n_val, "n_test": record.n_test}
        run_id = self._runs.create(
            run_name(record.category, record.params, self._varied, tags, record.condition), tags, started
        )
        self._client.log_inputs(run_id, self._datasets(record))
        self._write(run_id, params, metrics | {f"data/{name}": float(n) for name, n in sizes.items()}, started)
        self._client.log_artifacts(run_id, str(folder))
        if heatmaps:
            with TemporaryDirectory() as aside:
                write_pictures(heatmaps, Path(aside), started)
                self._client.log_artifacts(run_id, aside)
        end = started + int(record.seconds * 1000)
        self._client.set_terminated(run_id, "FINISHED" if record.status == "done" else "FAILED", end)
        self._runs.remember(record.run_id, run_id, record_key(record))

    def log_macro(self, row: Row, params: Mapping[str, object], drops: Row | None) -> None:
        """Add or renew a macro row: the average of a variant over the categories, and its drop from clean."""
        name, key = str(row["run_id"]), macro_key(row)
        if self._index.has(name, key):
            return
        self._runs.delete(name)
        now = int(time.time() * 1000)
        tags = self._tags("macro", name, "macro", *(str(row[k]) for k in ("method", "regime", "scope")))
        tags |= {"adloc.threshold_scope": str(row["threshold_scope"]), "adloc.repeat": str(row["repeat"])}
        tags["adloc.domain"] = str(row["domain"])
        tags |= {"adloc.setting": str(row[SETTING])} if row[SETTING] else {}
        # What was tuned for each category by itself is nobody's in the average.
        own = {k: "per category" if v is not None and row.get(f"params.{k}") is None else v for k, v in params.items()}
        run_id = self._runs.create(run_name("macro", own, self._varied, tags, row), tags, now)
        own |= {k: row[k] for k in AXES if row.get(k) is not None} | {SETTING: row[SETTING] or "n/a"}
        metrics = _named({k: v for k, v in row.items() if isinstance(v, float) and k != "threshold"})
        self._write(run_id, own, metrics | _lost(drops or {}), now)
        self._client.set_terminated(run_id, "FINISHED", now)
        self._runs.remember(name, run_id, key)

    def log_trial(self, record: TrialRecord) -> str:
        """Add a trial as a nested run, unless it is there; return the id of its MLflow run."""
        key = trial_key(record)
        if self._index.has(record.name, key):
            return self._index.runs[record.name]["mlflow_run_id"]
        self._runs.delete(record.name)
        started = int(datetime.fromisoformat(record.started).timestamp() * 1000)
        scope = record.category or "macro"
        model = "category" if "category" in self._spec.scopes else "unified"
        tags = self._tags("trial", record.name, scope, record.method, "clean", model)
        tags |= {"adloc.search": record.search, "adloc.trial": str(record.number), "adloc.state": record.state}
        tags |= {"adloc.repeat": str(record.repeat), "adloc.revision": str(record.revision)}
        if record.error:
            tags["adloc.error"] = record.error[-LONGEST_PARAM:]
        run_id = self._runs.create(record.name, tags, started)
        metrics = _named(record.figures)
        for category, figures in record.categories.items():
            for name in self._spec.tuning.objectives:
                if len(record.categories) > 1 and figures.get(name) is not None:
                    metrics[f"{METRICS[name].mlflow_name}/{metric_part(category)}"] = float(figures[name] or 0.0)
        params: dict[str, object] = {**record.hyperparameters, SETTING: f"trial {record.number}"}
        self._write(run_id, params, metrics | {"trial/number": float(record.number)}, started)
        end = started + int(record.seconds * 1000)
        self._client.set_terminated(run_id, "FAILED" if record.state == "failed" else "FINISHED", end)
        self._runs.remember(record.name, run_id, key)
        return run_id

    def progress(self, step: int, figures: Mapping[str, float]) -> None:
        """Show on the parent run how far the study is: figures by MLflow name at a step that grows."""
        now = int(time.time() * 1000)
        self._client.log_batch(self.parent_id, metrics=[Metric(k, v, now, step) for k, v in figures.items()])

    def log_files(self, folder: Path, name: str) -> None:
        """Put a folder's files on the parent run, in place of those that it has under this name.

        On a server they are written over: it has no call to delete any.
        """
        place = urlparse(f"{self._client.get_run(self.parent_id).info.artifact_uri}/{name}")
        if place.scheme == "file" and not self._place.server:
            shutil.rmtree(url2pathname(place.path), ignore_errors=True)
        self._client.log_artifacts(self.parent_id, str(folder), name)

    def retire(self, names: Iterable[str]) -> None:
        """Mark the MLflow runs of these names as deleted, which MLflow can undo: their place was taken by others."""
        for name in names:
            self._runs.delete(name)
        self._index.save()

    def shown(self) -> set[str]:
        """Names of the runs that MLflow shows."""
        return set(self._index.runs)

    def describe(self, sentences: Sequence[str], compared: str, views: Sequence[View]) -> None:
        """Write the question, what is compared, what was found and the views where the UI shows them.

        Args:
            sentences: what was found.
            compared: "2 methods x 4 regimes on brick, grass, gravel".
            views: tables for the UI; those of an earlier end of the study are written over.
        """
        note = "\n\n".join(filter(None, [self._spec.description, *map(printable, sentences)]))
        if note:
            self._client.set_tag(self.parent_id, MLFLOW_RUN_NOTE, note[:LONGEST_NOTE])
        keys = {view.name: view.key(self._runs.owner) for view in views}
        now = int(time.time() * 1000)
        for view in views:
            tag = view.tag(self._runs.owner, self._spec.study, now)
            self._client.set_experiment_tag(self._runs.experiment_id, TAG + keys[view.name], tag)
        self._index.views = {name: link("", self._runs.experiment_id, key) for name, key in keys.items()}
        links = ", ".join(f"[{name}]({place.removeprefix('/')})" for name, place in self._index.views.items())
        about = [self._spec.description, compared, f"Tables: {links}" if links else ""]
        text = "\n\n".join(filter(None, about))[:LONGEST_NOTE]
        self._client.set_experiment_tag(self._runs.experiment_id, MLFLOW_RUN_NOTE, text)

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
        if self._watch is not None:
            self._watch.end()
        if self._place.server:
            self._runs.mend()  # what an answer that was lost has left
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in figures.items()]
        for start in range(0, len(metrics), MOST_IN_A_BATCH):
            self._client.log_batch(self.parent_id, metrics=metrics[start : start + MOST_IN_A_BATCH])
        self._client.set_terminated(self.parent_id, status)
        self._index.ended = status
        self._index.save()

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
        values = {name: short(params.get(name, "n/a")) for name in self._param_names}
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


def _named(figures: Mapping[str, float | None]) -> dict[str, float]:
    """By MLflow's name; those that a record of another version has and this one does not know are left out."""
    return {METRICS[k].mlflow_name: value for k, value in figures.items() if value is not None and k in METRICS}


def _lost(drops: Row) -> dict[str, float]:
    """By MLflow's name: what each metric loses against clean."""
    own = {k: v for k, v in drops.items() if isinstance(v, float) and not k.startswith("params.")}
    return {f"drop/{k.removeprefix('drop_')}": v for k, v in own.items() if "drop" in k}
