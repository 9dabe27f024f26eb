"""A failure in one line begins with what was found, wherever it is shown."""

from __future__ import annotations

import traceback
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from adloc.errors import Complaint, StageFailedError, UserError, in_one_line
from adloc.kept.failure import keep_failure, kept_reason
from adloc.methods import MethodError
from adloc.progress.study import Progress

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = MethodError("neighbours is 9 with 4 patches", "a bank has that many", "use 4")
WORDS = "neighbours is 9 with 4 patches; a bank has that many; use 4"


def traced(error: Exception) -> str:
    """The text of its traceback, as a failed run keeps it."""
    try:
        raise error
    except Exception:  # noqa: BLE001  # whatever is given
        return traceback.format_exc()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (str(REFUSED), WORDS),
        (str(UserError(Complaint("a", "b", "c"), Complaint("d", "e", "f"))), "a; b; c"),
        (traced(REFUSED), "adloc.methods.errors.MethodError: neighbours is 9 with 4 patches"),
        ("on node-7:\n" + traced(RuntimeError("sizes differ:\n  3\n  4")), "RuntimeError: sizes differ:"),
        (traced(StageFailedError(str(REFUSED))), "adloc.errors.StageFailedError: neighbours is 9 with 4 patches"),
        ("", ""),
    ],
)
def test_failure_in_one_line_begins_with_what_was_found(text: str, line: str) -> None:
    """A complaint is told whole, a traceback by the exception that ended it."""
    assert in_one_line(text) == line


def test_progress_line_of_a_failed_run_says_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    """And not the remedy alone, which nobody can judge."""
    run = SimpleNamespace(run_id="x", stages=lambda: ())
    record = SimpleNamespace(status="failed", error=str(REFUSED), seconds=1.0)
    name = "adloc.progress.study._name"
    with pytest.MonkeyPatch.context() as patch, Progress(quiet=False) as progress:
        patch.setattr(name, lambda _: "brick patchcore")
        progress.run_done(cast("Any", run), cast("Any", record))
    output = capsys.readouterr()
    assert f"brick patchcore: FAILED: {WORDS}" in output.out + output.err


def test_kept_failure_says_what_was_found(tmp_path: Path) -> None:
    """A report or a model that could not be written."""
    try:
        raise REFUSED
    except MethodError:
        keep_failure(tmp_path / "why.txt")
    assert kept_reason(tmp_path / "why.txt").endswith("MethodError: neighbours is 9 with 4 patches")
    assert kept_reason(tmp_path / "none.txt") == ""
