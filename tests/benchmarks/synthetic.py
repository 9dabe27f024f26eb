"""Records of a large study made from those of a small one, to see what thousands of them cost without computing them.

Every run of the large study gets the record of the small study's run of the same category and regime, under its own
identity, with figures and image scores moved a little, so that no two settings are alike. Files that the figures do not
depend on are linked.
"""

from __future__ import annotations

import csv
import os
import random
from typing import TYPE_CHECKING, Any

from studies import texture_study, time_study

from adloc.study import prepare
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.record.records import Records, RunRecord
    from adloc.study import Study

DATASET = {"categories": ["brick", "grass", "gravel"], "n_train": 10, "n_test_good": 6, "n_per_defect": 4}
REGIMES = ["clean", "no_adaptation", "threshold_only", "full_adaptation"]
PARAMS = {"backbone": "efficientnet_lite0", "reweight": "none"}
REWRITTEN = ("record.json", "images.csv")


def grid_study(name: str, n_runs: int) -> dict[str, Any]:
    """A PatchCore study of about `n_runs` runs: coreset ratio by smoothing, three categories, four regimes."""
    n_variants = max(1, round(n_runs / (len(DATASET["categories"]) * len(REGIMES))))
    n_ratios = max(1, round(n_variants**0.5))
    ratios = [round(0.01 + 0.9 * i / n_ratios, 6) for i in range(n_ratios)]
    sigmas = [round(0.05 * i, 3) for i in range(-(-n_variants // n_ratios))]
    method = {"method": "patchcore", "params": PARAMS, "grid": {"coreset_ratio": ratios, "smoothing_sigma": sigmas}}
    return texture_study(name, DATASET, method, regimes=REGIMES, max_runs=10**9)


def recorded_study(folder: Path, path: Path, templates: Records) -> Study:
    """The study of that file in a workspace of its own, with a record of every run."""
    study = prepare(path, [], Workspace(folder), download=False)
    known = {(r.category, r.regime): r for r in templates.all()}
    for number, run in enumerate(study.plan.runs):
        template = known[run.category, run.regime]
        draw = random.Random(number)  # noqa: S311  nobody is to be surprised
        record = template.model_copy(
            update={
                "study": run.study,
                "run_id": run.run_id,
                "key": run.key,
                "group": run.group,
                "params": run.variant.hyperparameters(),
                "metrics": {name: moved(value, draw) for name, value in template.metrics.items()},
            }
        )
        _write(study.records, record, templates.path(template.run_id), draw)
    return study


def small_records(folder: Path) -> Records:
    """The records of one setting, computed."""
    time_study(grid_study("small", 1), folder)
    return prepare(folder / "small.yaml", [], Workspace(folder), download=False).records


def moved(value: float | None, draw: random.Random) -> float | None:
    """A figure up to 5 % smaller."""
    return None if value is None else value * draw.uniform(0.95, 1)


def _write(records: Records, record: RunRecord, source: Path, draw: random.Random) -> None:
    draft = records.draft(record.run_id)
    for path in source.rglob("*"):
        target = draft / path.relative_to(source)
        if path.is_dir():
            target.mkdir()
        elif path.name not in REWRITTEN:
            os.link(path, target)
    with (source / "images.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    for row in rows:
        row[5] = repr(float(row[5]) * draw.uniform(0.95, 1))
    with (draft / "images.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    records.write(record)
