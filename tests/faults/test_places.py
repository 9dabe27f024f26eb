"""Workspaces in odd places and states: full, named oddly, with a clock set back.

$ADLOC_DISKS are the sizes through which a disk grows that is too small, for long runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from faults.mounts import disk, enlarge
from faults.study import figures, stages, tracked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.study import Ended, Forks

pytestmark = pytest.mark.slow
DISKS = tuple(int(size) for size in os.environ.get("ADLOC_DISKS", "200_000 5_600_000").split())  # bytes


def test_odd_path_is_a_workspace(
    forks: Forks, whole_study: Path, undisturbed: tuple[Path, Ended], tmp_path: Path, caused: Callable[..., None]
) -> None:
    """With spaces, quotation marks, letters beyond ASCII, % and #, 200 characters; and a clock set back a year."""
    workspace = tmp_path / f"Prüf 'stand' 5% #1 {'x' * 180}"
    set_back = "import time; time.time = lambda now=time.time: now() - 31_536_000"
    ended = forks.run(whole_study, workspace, before=set_back)
    assert ended.code == 0, ended.output
    assert figures(workspace) == figures(undisturbed[0])
    assert tracked(workspace) == tracked(undisturbed[0])
    again = forks.run(whole_study, workspace)  # the present is later, and the past is no reason to compute anything
    assert "0 stages computed" in again.output, again.output
    caused("workspaces in odd places")


def test_disk_that_is_full_is_told_and_the_study_goes_on_when_it_grows(
    forks: Forks, whole_study: Path, undisturbed: tuple[Path, Ended], tmp_path: Path, caused: Callable[..., None]
) -> None:
    """A disk of its own, too small for MLflow's database, then for the records; then with room."""
    before: dict[str, int] = {}
    try:
        with disk(tmp_path / "disk", DISKS[0]) as place:
            workspace = place / "w"
            for n_bytes in DISKS:
                enlarge(place, n_bytes)
                ended = forks.run(whole_study, workspace)
                assert ended.code in (2, 3), f"{n_bytes}\n{ended.output}"
                assert "Traceback" not in ended.output, f"{n_bytes}\n{ended.output}"
                seen = forks.verb(workspace, "study", "status", whole_study, "--workspace", workspace)
                assert seen.code == 0, f"{n_bytes}\n{seen.output}"
                before = stages(workspace)
                caused("full disks")
            enlarge(place, 50_000_000)
            ended = forks.run(whole_study, workspace)
            assert ended.code == 0, ended.output
            assert figures(workspace) == figures(undisturbed[0])
            assert tracked(workspace) == tracked(undisturbed[0])
            after = stages(workspace)
            assert {name: after[name] for name in before} == before
    except PermissionError as error:
        pytest.skip(f"no right to mount: {error}")


@pytest.mark.parametrize("n_kilobytes", [60])
def test_full_disk_is_told_and_the_study_goes_on_where_there_is_room(
    forks: Forks,
    whole_study: Path,
    undisturbed: tuple[Path, Ended],
    tmp_path: Path,
    caused: Callable[..., None],
    n_kilobytes: int,
) -> None:
    """A file that may not grow further is an error like any other; with room again the figures are the same."""
    workspace = tmp_path / "w"
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({n_kilobytes * 1000}, resource.RLIM_INFINITY))"
    ended = forks.run(whole_study, workspace, before=limit)
    assert ended.code in (2, 3), ended.output
    assert "Traceback" not in ended.output, ended.output
    ended = forks.run(whole_study, workspace)
    assert ended.code == 0, ended.output
    assert figures(workspace) == figures(undisturbed[0])
    caused("full disks")
