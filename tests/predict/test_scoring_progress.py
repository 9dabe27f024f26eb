"""How far scoring is, where no bar can be drawn: silent while it is short, then a line with an estimate."""

from __future__ import annotations

import pytest

from adloc.predict.boundary import Tally
from adloc.progress.scoring import ScoringProgress


class Clock:
    """Seconds that the test sets."""

    now = 0.0

    def monotonic(self) -> float:
        """The same as `time.monotonic`."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the progress."""
    found = Clock()
    monkeypatch.setattr("adloc.progress.scoring.time", found)
    return found


def test_lines_come_each_half_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """With what is done, the speed, and what is left at that speed; on standard error alone."""
    with ScoringProgress(300, live=True) as progress:
        for seconds, n in ((10, 20), (20, 40), (40, 100), (50, 125)):
            clock.now = float(seconds)
            progress.show(Tally(n_scored=n - 4, n_broken=4))
        progress.end(Tally(n_scored=121, n_anomalous=7, n_broken=4), interrupted=True)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == [
        "  100 of 300 images, 2.5 images/s, about 80 s left",
        "interrupted: 121 scored, 7 anomalous, 4 broken, 2.5 images/s",
    ]


def test_without_a_total_nothing_is_estimated(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """A list on standard input, or a watched folder."""
    with ScoringProgress(None, live=False) as progress:
        clock.now = 40.0
        progress.show(Tally(n_scored=80))
    assert capsys.readouterr().err.splitlines() == ["  80 images, 2 images/s"]
