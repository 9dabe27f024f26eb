"""A workspace that may only be read: what reads it answers as ever, what writes says where it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.mounts import modes_of_read_only, mounted_read_only
from faults.study import copy_of
from faults.told import WRONG, complaints

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from faults.study import Ended, Forks

READING = (
    "study results {file} {w}", "study results whole {w} --json", "study results {file} {w} --output {out}/r.csv",
    "study status {file} {w}", "study compare whole {file} {w}", "study report whole {w} --output {out}/r.html",
    "study plan {file} {w}", "study status whole {w}", "study verify {file} {w} --runs 1", "data check {file} {w}",
    "store ls {w}", "store gc {w}", "store verify {w}",
)  # fmt: skip
WRITING = {
    "study run {file} {w}": "studies/whole/lock",
    "study run {file} {w} --set study=another": "studies/another",
    "ui {w}": "may only be read",
    "study run {file} {w} --fresh": "studies/whole/lock",
    "study report {file} {w}": "studies/whole/claims.json",
    "study track {file} {w}": "studies/whole/lock",
    "study explain {file} {w}": "studies/whole/lock",
    "study seal {file} {w}": ".sealed.lock",
    "model export --study {file} {w} --output {out}/m": "studies/whole/lock",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("read_only", "n_reading", "n_writing"),
    [(modes_of_read_only, len(READING), len(WRITING)), (mounted_read_only, 6, 3)],
    ids=["by the modes of its files", "by its file system"],
)
def test_read_only_workspace_is_read_and_what_writes_says_where_it_may_not(
    forks: Forks,
    whole_study: Path,
    undisturbed: tuple[Path, Ended],
    tmp_path: Path,
    caused: Callable[..., None],
    read_only: Callable[[Path], AbstractContextManager[str]],
    n_reading: int,
    n_writing: int,
) -> None:
    """Nothing in it is another than before, and results are those of a workspace that may be written to."""
    workspace = copy_of(undisturbed[0], tmp_path / "w")
    (workspace / "store" / "fingerprints.json").unlink(missing_ok=True)  # as where the reader's images lie elsewhere
    named = {"file": whole_study, "w": f"--workspace {workspace}", "out": tmp_path}
    before, expected = _files(workspace), (workspace / "studies" / "whole" / "results.csv").read_text()

    def ask(command: str) -> Ended:
        return forks.verb(workspace, *command.format(**named).split(), before=first)

    try:
        with read_only(workspace) as first:
            for command in READING[:n_reading]:
                ended = ask(command)
                assert ended.code == 0, f"{command}\n{ended.output}"
                assert "Traceback" not in ended.output, f"{command}\n{ended.output}"
            for command, place in list(WRITING.items())[:n_writing]:
                ended = ask(command)
                assert ended.code == WRONG, f"{command}\n{ended.output}"
                told = complaints(ended.output)
                assert any(place in each.found for each in told), f"{command}\n{ended.output}"
            assert _files(workspace) == before
    except PermissionError as error:
        pytest.skip(f"no right to mount: {error}")
    assert (tmp_path / "r.csv").read_text() == expected
    assert "<svg" in (tmp_path / "r.html").read_text()
    assert list((tmp_path / "r_files" / "figures").glob("*.png"))
    assert list((tmp_path / "r_files" / "tables").glob("*.tex"))
    caused("verbs on a workspace that may only be read", n_reading + n_writing)


def _files(workspace: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
