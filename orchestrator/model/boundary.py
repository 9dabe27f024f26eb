"""The door to exporting: which run, on which device, to where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.computing.compute import Workbench
from adloc.explain.boundary import find_run
from adloc.explain.explainer import Unheard
from adloc.model.card import write_card
from adloc.model.choosing import best_runs, material_of
from adloc.model.export import Exported, Told, export_run
from adloc.model.worth import worth_of
from adloc.planning.extents import Extents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adloc.executors.on_demand import OnDemand
    from adloc.model.engines import EngineChoice
    from adloc.planning.plan import Run
    from adloc.study import Study


def export(
    study: Study,
    runs: list[Run],
    on_demand: OnDemand,
    output: Path | None,
    *,
    with_backbone: bool = False,
    engine: EngineChoice | None = None,
) -> Iterator[Exported]:
    """Export runs of a study, each to a folder of its own.

    Args:
        study: prepared.
        runs: recorded.
        on_demand: says on which device.
        output: of a single run its folder; of several the folder that gets one a category; None for `models/` in the
            study's folder of the workspace.
        with_backbone: whether the backbone's weights go with each.
        engine: what computes the backbone; None for the study's own.

    Raises:
        UserError: a folder is there already, or a model does not give its record's scores.
    """
    exporter = Exporter(study, on_demand)
    for run in runs:
        place = models_path(study) / run.run_id if output is None else output
        if output is not None and len(runs) > 1:
            place = output / run.category
        yield exporter.export(run, place, with_backbone=with_backbone, engine=engine)


class Exporter:
    """Exports runs of one study, with what they share made once."""

    def __init__(self, study: Study, on_demand: OnDemand) -> None:
        """Gather what the study has found.

        Args:
            study: prepared.
            on_demand: says on which device.
        """
        executor = on_demand.executor
        self._study, self._material = study, material_of(study)
        store = study.workspace.store()
        self._bench = Workbench(store, Extents.of(study.plan), executor.device, Unheard(), executor.batch_size)

    def export(
        self, run: Run, place: Path, *, with_backbone: bool = False, engine: EngineChoice | None = None
    ) -> Exported:
        """Write the model of a recorded run to a folder, new or empty; see `adloc.model.export.export_run`.

        Raises:
            UserError: the folder is there already, or the model does not give its record's scores.
        """
        record = self._study.records.get(run.run_id)
        if record is None:
            raise FileNotFoundError(self._study.records.path(run.run_id))
        told = Told(write_card(run, record, self._material), worth_of(run, self._material))
        return export_run(
            run, record, self._bench, self._study.spec, told, place, with_backbone=with_backbone, engine=engine
        )


def chosen_runs(study: Study, run_id: str | None, best: str | None, category: str | None) -> list[Run]:
    """The run of that id, or the best of the study.

    Raises:
        UserError: there is none.
    """
    if run_id is not None:
        return [find_run(study, run_id)]
    runs = best_runs(study, best, category)
    return [find_run(study, run.run_id) for run in runs]


def models_path(study: Study) -> Path:
    """Where models go that are given no place."""
    return study.workspace.study_path(study.spec.study) / "models"
