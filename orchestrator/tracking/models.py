"""The models that MLflow shows beside a study's runs: logged models, each of the run that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from adloc.tracking.index import record_key
from adloc.tracking.runs import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from adloc.record.records import RunRecord
    from adloc.tracking.runs import OwnRuns

_OWN = "tags.`adloc.kind` = 'model'"
_FORBIDDEN = str.maketrans(dict.fromkeys("/:.%\"'", "_"))  # MLflow refuses them in a model's name
_LONGEST_CARD = 5000  # characters, as of the study's own description
_COPIED = ("adloc.study", "adloc.category", "adloc.method", "adloc.regime", "adloc.scope", "adloc.run_id")


class LoggedModels:
    """The logged models of a study's experiment. Only those that the index knows are there: what a crash left goes."""

    def __init__(self, runs: OwnRuns) -> None:
        """Delete what an earlier process began to log and did not finish."""
        self._client, self._experiment_id, self._index = runs.client, runs.experiment_id, runs.index
        self._mark = {OWNER: runs.owner} if runs.owner else {}
        known = {entry["model_id"] for entry in self._index.models.values()}
        for model in self._search():
            if model.model_id not in known:
                self._client.delete_logged_model(model.model_id)

    def has(self, record: RunRecord) -> bool:
        """Whether the model of this very record is there."""
        entry = self._index.models.get(record.run_id)
        return entry is not None and entry["key"] == record_key(record)

    def log(self, record: RunRecord, folder: Path, card: str) -> str:
        """Log an exported model, in place of an earlier one of its run; return its id.

        Args:
            record: of the run, which is tracked.
            folder: of the model; its MLmodel is given the id.
            card: Markdown, which the UI shows as the model's description.
        """
        self._delete(record.run_id)
        run = self._client.get_run(self._index.runs[record.run_id]["mlflow_run_id"])
        tags = {name: run.data.tags[name] for name in _COPIED} | {"adloc.kind": "model", "adloc.domain": record.domain}
        tags |= self._mark
        tags[MLFLOW_RUN_NOTE] = card[:_LONGEST_CARD]
        unified = ["unified", record.threshold_scope] if record.scope == "unified" else []
        model = self._client.create_logged_model(
            self._experiment_id,
            "-".join([record.category, record.method, *unified]).translate(_FORBIDDEN),
            run.info.run_id,
            tags,
            dict(run.data.params),
            "anomaly detector",
        )
        _name(folder / "MLmodel", model.model_id, run.info.run_id)
        self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        self._client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
        self._link_figures(run.info.run_id, model.model_id, run.data.metrics, int(run.info.start_time))
        self._index.models[record.run_id] = {"model_id": model.model_id, "key": record_key(record)}
        self._index.save()
        return str(model.model_id)

    def keep_only(self, run_ids: Iterable[str]) -> None:
        """Delete the models of all other runs, which MLflow can undo: a registered version of one still loads."""
        for run_id in self._index.models.keys() - set(run_ids):
            self._delete(run_id)

    def _link_figures(self, run_id: str, model_id: str, figures: Mapping[str, float], started: int) -> None:
        """Show the run's figures at the model too; the very points that the run has are added to it once."""
        of_result = [k for k in figures if not k.startswith(("hp/", "data/"))]
        self._client.log_batch(
            run_id, metrics=[Metric(name, figures[name], started, 0, model_id=model_id) for name in of_result]
        )

    def _delete(self, run_id: str) -> None:
        old = self._index.models.pop(run_id, None)
        if old is None:
            return
        self._index.save()
        try:
            self._client.delete_logged_model(old["model_id"])
        except MlflowException:
            return  # it is gone already

    def _search(self) -> Iterator[LoggedModel]:
        own, token = " and ".join([_OWN, *(f"tags.`{name}` = '{value}'" for name, value in self._mark.items())]), None
        while True:
            page = self._client.search_logged_models([self._experiment_id], own, page_token=token)
            yield from list(page)
            token = page.token
            if not token:
                return


def _name(path: Path, model_id: str, run_id: str) -> None:
    """Say in an MLmodel which logged model it is, and of which MLflow run."""
    model = Model.load(str(path))
    model.model_id, model.run_id = model_id, run_id
    model.save(str(path))
