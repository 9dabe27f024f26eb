"""Views of a study for MLflow's UI: flat tables of its runs, averages and trials, with the columns that differ. Pure.

The UI keeps a shared view as a tag of the experiment: what its "Share" button writes. Opened by their links they show a
table where the UI by itself shows one folded row, under a menu for language models.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.results import MACRO, varying
from adloc.metrics.registry import METRICS
from adloc.study_file.conditions import AXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.results import Row
    from adloc.study_file.spec import StudySpec
    from adloc.tuning.trial_records import TrialRecord

TAG = "mlflow.sharedViewState."
FIGURES = ("val_image_auroc", "image_auroc", "image_f1", "pixel_auroc", "pixel_aupro", "threshold", "fit_s")
MOST_COLUMNS = 14  # as many as a wide screen shows


@dataclass(frozen=True, slots=True)
class View:
    """A table in the UI.

    Attributes:
        name: "runs", "averages" or "trials".
        kind: of the runs that it shows, their tag `adloc.kind`.
        order: column that it is ordered by.
        ascending: whether the smallest comes first.
        columns: as the UI calls them, "metrics.`image/auroc`".
    """

    name: str
    kind: str
    order: str
    ascending: bool
    columns: tuple[str, ...]

    def key(self, owner: str) -> str:
        """Under which the experiment has it; of each workspace its own."""
        return f"adloc-{self.name}{f'-{owner}' if owner else ''}"

    def tag(self, owner: str, study: str, now_ms: int) -> str:
        """The value of the experiment's tag.

        Args:
            owner: the workspace's id: of its runs alone; "" where there are no others.
            study: its name.
            now_ms: milliseconds since 1970.
        """
        mine = f" and tags.`adloc.workspace` = '{owner}'" if owner else ""
        state = {
            "searchFilter": f"tags.`adloc.kind` = '{self.kind}'{mine}",
            "orderByKey": self.order,  # any order but by date shows nested runs beside each other
            "orderByAsc": self.ascending,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
            "selectedColumns": self.columns,
            "columnOrder": self.columns,
            "columnWidths": {},
            "runsHiddenMode": "FIRST_20_RUNS",
            "groupBy": None,
            "autoRefreshEnabled": True,
            "hideEmptyCharts": True,
            "useGroupedValuesInCharts": True,
            "viewMaximized": False,
            "runListHidden": False,
            "isAccordionReordered": False,
        }
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        about = {"name": f"{study}: {self.name}", "createdAt": now_ms, "updatedAt": now_ms}
        return json.dumps(about | {"state": f"deflate;{packed}"})


def views_of(spec: StudySpec, rows: Sequence[Row], trials: Sequence[TrialRecord], *, macro: bool) -> list[View]:
    """The views that have something to show.

    Args:
        spec: the study.
        rows: its results.
        trials: of its searches.
        macro: whether averages are tracked.
    """
    found: list[View] = []
    if rows:
        found.append(_of_rows("runs", "run", [row for row in rows if row["category"] != MACRO]))
    if macro:
        found.append(_of_rows("averages", "macro", [row for row in rows if row["category"] == MACRO]))
    if trials:
        objectives = spec.tuning.objectives
        tried: dict[str, set[str]] = {}
        for trial in trials:
            for name, value in trial.hyperparameters.items():
                tried.setdefault(name, set()).add(str(value))
        several = [name for name in ("search", "category", "state") if len({getattr(t, name) for t in trials}) > 1]
        columns = [f"tags.`adloc.{name}`" for name in several]
        columns += [f"params.`{name}`" for name, values in tried.items() if len(values) > 1]
        figures = [f"metrics.`{METRICS[name].mlflow_name}`" for name in objectives]
        columns = [*figures, *columns, "metrics.`trial/number`"]
        order, ascending = figures[0], METRICS[objectives[0]].better == "lower"
        found.append(View("trials", "trial", order, ascending, tuple(columns[:MOST_COLUMNS])))
    return found


def link(base: str, experiment_id: str, key: str) -> str:
    """Where a browser finds a view.

    Example:
        >>> link("http://127.0.0.1:5000", "1", "adloc-runs")
        'http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=adloc-runs'
    """
    return f"{base}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={key}"


def _of_rows(name: str, kind: str, rows: Sequence[Row]) -> View:
    """Ordered by the validation part's figure where there is one: what is chosen is chosen there."""
    known = [metric for metric in FIGURES if any(row.get(metric) is not None for row in rows)]
    apart = [column for column in varying(list(rows)) if not (kind == "macro" and column == "category")]
    columns = [_column(column) for column in apart if len({row[column] for row in rows}) > 1]
    columns += [f"metrics.`{METRICS[metric].mlflow_name}`" for metric in known]
    order = f"metrics.`{METRICS[known[0]].mlflow_name}`" if known else "tags.`mlflow.runName`"
    return View(name, kind, order, False, tuple(columns[:MOST_COLUMNS]))  # noqa: FBT003  # best first


def _column(name: str) -> str:
    """A column of the results as the UI calls it."""
    if name.startswith("params."):
        return f"params.`{name.removeprefix('params.')}`"
    if name in AXES and name != "domain":
        return f"params.`{name}`"
    return f"tags.`adloc.{name}`"
