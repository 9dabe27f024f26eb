"""Tracking that ends no study: a server that is away costs its index alone, which the records mend when it is back."""

from __future__ import annotations

import logging
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from adloc.tracking.experiment import Tracking
    from adloc.tracking.place import Place

Shown = TypeVar("Shown")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5, 300  # before a server that was away is asked again; doubled each time
SHARE = 20  # times as long as it was waited for: one that takes requests and answers none costs a study 5 %
LONGEST_REASON = 300  # characters


class Tracker:
    """A study's tracking as its driver sees it.

    With the workspace's own database a failure is a failure. A server's is said once and kept in a file beside the
    index, and what was not shown is to be shown again: `show` with everything there is, at the end of the study.

    Attributes:
        tracking: None while the server is away.
    """

    def __init__(self, place: Place, study: str, connect: Callable[[], Tracking]) -> None:
        """Connect, if the server is there.

        Args:
            place: where the study is tracked.
            study: its name.
            connect: opens the experiment and marks the study as running.
        """
        self.tracking: Tracking | None = None
        self._place, self._connect, self._path = place, connect, failure_path(place, study)
        self._said, self._pause_s, self._next = False, FIRST_PAUSE_S, 0.0
        self.show(lambda _: None)

    def show(self, action: Callable[[Tracking], Shown], *, now: bool = False) -> Shown | None:
        """Do this with the tracking; None where the server is away.

        Args:
            action: what it does may be done twice.
            now: ask a server that was away again, however short a time ago.
        """
        if not self._place.server:
            self.tracking = self.tracking or self._connect()
            return action(self.tracking)
        if self.tracking is None and not now and time.monotonic() < self._next:
            return None
        begun = time.monotonic()
        try:
            self.tracking = self.tracking or self._connect()
            return action(self.tracking)
        except Exception as error:  # noqa: BLE001  # the boundary of a server: whatever it, or what it keeps files in, raises
            self._lose(error, time.monotonic() - begun)
            return None

    def progress(self, step: int, figures: Mapping[str, float]) -> None:
        """Show how far the study is; see `Tracking.progress`. Never raises: it is soon told again."""
        with suppress(Exception):
            self.show(lambda tracking: tracking.progress(step, figures))

    def end(self) -> None:
        """Forget the kept failure if the server was there for the last that was shown."""
        if self.tracking is not None:
            self._path.unlink(missing_ok=True)

    def _lose(self, error: Exception, waited_s: float) -> None:
        self.tracking = None
        self._next = time.monotonic() + max(self._pause_s, SHARE * waited_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        place = self._place
        with suppress(OSError):  # of a full disk, say
            self._path.parent.mkdir(parents=True, exist_ok=True)
            text = traceback.format_exc().replace(place.server, place.address)
            self._path.write_text(f"{text}\n{reason(error, place)}\n", encoding="utf-8")
        if not self._said:
            self._said = True
            logging.getLogger(__name__).warning(
                "WARNING: tracking server %s: %s; the study goes on, its records are kept, and the server is shown"
                " them when it is back",
                place.address,
                reason(error, place),
            )


def complaint(place: Place, study: str, file: Path) -> str:
    """That the server has not all of a study, and why, in one line; "" where it has."""
    path = failure_path(place, study)
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    why = text.rpartition("\n")[2]  # below the traceback, in words
    again = f"`adloc study track {file} --tracking-uri {place.address}` catches up from the records"
    return f"tracking server {place.address} is behind: {why} (all of it in {path}); {again}" if why else ""


def failure_path(place: Place, study: str) -> Path:
    """Where is kept why a server was not shown something."""
    index = place.index_path(study)
    return index.with_name(f"{index.stem}_error.txt")


def reason(error: Exception, place: Place) -> str:
    """What is wrong with a server in a few words, without a password."""
    text = " ".join(str(error).replace(place.server, place.address).split()) or type(error).__name__
    cause = text.rpartition("Caused by ")[2].removesuffix(")")  # of a page of requests' words
    return cause.rpartition("object at ")[2].partition(">: ")[2][:LONGEST_REASON] or cause[:LONGEST_REASON]
