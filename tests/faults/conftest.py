"""What tests of faults share: the counting of what was caused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faults.study import Ended, Forks, write_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def caused(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note how many faults of a kind a test has caused; the end of the session adds up those of tests that passed."""

    def note(kind: str, n: int = 1) -> None:
        record_property("faults", [kind, n])

    return note


@pytest.fixture(scope="session")
def forks() -> Forks:
    """Commands in processes of their own."""
    return Forks()


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's file; to read only."""
    return write_study(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def undisturbed(forks: Forks, whole_study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A workspace in which the study has run from end to end, to read only, and how that ended."""
    workspace = tmp_path_factory.mktemp("undisturbed") / "w"
    ended = forks.run(whole_study, workspace)
    assert ended.code == 0, ended.output
    return workspace, ended
