"""Every kind of file of a finished workspace, damaged: the study ends as before, and no figure changes in silence.

$ADLOC_DAMAGE is the share of kinds and damages that are tried, 1 for all of them.
"""

from __future__ import annotations

import os
import re
import shutil
from random import Random
from typing import TYPE_CHECKING

import pytest

from faults.study import figures, tracked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.study import Ended, Forks

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
        if ended.code or "Traceback" in ended.output:
            wrong.append(f"{what}: exit code {ended.code}\n{ended.output[-1500:]}")
        elif figures(workspace) != expected:
            wrong.append(f"{what}: other figures")
        elif tracked(workspace) != known:
            wrong.append(f"{what}: MLflow shows {tracked(workspace)}, not {known}")
        caused(f"files of a workspace {how.__name__}")
    assert not wrong, "\n".join(wrong)
