"""What an executor is. It computes stages into the store and knows no runs, no MLflow and no Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeVar

from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import torch

    from adloc.computing.compute import Helper, Listener, Workbench
    from adloc.computing.store import Store
    from adloc.cost.hardware import Hardware
    from adloc.planning.plan import Run
    from adloc.planning.stages import Source

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Computing:
    """How a study is to be computed.

    Attributes:
        executor: "local" or "ray".
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        jobs: local: CPU threads, None for all cores. ray: stages at a time, None for as many as the cores suggest.
        batch_size: images a backbone pass; None for what is fastest on the device.
    """

    executor: Literal["local", "ray"] = "local"
    device: str = "auto"
    jobs: int | None = None
    batch_size: int | None = None


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


class OnDemand:
    """The executor that is asked for, made when it is first needed: a finished study needs none."""

    def __init__(self, computing: Computing | None = None) -> None:
        """Prepare; nothing is imported or started. By default everything in this process."""
        self._computing = computing or Computing()

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of what was started."""
        if "executor" in self.__dict__:
            self.executor.close()

    @property
    def name(self) -> Literal["local", "ray"]:
        """Which executor it is; it need not be made for that."""
        return self._computing.executor

    @cached_property
    def executor(self) -> Executor:
        """The executor.

        Raises:
            UserError: Ray is asked for and not installed.
        """
        if self._computing.executor == "local":
            from adloc.executors.local import LocalExecutor

            return LocalExecutor(self._computing)
        try:
            from adloc.executors.ray_executor import RayExecutor
        except ModuleNotFoundError as error:
            if error.name != "ray":
                raise
            raise UserError(
                Complaint(
                    "--executor ray: Ray is not installed",
                    "it is an extra of this package",
                    "pip install 'adloc[ray]', or use --executor local",
                )
            ) from None
        return RayExecutor(self._computing)
