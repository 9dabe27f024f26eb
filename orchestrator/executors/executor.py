"""What an executor is. It computes stages into the store and knows no runs, no MLflow and no Optuna."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import torch

    from adloc.computing.compute import Helper, Listener, Workbench
    from adloc.computing.store import Store
    from adloc.cost.hardware import Hardware
    from adloc.planning.plan import Run
    from adloc.planning.sources import Source

Item = TypeVar("Item")
Found = TypeVar("Found")


class Executor(Protocol):
    """Where the stages of a study are computed.

    Attributes:
        batch_size: images a backbone pass; None for what is fastest on the device.
    """

    batch_size: int | None

    @property
    def device(self) -> torch.device:
        """Of this process.

        Raises:
            UserError: there is no such device.
        """
        ...

    @property
    def hardware(self) -> Hardware:
        """What computes, as far as costs depend on it; of a cluster once it was begun."""
        ...

    @property
    def helper(self) -> Helper | None:
        """Computes a workbench's stages elsewhere; None where this process does."""
        ...

    def begin(self, store: Store, sources: Sequence[Source], listener: Listener) -> None:
        """Get ready to compute into `store`, and see that what will be read can be, wherever it will be.

        Args:
            store: where results go.
            sources: features stages whose images and weights are looked at.
            listener: hears of stages that are computed elsewhere.

        Raises:
            UserError: a machine lacks something, before any work is done.
        """

    def ready(self, runs: Sequence[Run], bench: Workbench) -> Iterator[Run]:
        """Yield every run once, as soon as what is computed elsewhere for it is done."""

    def map(self, function: Callable[[Item], Found], items: Iterable[Item]) -> Iterator[Found]:
        """What `function` makes of each, in the order of the items; several at a time where that helps."""

    def close(self) -> None:
        """Let go of what was started."""
