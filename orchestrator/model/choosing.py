"""Which recorded run becomes a model: by its id, or the best of a study on its validation part."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.answer.material import gather
from adloc.answer.results import recorded
from adloc.errors import Complaint, UserError, nearest
from adloc.metrics.registry import METRICS

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.planning.plan import Run
    from adloc.study import Study
    from adloc.workspace import Workspace

VALIDATED = "val_"


def find_study(workspace: Workspace, run_id: str) -> Path:
    """The resolved study file of the one study in the workspace that has a record of this run.

    Raises:
        UserError: no study has, or several.
    """
    records = sorted(workspace.studies_path().glob("*/records/*/record.json"))
    names = {path.parent.name for path in records}
    studies = [path.parents[2] for path in records if path.parent.name == run_id]
    if not studies:
        raise UserError(
            Complaint(
                f"{workspace.location}: no record of a run {run_id}",
                "a run is exported by the id that `adloc study results FILE` lists",
                nearest(run_id, sorted(names)) if names else "run a study first, or name its --workspace",
            )
        )
    if len(studies) > 1:
        raise UserError(
            Complaint(
                f"{run_id} is a run of {' and of '.join(path.name for path in studies)}",
                "a run is exported from one study",
                "name its file: --study FILE",
            )
        )
    return studies[0] / "study.yaml"


def material_of(study: Study) -> Material:
    """What the study has found so far."""
    records = recorded(study.plan, study.records)
    return gather(study.plan, study.records, records)


def best_runs(study: Study, metric: str | None, category: str | None) -> list[Run]:
    """The best setting's runs in the first regime and the first repeat, one a category.

    Args:
        study: prepared, with records.
        metric: a result column of the validation part, with or without its "val_": the setting with the best mean over
            the categories is taken, of equals the smallest model. None: the study's own choice.
        category: None for all.

    Raises:
        UserError: there is no such metric or category, or no run is done.
    """
    material = material_of(study)
    setting = material.chosen if metric is None else _best(material, _column(metric))
    if setting is None:
        raise UserError(
            Complaint(
                f"{study.spec.study}: no setting has a validation figure{f' {metric}' if metric else ''} yet",
                "the best is chosen on validation images, of settings that are done on every category",
                f"adloc study run {study.file.path}, or name a run by its id",
            )
        )
    regime = material.first_regime(setting)
    by_id = {run.run_id: run for run in study.plan.runs}
    rows = material.row(setting, regime)
    if category is not None and category not in rows:
        raise UserError(
            Complaint(f"--category is {category}", "it must be one of the study's", nearest(category, list(rows)))
        )
    return [by_id[f.record.run_id] for name, f in rows.items() if category in (None, name)]


def _best(material: Material, column: str) -> Setting | None:
    sign = -1.0 if METRICS[column].better == "higher" else 1.0
    validated = {s: material.macro(s, material.first_regime(s), column) for s in material.settings}
    known = {s: sign * value for s, value in validated.items() if not math.isnan(value)}
    if not known:
        return None
    sizes = {s: material.macro(s, material.first_regime(s), "model_mb") for s in known}
    return min(known, key=lambda s: (known[s], sizes[s]))


def _column(metric: str) -> str:
    """The validation column of a metric.

    Raises:
        UserError: the validation part has no such figure.
    """
    column = metric if metric.startswith(VALIDATED) else f"{VALIDATED}{metric}"
    known = [name for name, each in METRICS.items() if name.startswith(VALIDATED) and each.better != "none"]
    if column in known:
        return column
    if metric in METRICS:
        rule = f"the best is chosen on validation images alone, by one of {', '.join(known)}"
        raise UserError(Complaint(f"--best is {metric}, which validation images have not", rule, "use image_auroc"))
    rule = f"it must be one of {', '.join(name.removeprefix(VALIDATED) for name in known)}"
    plain = [name.removeprefix(VALIDATED) for name in known]
    raise UserError(Complaint(f"--best is {metric}", rule, nearest(metric, plain)))
