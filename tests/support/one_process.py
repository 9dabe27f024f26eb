"""A cluster of one process: what the ledger of orders is tested on without Ray."""

from __future__ import annotations

import pickle
import random
import threading
from typing import TYPE_CHECKING, Any

from adloc.executors.worker import Outcome, compute

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from adloc.executors.computing import Computing
    from adloc.executors.worker import Order


class OneProcess:
    """Stands in for a cluster: carries orders out here, when it is waited for, in any order that they allow."""

    def __init__(self, computing: Computing) -> None:
        from adloc.executors.cluster import Shape

        del computing
        self.shape = Shape(on_gpu=False, n_tasks=2, n_threads=1)
        self._random = random.Random(0)  # noqa: S311  # no secret
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[bytes, list[int]]] = {}
        self._done: dict[int, Any] = {}
        self.orders: list[Order] = []

    @staticmethod
    def is_lost(order: Order) -> bool:
        """Whether the worker dies of it, again and again."""
        del order
        return False

    def submit(self, order: Order, before: Iterable[int]) -> int:
        """Keep it, as it would travel."""
        self.orders.append(order)
        number = len(self.orders)
        self._waiting[number] = (pickle.dumps(order), list(before))
        return number

    def wait(self, refs: Sequence[int], timeout_s: float) -> list[int]:
        """One more is done each time that somebody has time to wait."""
        with self._lock:  # several trials may wait
            self._carry_out(busy=bool(timeout_s))
        return [ref for ref in refs if ref in self._done]

    def _carry_out(self, *, busy: bool) -> None:
        able = [n for n, (_, before) in self._waiting.items() if all(b in self._done for b in before)]
        if busy and able:
            number = self._random.choice(able)
            order, before = self._waiting.pop(number)
            if self.is_lost(pickle.loads(order)):  # noqa: S301  # our own
                self._done[number] = Outcome(error="its worker died")
                return
            failed = next((self._done[b] for b in before if self._done[b].error), None)
            self._done[number] = failed or self.carry_out(pickle.loads(order))  # noqa: S301  # our own

    def carry_out(self, order: Order) -> Outcome:
        """As a worker does."""
        return compute(order)

    def outcome(self, ref: int) -> Any:
        """Of an order that is done."""
        return self._done[ref]

    def look_around(self, probe: Path, sources: Sequence[Any]) -> list[Any]:
        """This machine alone."""
        from adloc.executors.worker import look_around

        return [look_around(probe, pickle.loads(pickle.dumps(sources)), on_gpu=False)]  # noqa: S301

    def close(self) -> None:
        """Nothing was started."""
