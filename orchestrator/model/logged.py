"""The models that a study's MLflow shows: whose they are, and a failure boundary of their own.

A model that cannot be exported takes nothing from a study that was run, and keeps no other model from being logged.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from adloc.errors import StageMismatchError
from adloc.explain.boundary import leads
from adloc.kept.failure import keep_failure, kept_reason
from adloc.study import is_current
from adloc.tracking.index import record_key

if TYPE_CHECKING:
    from adloc.executors.on_demand import OnDemand
    from adloc.planning.plan import Run
    from adloc.record.records import RunRecord
    from adloc.run.reporter import Reporter
    from adloc.study import Study
    from adloc.tracking.experiment import Tracking

ERROR_NAME = "models_error.txt"  # in the study's folder: why the last model could not be logged


def model_keys(study: Study) -> dict[str, str]:
    """The key of the record by id of the run of every model that MLflow is to show: see `models` in the study file."""
    return {run.run_id: record_key(record) for run, record in _wanted(study)}


def try_log_models(study: Study, on_demand: OnDemand, tracking: Tracking, reporter: Reporter) -> None:
    """Log the models that the study asks for and MLflow lacks, and delete those that it asks for no more.

    Computed in this process, whatever the executor. Why one failed is kept in models_error.txt in the study's folder,
    until the next time all are there.

    Raises:
        StageMismatchError: a bug that says that a fit was given images that it must not see.
    """
    path = _error_path(study)
    try:
        whole = _log_models(study, on_demand, tracking, reporter)
    except StageMismatchError:
        raise
    except Exception:  # noqa: BLE001  the boundary of what all models need
        keep_failure(path)
        return
    if whole:
        path.unlink(missing_ok=True)


def complaint(study: Study) -> str:
    """What kept a model from being logged, in one line; "" where nothing did."""
    path = _error_path(study)
    reason, again = kept_reason(path), "the next `adloc study run` tries again, and `models: none` asks for none"
    return f"a model could not be logged in MLflow: {reason} (all of it in {path}); {again}" if reason else ""


def _log_models(study: Study, on_demand: OnDemand, tracking: Tracking, reporter: Reporter) -> bool:
    """Whether all are there now."""
    wanted = _wanted(study)
    tracking.models.keep_only([run.run_id for run, _ in wanted])
    todo = [(run, record) for run, record in wanted if not tracking.models.has(record)]
    if not todo:
        return True
    from adloc.model.boundary import Exporter
    from adloc.model.folder import CARD

    exporter, whole = Exporter(study, on_demand), True
    for number, (run, record) in enumerate(todo, 1):
        reporter.model_started(run, number, len(todo))
        try:
            with TemporaryDirectory(prefix=".model-", dir=study.workspace.study_path(study.spec.study)) as aside:
                exported = exporter.export(run, Path(aside) / run.run_id, with_backbone=False)
                tracking.models.log(record, exported.path, (exported.path / CARD).read_text(encoding="utf-8"))
        except StageMismatchError:
            raise
        except Exception:  # noqa: BLE001  the boundary of one model
            keep_failure(_error_path(study))
            whole = False
    return whole


def _wanted(study: Study) -> list[tuple[Run, RunRecord]]:
    """The runs whose models the study asks for, as far as they are done."""
    if study.spec.models == "none":
        return []
    runs = leads(study) if study.spec.models == "best" else study.plan.runs
    found = ((run, study.records.get(run.run_id)) for run in runs)
    return [(run, record) for run, record in found if record is not None and is_current(record, run)]


def _error_path(study: Study) -> Path:
    return study.workspace.study_path(study.spec.study) / ERROR_NAME
