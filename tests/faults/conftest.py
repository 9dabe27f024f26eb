"""What tests of faults share: the counting of what was caused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def caused(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note how many faults of a kind a test has caused; the end of the session adds up those of tests that passed."""

    def note(kind: str, n: int = 1) -> None:
        record_property("faults", [kind, n])

    return note
