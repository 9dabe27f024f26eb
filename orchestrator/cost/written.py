"""What a study leaves in its workspace beside the results of stages: records, pictures, models; by the driver's phases.

Of the store a study is told what it put there; here files are looked at, once, when the study has come to its end.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from adloc.cost.phases import EXPLAIN, MODELS, RECORDS, REPORT, TRACKING
from adloc.record.records import EXPLAINED, RECORDED

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.workspace import Workspace

LOGGED_MODELS = "models"  # MLflow's folder for them, among the artifacts of an experiment


def written(workspace: Workspace, study: str, since: float) -> dict[str, float]:
    """Bytes of a study's files that were written since then, by the phase that writes them.

    What a server of its own keeps is not here. The time is that of listing the folders that something was added to.

    Args:
        workspace: of the study.
        study: its name.
        since: seconds since 1970.
    """
    folder, artifacts = workspace.study_path(study), workspace.artifacts_path / study
    found = {
        RECORDS: _bytes(folder / RECORDED, since),
        EXPLAIN: _bytes(folder / EXPLAINED, since),
        MODELS: _bytes(artifacts / LOGGED_MODELS, since),
    }
    found[REPORT] = _bytes(folder, since) - found[RECORDS] - found[EXPLAIN]
    found[TRACKING] = _bytes(artifacts, since) - found[MODELS]
    return found


def _bytes(folder: Path, since: float) -> float:
    """Of the files of a folder that are newer, and of its folders that something was added to since."""
    total = 0.0
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return total
    for entry in entries:
        try:
            facts = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # removed since it was listed
            continue
        if facts.st_mtime < since:
            continue
        total += _bytes(folder / entry.name, since) if entry.is_dir(follow_symlinks=False) else facts.st_size
    return total
