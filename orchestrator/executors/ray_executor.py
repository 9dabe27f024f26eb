"""The Ray executor: stages on the cores, GPUs and machines of a cluster.

A stage becomes a task that waits for the tasks of its inputs. Results go into the store, on a disk that all machines
share or behind a URL; nothing but orders and outcomes travels. Runs are recorded, MLflow and Optuna spoken to, by the
driver alone. A task whose worker or machine dies is started again elsewhere; one that fails fails whatever rests on it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from adloc.computing.environment import environment
from adloc.cost.hardware import Hardware, cpu_name
from adloc.errors import Complaint, UserError
from adloc.executors.cluster import Cluster
from adloc.executors.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from adloc.computing.compute import Helper, Listener, Workbench
    from adloc.computing.store import Store
    from adloc.executors.computing import Computing
    from adloc.executors.executor import Found, Item
    from adloc.executors.worker import Machine
    from adloc.planning.plan import Run
    from adloc.planning.sources import Source


class RayExecutor:
    """Has stages computed on a cluster. See `adloc.executors.executor.Executor`."""

    device = torch.device("cpu")  # of the driver, which computes nothing; workers have their own

    def __init__(self, computing: Computing) -> None:
        """Prepare; nothing is started yet."""
        self.batch_size = computing.batch_size
        self._computing = computing
        self._ledger: Ledger | None = None

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self._computing)

    @property
    def hardware(self) -> Hardware:
        """The workers of the cluster."""
        shape = self._cluster.shape
        device = self.helper.device_name if shape.on_gpu and self.helper else ""
        return Hardware(device or cpu_name(), shape.n_threads, shape.n_tasks, "ray", shape.on_gpu)

    @property
    def helper(self) -> Helper | None:
        """The ledger of what is under way."""
        if self._ledger is None:
            self._ledger = Ledger(self._cluster, self.batch_size)
        return self._ledger

    def begin(self, store: Store, sources: Sequence[Source], listener: Listener) -> None:
        """Let every machine look whether it has what the study needs; see `Executor.begin`."""
        store.share_weights(_weights(store, sources))
        with store.probe() as probe:
            machines = self._cluster.look_around(probe, sources)
        _require_alike(machines)
        if self._ledger is not None:
            self._ledger.begin(store, machines, listener)

    def ready(self, runs: Sequence[Run], bench: Workbench) -> Iterator[Run]:
        """Runs as their stages are done or have failed, in the plan's order among those."""
        assert self._ledger is not None  # noqa: S101  # the workbench was given it as its helper
        return self._ledger.ready(runs, bench)

    def map(self, function: Callable[[Item], Found], items: Iterable[Item]) -> Iterator[Found]:
        """All at a time, in threads that do little but wait for the cluster; in the order of the items."""
        every = list(items)
        pool = ThreadPoolExecutor(max(1, len(every)))
        try:
            yield from pool.map(function, every)
        except BaseException:
            if self._ledger is not None:
                self._ledger.stop()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Let go of the cluster."""
        if self._ledger is not None:
            self._ledger.stop()
        if "_cluster" in self.__dict__:
            self._cluster.close()


def _weights(store: Store, sources: Sequence[Source]) -> dict[str, Path]:
    """The files of the networks, by SHA-256."""
    networks = {stage.network for stage in sources if stage.network is not None}
    files = {network.sha256: store.weights(network).path for network in networks}
    return {sha256: path for sha256, path in files.items() if path is not None}


def _require_alike(machines: Sequence[Machine]) -> None:
    """Refuse machines that lack something, or whose versions are not this one's: their figures could differ.

    Raises:
        UserError: every machine's problems.
    """
    here = environment()
    lacks = [
        Complaint(
            f"{machine.host}: {problem}",
            "every machine of the cluster must see the workspace, the images and the weights by the same paths or URLs",
            "put them on a disk that all of them share or behind a URL, or use --executor local",
        )
        for machine in machines
        for problem in machine.problems
    ]
    differs = [
        Complaint(
            f"{machine.host}: {name} {version}, but {here.get(name, 'none')} on this machine",
            "all machines must have the same versions: figures of different ones do not compare",
            "install the same versions on all of them",
        )
        for machine in machines
        for name, version in machine.versions.items()
        if version != here.get(name)
    ]
    if lacks or differs:
        raise UserError(*lacks, *differs)
