"""One driver a study, on whatever machine: a claim behind the URL, renewed while its driver lives.

A claim is a numbered object that is written once, `studies/<study>/lease/<number>.json`; the highest counts. Its driver
writes `<number>.<holder>` every `BEAT_S` seconds. A claim that was not renewed for `LEASE_S` seconds, by the clock of
whoever keeps the objects, is a dead driver's: the next number may be claimed. No machine's own clock is asked.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from adloc.datasets.objects import UnreachableError
from adloc.errors import Complaint, UserError
from adloc.remote.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.datasets.objects import Objects
    from adloc.remote.versions import Version

BEAT_S, LEASE_S = 15.0, 90.0
_PROBES = "probes"
_ATTEMPTS = 10


class Lease:
    """The claims to one study."""

    def __init__(self, objects: Objects, study: str, machine: str) -> None:
        """Prepare to claim.

        Args:
            objects: behind the URL.
            study: its name.
            machine: tells this machine's copy of the workspace from others.
        """
        self._objects = objects
        self._study = study
        self._machine = machine
        self._versions = Versions(objects, f"studies/{study}/lease")
        self._lost = threading.Event()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study for the length of the block; the caller holds it on this machine already.

        Raises:
            UserError: a driver on another machine does.
        """
        holder = uuid4().hex
        claim = self._claim(holder)
        self._lost.clear()
        over = threading.Event()
        thread = threading.Thread(target=self._renew, args=(claim, holder, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with suppress(UnreachableError):  # then it runs out
                self._objects.remove(self._beat_name(claim.number, holder))
                self._objects.remove(self._versions.name(claim.number))

    def require(self) -> None:
        """See that the claim is still this process's.

        Raises:
            UserError: it ran out, because this machine slept or was cut off, and another driver took over.
        """
        if self._lost.is_set():
            raise UserError(
                Complaint(
                    f"{self._where}: another process has taken this study over",
                    f"a driver that is not heard of for {LEASE_S:.0f} s is taken for dead",
                    "see `adloc study status FILE`; what was recorded here before is kept there too",
                )
            )

    def is_held(self) -> bool:
        """Whether a driver on some machine runs the study; by this machine's clock where it may not write."""
        claim = self._versions.last()
        if not claim.number:
            return False
        try:
            return self._age_s(claim) < LEASE_S
        except UnreachableError:
            return time.time() - self._renewed_s(claim) < LEASE_S

    def claimed(self) -> int:
        """The number of the present claim; 0 where there is none."""
        return self._versions.last().number

    @property
    def _where(self) -> str:
        return f"{self._objects.url}/studies/{self._study}"

    def _claim(self, holder: str) -> Version:
        content = {
            "holder": holder,
            "machine": self._machine,
            "host": socket.gethostname(),
            "user": getpass.getuser(),
            "process": os.getpid(),
        }
        for _ in range(_ATTEMPTS):
            last = self._versions.last()
            if last.number and last.content["machine"] != self._machine:  # else it is a dead process of this one
                age_s = self._age_s(last)
                if age_s < LEASE_S:
                    raise self._refusal(last, age_s)
            claim = self._versions.add(last.number, content)
            if claim is not None:
                for number in self._versions.numbers():
                    if number < claim.number:
                        self._objects.remove(self._versions.name(number))
                return claim
        raise RuntimeError(f"{self._where}: others claim it all the time")

    def _refusal(self, claim: Version, age_s: float) -> UserError:
        who = f"{claim.content['user']} on {claim.content['host']}, process {claim.content['process']}"
        return UserError(
            Complaint(
                f"{self._where}: another process is running this study: {who}, heard of {age_s:.0f} s ago",
                f"one process at a time runs a study in a workspace; not heard of for {LEASE_S:.0f} s it is dead",
                "wait for it (`adloc study status FILE`), or use another --workspace",
            )
        )

    def _age_s(self, claim: Version) -> float:
        """Seconds since it was renewed: two times of one clock, that of whoever keeps the objects."""
        probe = f"{_PROBES}/{uuid4().hex}"
        self._objects.write(probe, b"")
        now = self._objects.stat(probe)
        self._objects.remove(probe)
        return LEASE_S if now is None else now.changed_s - self._renewed_s(claim)

    def _renewed_s(self, claim: Version) -> float:
        """When it was claimed or last renewed; 0 where it has ended."""
        names = (self._versions.name(claim.number), self._beat_name(claim.number, str(claim.content["holder"])))
        return max([0.0, *(stat.changed_s for stat in map(self._objects.stat, names) if stat is not None)])

    def _renew(self, claim: Version, holder: str, over: threading.Event) -> None:
        while not over.wait(BEAT_S):
            with suppress(UnreachableError):  # heard of again when the network is back
                if self._versions.last(claim.number).content.get("holder") != holder:
                    self._lost.set()
                    return
                self._objects.write(self._beat_name(claim.number, holder), b"")

    def _beat_name(self, number: int, holder: str) -> str:
        return f"{self._versions.folder}/{number:08d}.{holder}"
