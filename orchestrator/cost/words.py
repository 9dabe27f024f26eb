"""Costs in words and as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adloc.cost.account import Account
    from adloc.cost.estimate import Estimate

_GB, _MB = 1e9, 1e6  # bytes


def duration(seconds: float) -> str:
    """Seconds for people: "12 s", "3.5 min"."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def size(n_bytes: float) -> str:
    """Bytes for people: "1.2 GB", "35 MB"."""
    return f"{n_bytes / _GB:.1f} GB" if n_bytes >= _GB else f"{n_bytes / _MB:.0f} MB"


def expectation(estimate: Estimate) -> str:
    """One sentence on what is to come."""
    memory = "" if estimate.memory_bytes is None else f", {size(estimate.memory_bytes)} of memory"
    each = " in the largest process" if memory and estimate.hardware.executor != "local" else ""
    rough = any(line.basis == "typical" for line in estimate.lines)
    basis = ", by typical figures: what is computed now makes the next estimate good" if rough else ""
    unknown = f"; without {', '.join(estimate.unknown)}, not known before they have run" if estimate.unknown else ""
    room = size(estimate.disk_bytes)
    where = f"expected on {estimate.hardware.name}"
    return f"about {duration(estimate.seconds)}, {room} of disk{memory}{each} {where}{basis}{unknown}"


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """An estimate as plain values; null where nothing is known."""
    return {
        "hardware": estimate.hardware.name,
        "n_tasks": estimate.hardware.n_tasks,
        "seconds": round(estimate.seconds, 1),
        "disk_bytes": round(estimate.disk_bytes),
        "memory_bytes": None if estimate.memory_bytes is None else round(estimate.memory_bytes),
        "unknown": list(estimate.unknown),
        "by_kind": [
            {
                "kind": line.kind,
                "todo": line.n_todo,
                "there": line.n_there,
                "seconds": None if line.seconds is None else round(line.seconds, 2),
                "disk_bytes": round(line.disk_bytes),
                "memory_bytes": None if line.memory_bytes is None else round(line.memory_bytes),
                "basis": line.basis,
            }
            for line in estimate.lines
        ],
    }


def account_json(account: Account) -> dict[str, Any]:
    """Planned beside actual as plain values."""
    return {
        "hardware": account.hardware,
        "seconds": {"planned": round(account.planned_s, 1), "actual": round(account.taken_s, 1)},
        "disk_bytes": {"planned": round(account.planned_disk_bytes), "actual": round(account.disk_bytes)},
        "memory_bytes": {
            "planned": None if account.planned_memory_bytes is None else round(account.planned_memory_bytes),
            "actual": round(account.memory_bytes),
        },
        "unknown": list(account.unknown),
        "by_kind": {
            kind: {"planned": None if planned is None else round(planned, 2), "actual": round(taken, 2)}
            for kind, (planned, taken) in account.seconds.items()
        },
    }


def accounted(account: Account) -> str:
    """One sentence on planned and actual."""
    memory = "" if account.planned_memory_bytes is None else f" of {size(account.planned_memory_bytes)} planned"
    furthest = account.furthest
    why = "" if furthest is None else f"; furthest off: {furthest}"
    unknown = f" (without {', '.join(account.unknown)})" if account.unknown else ""
    return (
        f"took {duration(account.taken_s)} of {duration(account.planned_s)} planned{unknown},"
        f" {size(account.disk_bytes)} of disk of {size(account.planned_disk_bytes)} planned,"
        f" {size(account.memory_bytes)} of memory{memory}{why}"
    )
