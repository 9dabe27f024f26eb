"""Every kind of file of a finished workspace, damaged: the study ends as before, and no figure changes in silence.

$ADLOC_DAMAGE is the share of kinds and damages that are tried, 1 for all of them.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING

import pytest

from adloc.record.files import read_checked
from adloc.tracking.index import TrackingIndex, trial_key
from adloc.tuning.trial_records import TrialRecord
from faults.study import copy_of, figures, tracked
from faults.told import WRONG, complaints

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.study import Ended, Forks
    from faults.told import Told

SHARE = float(os.environ.get("ADLOC_DAMAGE", "0.08"))
N_TRIALS = 3  # of the study


def halved(path: Path, _: Random) -> None:
    """The file ends early."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path, random: Random) -> None:
    """One bit in it is another one."""
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def zeroed(path: Path, _: Random) -> None:
    """As a machine leaves a file that lost its power."""
    path.write_bytes(bytes(path.stat().st_size))


def deleted(path: Path, _: Random) -> None:
    """It is gone."""
    path.unlink()


def kinds(workspace: Path) -> dict[str, list[str]]:
    """The files of a workspace by what they are for: keys, ids and numbers in a path tell none apart."""
    found: dict[str, list[str]] = {}
    for path in sorted(workspace.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            name = str(path.relative_to(workspace))
            kind = re.sub(r"[0-9a-f]{8,}|\d+", "#", re.sub(r"heatmaps/.*", "heatmaps/*", name))
            kind = re.sub(r"artifacts/.*", "artifacts/*", kind)
            kind = re.sub(r"(figures|tables)/.*", r"\1/*", kind)
            found.setdefault(kind, []).append(name)
    return found


@pytest.mark.slow
def test_damaged_workspace_ends_as_the_undisturbed_one(
    forks: Forks, whole_study: Path, undisturbed: tuple[Path, Ended], tmp_path: Path, caused: Callable[..., None]
) -> None:
    """Whatever is damaged is made again, and the study is run as if nothing had happened."""
    reference, _ = undisturbed
    expected, shown = figures(reference), tracked(reference)
    every = [
        (kind, names, how) for kind, names in kinds(reference).items() for how in (halved, flipped, zeroed, deleted)
    ]
    assert len(every) > 100
    random, wrong = Random(3), []  # noqa: S311
    for _, names, how in random.sample(every, round(SHARE * len(every))):
        workspace = tmp_path / "w"
        shutil.rmtree(workspace, ignore_errors=True)
        shutil.copytree(reference, workspace)
        name = random.choice(names)
        how(workspace / name, random)
        what = f"{how.__name__} {name}"
        # The trials of a search that nothing is known of any more stay where they were shown, beside those made anew.
        known = {**shown, "FINISHED": shown["FINISHED"] + N_TRIALS} if name.endswith("search.json") else shown
        ended = forks.run(whole_study, workspace)
        if name.endswith("seal.json") and how is not deleted:  # what was promised of test images nobody makes up again
            assert "is no seal" in refused_run(ended).found
            (workspace / name).unlink()
            ended = forks.run(whole_study, workspace)
        if ended.code or "Traceback" in ended.output:
            wrong.append(f"{what}: exit code {ended.code}\n{ended.output[-1500:]}")
        elif figures(workspace) != expected:
            wrong.append(f"{what}: other figures")
        elif tracked(workspace) != known:
            wrong.append(f"{what}: MLflow shows {tracked(workspace)}, not {known}")
        caused(f"files of a workspace {how.__name__}")
    assert not wrong, "\n".join(wrong)


def refused_run(ended: Ended) -> Told:
    """What a run that was refused has said."""
    assert ended.code == WRONG, ended.output
    return complaints(ended.output)[0]


@pytest.mark.slow
def test_search_of_which_nothing_is_known_begins_again_and_mlflow_shows_what_is_recorded(
    forks: Forks,
    whole_study: Path,
    undisturbed: tuple[Path, Ended],
    tmp_path: Path,
    caused: Callable[..., None],
) -> None:
    """A run for every trial that is on the disk, those of the search that is lost too, once each; and nothing else."""
    workspace = copy_of(undisturbed[0], tmp_path / "w")
    study = workspace / "studies" / "whole"
    (study / "trials" / "floor" / "search.json").unlink()
    ended = forks.run(whole_study, workspace)
    assert ended.code == 0, ended.output
    assert figures(workspace) == figures(undisturbed[0])
    trials = [TrialRecord.model_validate_json(read_checked(path)) for path in study.glob("trials/floor/r*/*.json")]
    assert {(trial.revision, trial.number) for trial in trials} == {(r, n) for r in (1, 2) for n in range(N_TRIALS)}
    index = TrackingIndex(study / "mlflow.json")
    assert all(index.has(trial.name, trial_key(trial)) for trial in trials)
    assert {trial.name for trial in trials} == {name for name in index.runs if name.startswith("trial-")}
    assert run_ids(workspace) == {name: entry["mlflow_run_id"] for name, entry in index.runs.items()}
    assert tracked(workspace)["twice"] == 0
    assert "0 stages computed" in forks.run(whole_study, workspace).output
    caused("searches that were lost")


def run_ids(workspace: Path) -> dict[str, str]:
    """The runs that MLflow shows of records and trials, by their names in the study."""
    with closing(sqlite3.connect(workspace / "mlflow.db")) as database:
        return dict(
            database.execute(
                "SELECT name.value, run_uuid FROM runs JOIN tags AS name USING (run_uuid) JOIN tags AS kind USING "
                "(run_uuid) WHERE name.key = 'adloc.run_id' AND kind.key = 'adloc.kind' AND kind.value != 'model' "
                "AND lifecycle_stage = 'active'"
            )
        )
