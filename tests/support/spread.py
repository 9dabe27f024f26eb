"""The studies that are computed here and there, in one process and by many: the figures must be the same."""

from __future__ import annotations

import inspect
import json
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STUDY = """\
study: spread
description: Are they the same?
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: [48, 64]}}
regimes: [clean, threshold_only]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, smoothing_sigma: 1}}
    grid: {{coreset_ratio: [0.1, 0.5]}}
heatmaps: 2
models: none
"""
TUNED = """\
study: spread
description: Are the trials the same?
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: 48}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, reweight: none}}
    tune:
      space:
        coreset_ratio: {{low: 0.02, high: 0.5, log: true}}
        neighbours: {{low: 1, high: 9, type: int}}
        layers: {{choices: [[layer2], [layer2, layer3], [layer3]]}}
tuning: {{metric: val_pixel_auroc, trials: 8, wave: 4}}
heatmaps: 0
models: none
"""
N_RUNS = 8
N_IMAGES = 2 * (10 + 6 + 10 + 6 + 10)  # train, validation, test, and the latter two shifted


def ran_here(study_file: Path, workspace: Path, *, report: bool = False) -> Path:
    """The workspace, with the study run in this process; without its report where nobody looks at that.

    With it also where a test that looks at none is the first to ask, of a study that others look at, too.
    """
    from commandline import adloc

    with reports(written=report):
        adloc("study", "run", study_file, "--workspace", workspace)
    return workspace


@contextmanager
def reports(*, written: bool) -> Iterator[None]:
    """Whether studies of this process end with their report, a third of a small one's time."""
    from adloc.run import runs

    genuine = inspect.unwrap(runs.try_report)

    @wraps(genuine)
    def none(_: object) -> None:
        return None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "try_report", genuine if written else none)
        yield


def recorded(workspace: Path) -> dict[str, list[Any]]:
    """By run: everything that was found, costs left out, every score, and the bytes of curves and heatmaps."""
    costs = ("fit_s", "score_ms_per_image", "peak_memory_mb")
    found: dict[str, list[Any]] = {}
    for path in (workspace / "studies" / "spread" / "records").glob("[!.]*/record.json"):
        record = json.loads(path.read_text())
        metrics = {name: value for name, value in record["metrics"].items() if name not in costs}
        files = sorted(p for p in path.parent.rglob("*") if p.suffix in (".csv", ".png") or p.name == "curves.json")
        found[record["run_id"]] = [record["status"], record["threshold"], metrics, [p.read_bytes() for p in files]]
    return found


def trials(workspace: Path) -> list[list[Any]]:
    """Number, state, values and objective of every trial."""
    folder = workspace / "studies" / "spread" / "trials" / "patchcore" / "r1"
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [[r["number"], r["state"], r["params"], r["figures"].get("val_pixel_auroc")] for r in records]
