"""What work costs where nothing was measured yet: figures of one machine, scaled by the speed of this one.

They are for the first plan in a workspace alone: every stage that is computed replaces them by its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.cost.phases import EXPLAIN, MODELS, RECORDS, REPORT, TABLES, TRACKING
from adloc.cost.speed import products, rounds
from adloc.cost.start import START

if TYPE_CHECKING:
    from adloc.cost.hardware import Hardware
    from adloc.cost.work import Work

_TOGETHER = 0.85  # a second thread adds so much of what the first does


@dataclass(frozen=True, slots=True)
class Typical:
    """What a unit of a kind's law takes.

    Attributes:
        gmacs: 1e9 multiply-adds of `products`, which all threads share.
        rounds: of `rounds`, on one thread whatever the machine has.
    """

    gmacs: float = 0.0
    rounds: float = 0.0


# Measured on the quick start on one thread of an AMD EPYC that was in use by others, in processor time, as were the
# speeds: 28e9 multiply-adds and 300 rounds a second; records and reports of seven shipped studies (docs/costs.md).
# Kinds that are not here are unknown until they are measured.
TYPICAL: dict[str, Typical] = {
    "features": Typical(gmacs=1.3),
    "patchcore.coreset": Typical(gmacs=3.7),
    "patchcore.index": Typical(gmacs=0.8),  # of ivf, with 20,000 entries of 1536 values
    "patchcore.search": Typical(gmacs=1.4),
    "patchcore.scores": Typical(gmacs=18.5),
    "softpatch.coreset": Typical(gmacs=3.7),
    "softpatch.index": Typical(gmacs=0.8),
    "softpatch.search": Typical(gmacs=1.4),
    "padim.gaussian": Typical(gmacs=10.0),
    "padim.scores": Typical(gmacs=13.5),
    "threshold": Typical(rounds=7e-3),
    "truth": Typical(rounds=2e-5),
    "evaluation": Typical(rounds=2.2e-5),
    "segmentation": Typical(rounds=4.4e-6),
    "saturation": Typical(rounds=2.2e-5),
    "diagnosis": Typical(rounds=4.4e-5),
    START: Typical(rounds=300.0),
    RECORDS: Typical(rounds=15.0),
    TRACKING: Typical(rounds=31.0),
    TABLES: Typical(rounds=4.0),
    EXPLAIN: Typical(gmacs=1.7),
    REPORT: Typical(rounds=40.0),
    MODELS: Typical(gmacs=35.0, rounds=650.0),
}


def typical_s(work: Work, hardware: Hardware) -> float | None:
    """Seconds that work typically takes at the speed that this machine has now; None where nothing is typical of it.

    Nothing is of a GPU.
    """
    typical = TYPICAL.get(work.kind)
    if typical is None or work.is_own or (hardware.on_gpu and _on_gpu(work.kind)):
        return None
    seconds = typical.rounds / rounds() if typical.rounds else 0.0
    if typical.gmacs:
        seconds += typical.gmacs / (products() * (1 + _TOGETHER * (hardware.n_threads - 1)))
    return work.amount * seconds


def _on_gpu(kind: str) -> bool:
    """Whether a kind of stage is computed on a GPU where there is one: features, and the steps of methods."""
    return kind in ("features", "diagnosis") or "." in kind
