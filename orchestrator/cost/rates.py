"""What work has cost here: rates of this workspace's finished stages, kept by kind, settings and machine."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from adloc.cost.typical import typical_s
from adloc.record.files import read_checked, write_checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.cost.hardware import Hardware
    from adloc.cost.work import Work
    from adloc.workspace import Workspace

NAME = "rates.json"
# 1: a start was one, now it is seconds of libraries to load. Of later ones these kinds' rates are learned anew.
FORMAT = 4
_SINCE_3 = ("features", "patchcore.coreset", "softpatch.coreset")  # other laws
_GONE = {4: (), 3: _SINCE_3, 2: (*_SINCE_3, "record", "tracking", "explain", "report", "models")}  # had no disk
_FADING = 0.5  # what was measured before counts for half of what is measured now
Basis = Literal["measured", "alike", "typical", "unknown"]
WORST: tuple[Basis, ...] = ("measured", "alike", "typical", "unknown")


@dataclass(slots=True)
class Rate:
    """What so much work has cost.

    Attributes:
        amount: of work, by the kind's law.
        seconds: that it took.
        kept_bytes: of the results in the store.
        peak_bytes: the largest memory of the process while it went on, where that was a new peak; 0 where not.
        held_bytes: of it what was expected of the work's own arrays; None where that was not known.
    """

    amount: float = 0.0
    seconds: float = 0.0
    kept_bytes: float = 0.0
    peak_bytes: float = 0.0
    held_bytes: float | None = None

    def add(self, other: Rate, weight: float = 1.0) -> None:
        """Take in what else was measured; what is here counts by `weight`."""
        self.amount = self.amount * weight + other.amount
        self.seconds = self.seconds * weight + other.seconds
        self.kept_bytes = self.kept_bytes * weight + other.kept_bytes
        if other.peak_bytes > self.peak_bytes:
            self.peak_bytes, self.held_bytes = other.peak_bytes, other.held_bytes

    def peak_with(self, held_bytes: float | None) -> float | None:
        """The process's memory when the work's own arrays are so large; None where it was not measured."""
        if not self.peak_bytes or held_bytes is None or self.held_bytes is None:
            return self.peak_bytes or None
        return max(0.0, self.peak_bytes - self.held_bytes + held_bytes)


@dataclass(frozen=True, slots=True)
class Cost:
    """What work is expected to cost.

    Attributes:
        seconds: None where nothing is known of its kind.
        basis: "measured": the same settings on this machine; "alike": the same kind with other settings; "typical":
            figures of another machine, scaled by the speed of this one; "unknown".
        kept_bytes: that it leaves on the disk; None where nothing is known.
        peak_bytes: of the process; None where it is not known.
    """

    seconds: float | None
    basis: Basis
    kept_bytes: float | None = None
    peak_bytes: float | None = None

    def beside(self, process_bytes: float, held_bytes: float | None) -> Cost:
        """The same with the memory that the process and the work's own arrays take, where none was measured."""
        if self.peak_bytes or held_bytes is None:
            return self
        return replace(self, peak_bytes=process_bytes + held_bytes)

    def after(self, other: Cost, times: int) -> Cost:
        """The same, when other work is done so many times for it."""
        if not times or self.seconds is None or other.seconds is None:
            return replace(self, seconds=None) if times else self
        return replace(self, seconds=self.seconds + times * other.seconds)

    def plus(self, other: Cost, times: float) -> Cost:
        """Both, the other so many times."""
        known = self.seconds is not None and other.seconds is not None
        return Cost(
            (self.seconds or 0.0) + times * (other.seconds or 0.0) if known else None,
            max(self.basis, other.basis, key=WORST.index),
            (self.kept_bytes or 0.0) + times * (other.kept_bytes or 0.0),
            max(filter(None, (self.peak_bytes, other.peak_bytes)), default=None),
        )


class Rates:
    """Rates by hardware, kind and label; read from a workspace's rates.json, and learned."""

    def __init__(self, known: Mapping[str, Mapping[str, Mapping[str, Rate]]]) -> None:
        """Begin with what is known, by hardware, kind and label."""
        self._known = known
        self._new: dict[str, dict[str, dict[str, Rate]]] = defaultdict(lambda: defaultdict(dict))

    @classmethod
    def read(cls, workspace: Workspace) -> Rates:
        """The rates of a workspace; a file that cannot be read is as good as none."""
        return cls(_read(workspace))

    def expect(self, work: Work, hardware: Hardware) -> Cost:
        """What work is expected to cost there."""
        rates = self._known.get(hardware.name, {}).get(work.kind, {})
        rate = rates.get(work.label)
        if rate is not None and rate.amount:
            share = work.amount / rate.amount
            return Cost(share * rate.seconds, "measured", share * rate.kept_bytes, rate.peak_with(work.held_bytes))
        alike = Rate()
        for each in rates.values():
            alike.add(each)
        if alike.amount and not work.is_own:
            share = work.amount / alike.amount
            return Cost(share * alike.seconds, "alike", work.kept_bytes)
        seconds = typical_s(work, hardware)
        return Cost(seconds, "unknown" if seconds is None else "typical", work.kept_bytes)

    def learn(
        self, work: Work, hardware: Hardware, seconds: float, kept_bytes: float = 0.0, peak_bytes: float = 0.0
    ) -> None:
        """Take in what work has cost."""
        if work.amount > 0:
            rate = self._new[hardware.name][work.kind].setdefault(work.label, Rate())
            rate.add(Rate(work.amount, seconds, kept_bytes, peak_bytes, work.held_bytes))

    def save(self, workspace: Workspace) -> None:
        """Write what was learned beside what the file holds by now; older figures of the same count for half."""
        if not self._new:
            return
        with workspace.turn("rates"):
            found = _read(workspace)
            for name, kinds in self._new.items():
                for kind, labels in kinds.items():
                    for label, rate in labels.items():
                        found.setdefault(name, {}).setdefault(kind, {}).setdefault(label, Rate()).add(rate, _FADING)
            rates = {
                name: {kind: {label: asdict(rate) for label, rate in labels.items()} for kind, labels in kinds.items()}
                for name, kinds in found.items()
            }
            write_checked(workspace.root / NAME, {"format": FORMAT, "rates": rates})
        self._new.clear()


def _read(workspace: Workspace) -> dict[str, dict[str, dict[str, Rate]]]:
    try:
        found = json.loads(read_checked(workspace.root / NAME))
        gone = _GONE[found["format"]]
        return {
            name: {
                kind: {label: Rate(**rate) for label, rate in labels.items()}
                for kind, labels in kinds.items()
                if kind not in gone
            }
            for name, kinds in found["rates"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
