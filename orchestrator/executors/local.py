"""The local executor: everything in this process, one stage after the other."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from adloc.cost.hardware import Hardware, local_hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import torch

    from adloc.computing.compute import Listener, Workbench
    from adloc.computing.store import Store
    from adloc.executors.computing import Computing
    from adloc.executors.executor import Found, Item
    from adloc.planning.plan import Run
    from adloc.planning.sources import Source


class LocalExecutor:
    """Leaves every stage to the workbench. See `adloc.executors.executor.Executor`."""

    helper = None

    def __init__(self, computing: Computing) -> None:
        """Prepare; torch is not imported yet."""
        self.batch_size = computing.batch_size
        self._computing = computing

    @cached_property
    def device(self) -> torch.device:
        """Of this process.

        Raises:
            UserError: there is no such device.
        """
        from adloc.computing.environment import pick_device

        return pick_device(self._computing.device)

    @property
    def hardware(self) -> Hardware:
        """This process."""
        return local_hardware(self._computing)

    def begin(self, store: Store, sources: Sequence[Source], listener: Listener) -> None:
        """Use as many threads as were asked for; images and weights were looked at when the study was prepared."""
        from adloc.computing.environment import limit_threads

        del store, sources, listener
        if self._computing.jobs is not None:
            limit_threads(self._computing.jobs)

    def ready(self, runs: Sequence[Run], bench: Workbench) -> Iterator[Run]:
        """In their order: each computes what it needs when it is recorded."""
        del bench
        return iter(runs)

    def map(self, function: Callable[[Item], Found], items: Iterable[Item]) -> Iterator[Found]:
        """One after the other."""
        return map(function, items)

    def close(self) -> None:
        """Nothing was started."""
