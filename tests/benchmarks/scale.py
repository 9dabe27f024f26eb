"""Item m: what plans, records and trials cost as there are more of them: at several sizes, and the exponent.

Processor seconds, for the clock is also that of whoever else works on the machine.
An exponent of one is a cost that grows as the number does; a suggestion's includes what its sampler takes.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from synthetic import grid_study, recorded_study, small_records

from adloc.study import prepare
from adloc.study_file.spec import StudySpec
from adloc.tuning.search import searches
from adloc.tuning.storage import open_storage
from adloc.tuning.suggestions import Suggestions
from adloc.tuning.trial_records import TrialRecord
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = ("status", "results", "report", "run")
TIMES = 50  # that a suggestion is measured


def scale(*, quick: bool) -> dict[str, Any]:
    """Every wall at several sizes."""
    plans = [120, 480, 1920] if quick else [1000, 10_000, 100_000]
    records = [24, 48, 96] if quick else [625, 2500, 10_000]
    trials = [20, 40, 80] if quick else [100, 300, 900, 2000]
    with TemporaryDirectory() as name:
        folder = Path(name)
        return {
            "plan_s": _grown(plans, [_plan(folder, n) for n in plans]),
            "records": _records(folder, records),
            "suggestion_ms": _grown(trials, _suggestions(folder, trials)),
        }


def _plan(folder: Path, n_runs: int) -> float:
    """Processor seconds from the study file to runs, stages and their keys."""
    path = _write(folder, f"plan{n_runs}", n_runs)
    prepare(_write(folder, "warm", 12), [], Workspace(folder), download=False)
    start = time.process_time()
    plan = prepare(path, [], Workspace(folder), download=False).plan
    plan.count()
    for run in plan.runs:
        _ = run.key
    return time.process_time() - start


def _records(folder: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Processor seconds of each verb on a study whose runs are all recorded, by the command line; the report in MB."""
    templates = small_records(folder / "small")
    found: dict[str, list[float]] = {verb: [] for verb in VERBS}
    report_mb: list[float] = []
    for n_runs in sizes:
        where = folder / f"records{n_runs}"
        path = _write(where, f"records{n_runs}", n_runs)
        study = recorded_study(where, path, templates)
        for verb in VERBS[:-1]:
            found[verb].append(_verb(verb, path, where))
        _verb("run", path, where)  # MLflow is told of the records, once
        found["run"].append(_verb("run", path, where))
        report_mb.append((study.workspace.study_path(study.spec.study) / "report.html").stat().st_size / 1e6)
    return {f"{verb}_s": _grown(sizes, seconds) for verb, seconds in found.items()} | {
        "report_mb": [round(each, 1) for each in report_mb]
    }


def _verb(verb: str, path: Path, workspace: Path) -> float:
    before = os.times()
    command = [sys.executable, "-m", "adloc", "study", verb, str(path), "--workspace", str(workspace)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONSAFEPATH": "1"}, cwd=workspace)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def _suggestions(folder: Path, sizes: Sequence[int]) -> list[float]:
    """Processor milliseconds after these numbers of trials, a trial more each time and all in turn; the median."""
    ratio, neighbours = {"low": 0.01, "high": 0.25, "log": True}, {"low": 2, "high": 20, "type": "int"}
    space = {"coreset_ratio": ratio, "neighbours": neighbours, "smoothing_sigma": {"low": 0, "high": 8}}
    method = {"method": "patchcore", "params": {"backbone": "efficientnet_lite0"}, "tune": {"space": space}}
    spec = StudySpec.model_validate(
        {"study": "s", "dataset": {"kind": "textures"}, "methods": [method], "tuning": {"trials": max(sizes)}}
    )
    (search,) = searches(spec, ["brick"])

    def opened(name: str) -> Suggestions:
        return Suggestions(search, 1, "ticket", {}, open_storage(folder / f"{name}.journal", None))

    suggestions, records = opened("all"), []
    for number in range(max(sizes) + TIMES):
        record = _trial(number, suggestions.ask(number, tuple(records), []))
        suggestions.tell(record, "run")
        records.append(record)
    searched = {n: opened(str(n)) for n in sizes}
    took: dict[int, list[float]] = {n: [] for n in sizes}
    for further, (n, each) in product(range(TIMES), searched.items()):
        before = tuple(records[: n + further])
        start = time.process_time()
        each.ask(n + further, before, [])
        took[n].append(time.process_time() - start)
    return [1e3 * median(took[n][1:]) for n in sizes]  # the first reads all trials before it


def _trial(number: int, values: dict[str, Any]) -> TrialRecord:
    figures = {"val_image_auroc": 1 - 0.01 * (float(values["smoothing_sigma"]) - 3) ** 2 - values["coreset_ratio"] / 10}
    return TrialRecord.model_validate(
        {"study": "s", "search": "patchcore", "method": "patchcore", "revision": 1, "number": number, "repeat": 0,
         "category": None, "state": "complete", "params": values, "hyperparameters": values, "figures": figures,
         "categories": {"brick": figures}, "started": "2026-01-01T00:00:00+00:00", "seconds": 1.0, "error": None}
    )  # fmt: skip


def _write(folder: Path, name: str, n_runs: int) -> Path:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        YAML().dump(grid_study(name, n_runs), file)
    return path


def _grown(sizes: Sequence[int], costs: Sequence[float]) -> dict[str, Any]:
    """The costs by size, and the exponent between the last two: below them what is constant counts."""
    exponent = math.log(costs[-1] / costs[-2]) / math.log(sizes[-1] / sizes[-2])
    return {str(n): round(cost, 2) for n, cost in zip(sizes, costs, strict=True)} | {"exponent": round(exponent, 2)}


SCALE_ITEMS = {"m": scale}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(scale(quick="--quick" in sys.argv), indent=1))
