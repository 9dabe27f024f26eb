"""Studies that are ended at moments of their writing, and run again: the figures of the undisturbed run, once each.

$ADLOC_KILLS sets their number, for long runs.
"""

from __future__ import annotations

import os
import shutil
import signal
from random import Random
from typing import TYPE_CHECKING

import pytest

from faults.study import figures, stages, tracked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.study import Ended, Forks

KILLS = int(os.environ.get("ADLOC_KILLS", "6"))
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


@pytest.mark.slow
def test_killed_study_ends_as_the_undisturbed_one(
    forks: Forks, whole_study: Path, undisturbed: tuple[Path, Ended], tmp_path: Path, caused: Callable[..., None]
) -> None:
    """At seeded moments from the first file to the last, every third twice; nothing finished is computed again."""
    reference, whole = undisturbed
    expected, shown = figures(reference), tracked(reference)
    assert shown.keys() == {"FINISHED", "twice"}
    assert shown["twice"] == 0
    random, moments = Random(7), len(whole.moments)  # noqa: S311
    for number in range(KILLS):
        workspace = tmp_path / "w"
        shutil.rmtree(workspace, ignore_errors=True)
        moment = 1 + int((number + random.random()) / KILLS * moments)  # from all of the run, and from each part of it
        what = f"kill {number}"
        for again in range(2 if number % 3 == 2 else 1):
            kind, edge = SIGNALS[(number + again) % 3], random.choice(["before", "after"])
            before = stages(workspace)
            at = moment if not again else 1 + random.randrange(max(1, moments - moment))
            ended = forks.run(whole_study, workspace, moment=at, signal=int(kind), edge=edge)
            what += f", {kind.name} {edge} moment {at}"
            assert "Traceback" not in ended.output, f"{what}\n{ended.output}"
            if kind == signal.SIGKILL and not again:
                assert ended.code == -kind, f"{what}\n{ended.output}"
            assert ended.code in (0, 130, -kind), f"{what}\n{ended.output}"
            caused(f"{kind.name} of a study")
        before = stages(workspace)
        ended = forks.run(whole_study, workspace)
        assert ended.code == 0, f"{what}\n{ended.output}"
        assert figures(workspace) == expected, what
        assert tracked(workspace) == shown, what
        after = stages(workspace)
        assert after.keys() == stages(reference).keys(), what
        assert {name: after[name] for name in before} == before, what
        caused("stages that were finished before a kill, and were not computed again", len(before))
