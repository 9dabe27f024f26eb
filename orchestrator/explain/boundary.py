"""The door to explanations, and their own failure boundary: one that cannot be made takes nothing from a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.material import gather
from adloc.answer.results import recorded
from adloc.errors import Complaint, StageMismatchError, UserError, nearest
from adloc.explain.explanation import Explanations
from adloc.kept.failure import keep_failure, kept_reason
from adloc.study import is_current

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adloc.answer.material import Material
    from adloc.executors.on_demand import OnDemand
    from adloc.explain.explanation import Explanation
    from adloc.planning.plan import Run
    from adloc.study import Study

ERROR_NAME = "explain_error.txt"  # in the study's folder: why the last explanation could not be made


def explanations_of(study: Study) -> Explanations:
    """Where a study's explanations are kept."""
    return Explanations(study.workspace.study_path(study.spec.study))


def leads(study: Study) -> list[Run]:
    """The runs that are explained without being asked for; see `runs_to_explain`."""
    records = recorded(study.plan, study.records)
    return runs_to_explain(gather(study.plan, study.records, records))


def asked_runs(study: Study, run_ids: Sequence[str]) -> list[Run]:
    """The runs of these ids; the leads' where none is named.

    Raises:
        UserError: the study has no such run, or it is not recorded.
    """
    return [find_run(study, run_id) for run_id in run_ids] if run_ids else leads(study)


def runs_to_explain(material: Material) -> list[Run]:
    """The leads' runs in the first regime of the study and the first repeat, one a category, as far as they are done.

    The leads were chosen on the validation part.
    """
    regime = material.plan.spec.regimes[0]
    by_id = {run.run_id: run for run in material.plan.runs}
    found = (material.get(lead, regime, category) for lead in material.leads for category in material.plan.parts)
    return [by_id[finding.record.run_id] for finding in found if finding is not None]


def explain(study: Study, on_demand: OnDemand, runs: Sequence[Run]) -> Iterator[Explanation]:
    """Yield the explanation of each of these runs, made where it is not there or its run changed.

    Computed in this process, whatever the executor; where all are there nothing is computed and no torch imported.

    Args:
        study: prepared.
        on_demand: says on which device.
        runs: recorded.
    """
    config, explanations, bench = study.spec.explain, explanations_of(study), None
    for run in runs:
        known = explanations.get(run, config)
        if known is None:
            from adloc.computing.compute import Workbench
            from adloc.explain.explainer import Unheard, explain_run
            from adloc.planning.extents import Extents

            if bench is None:
                store, executor = study.workspace.store(), on_demand.executor
                bench = Workbench(store, Extents.of(study.plan), executor.device, Unheard(), executor.batch_size)
            record = study.records.get(run.run_id)
            if record is None:
                raise FileNotFoundError(study.records.path(run.run_id))
            known = explain_run(run, record, bench, study.records, explanations, config)
        yield known


def explained_keys(study: Study) -> list[str]:
    """The keys of all explanations that are there and answer their runs as they stand today."""
    explanations = explanations_of(study)
    there = explanations.run_ids()
    found = (explanations.get(run, study.spec.explain) for run in study.plan.runs if run.run_id in there)
    return sorted(each.key for each in found if each is not None)


def try_explain(study: Study, on_demand: OnDemand) -> None:
    """Explain the leads, unless that is done; where it fails, keep the traceback in explain_error.txt.

    The file is in the study's folder until all explanations are made. Every exception is caught but the one that
    says that a fit was given images that it must not see.
    """
    if study.spec.explain.is_off:
        return
    path = study.workspace.study_path(study.spec.study) / ERROR_NAME
    try:
        for _ in explain(study, on_demand, leads(study)):
            pass
    except StageMismatchError:
        raise
    except Exception:  # noqa: BLE001  the one boundary of explanations
        keep_failure(path)
        return
    path.unlink(missing_ok=True)


def find_run(study: Study, run_id: str) -> Run:
    """A run of the plan that has a good record.

    Raises:
        UserError: there is no such run, or it is not recorded as it stands today.
    """
    run = next((run for run in study.plan.runs if run.run_id == run_id), None)
    if run is None:
        raise UserError(
            Complaint(
                f"--run is {run_id}",
                f"it must be a run_id of {study.spec.study}; `adloc study results {study.file.path}` lists them",
                nearest(run_id, [run.run_id for run in study.plan.runs]),
            )
        )
    if not is_current(study.records.get(run_id), run):
        raise UserError(
            Complaint(
                f"{run_id} has no good record of today's data, weights and settings",
                "a run must be recorded first",
                f"adloc study run {study.file.path}",
            )
        )
    return run


def complaint(study: Study) -> str:
    """What kept the last explanation from being made, in one line; "" where nothing did."""
    path = study.workspace.study_path(study.spec.study) / ERROR_NAME
    reason = kept_reason(path)
    return (
        f"the runs could not be explained: {reason} (all of it in {path}); the next `adloc study run` tries again"
        if reason
        else ""
    )
