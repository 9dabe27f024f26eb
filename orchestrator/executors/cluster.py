"""A Ray cluster: that of $RAY_ADDRESS, or one started on this machine. The one importer of ray.

It carries orders to workers and outcomes back, and says what its machines have; what an order is for, it does not know.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from adloc.errors import Complaint, UserError
from adloc.executors.worker import Order, Outcome, compute, look_around

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from adloc.computing.store import Probe
    from adloc.executors.computing import Computing
    from adloc.executors.worker import Machine
    from adloc.planning.sources import Source

    Ref = ray.ObjectRef[Any]

ADDRESS = "RAY_ADDRESS"
RETRIES = 2  # of a task whose worker died; a failure that the task itself reports is final
_KNOCK_S = 10.0
_STORE_BYTES = 100 << 20  # of Ray's own object store on this machine: orders and outcomes are small


@dataclass(frozen=True, slots=True)
class Shape:
    """What is made of the cluster.

    Attributes:
        on_gpu: whether features and steps are computed on GPUs, one task each.
        n_tasks: at a time.
        n_threads: of the CPU, for each.
    """

    on_gpu: bool
    n_tasks: int
    n_threads: int


class Cluster:
    """A connection to Ray."""

    def __init__(self, computing: Computing) -> None:
        """Connect, or start a cluster here, which ends with this process.

        Raises:
            UserError: there is no such cluster, or it lacks what is asked for.
        """
        _connect(os.environ.get(ADDRESS))
        self.shape = _shape(computing, [node["Resources"] for node in _nodes()])

    def submit(self, order: Order, before: Iterable[Ref]) -> Ref:
        """Have an order carried out after those before it; it fails if one of them failed."""
        n_gpus = 1 if order.on_gpu else 0
        options = {"num_cpus": order.n_threads, "num_gpus": n_gpus, "name": order.stage.kind}
        ref: Ref = _compute.options(**options).remote(order, *before)
        return ref

    def wait(self, refs: Sequence[Ref], timeout_s: float) -> list[Ref]:
        """Those that are done; with a timeout, as soon as there is one."""
        if not refs:
            return []
        n_wanted = 1 if timeout_s else len(refs)
        done: list[Ref] = ray.wait(list(refs), num_returns=n_wanted, timeout=timeout_s)[0]
        return done

    def outcome(self, ref: Ref) -> Outcome:
        """Of an order that is done; Ray's own failures as text."""
        try:
            outcome: Outcome = ray.get(ref)
        except RayError as error:
            return Outcome(
                error=f"{str(error).strip()}\n"
                f"its worker died, as did those of {RETRIES} more attempts: {type(error).__name__}\n"
                "  a worker must fit into the memory of its machine\n"
                "  use fewer --jobs, or see Ray's logs"
            )
        return outcome

    def look_around(self, probe: Probe, sources: Sequence[Source]) -> list[Machine]:
        """What every machine that will compute finds; see `adloc.executors.worker.look_around`.

        Raises:
            UserError: one cannot run adloc.
        """
        on_gpu = self.shape.on_gpu
        refs = [
            _look_around.options(
                num_cpus=1,
                num_gpus=1 if on_gpu else 0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(probe, list(sources), on_gpu)
            for node in _nodes()
            if node["Resources"].get("GPU", 0) or not on_gpu
        ]
        try:
            machines: list[Machine] = ray.get(refs)
        except RayError as error:
            raise UserError(
                Complaint(
                    f"--executor ray: a machine of the cluster cannot run adloc: {str(error).strip().splitlines()[-1]}",
                    "every machine needs the same environment as this one",
                    "install adloc there, in the same versions",
                )
            ) from None
        return machines

    def close(self) -> None:
        """Let go of it; one that was started here ends, with the tasks that run on it."""
        ray.shutdown()


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # else one that never fits is tried for ever
    where: dict[str, Any] = (
        {"address": address}
        if address
        else {"address": "local", "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    )
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _knock(address)
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        if type(error) is not Exception and not isinstance(error, OSError | RuntimeError | ValueError):
            raise  # Ray says by a plain Exception that a node did not start in time
        raise UserError(
            Complaint(
                f"--executor ray: {address or 'a cluster of this machine'}: {str(error).strip().splitlines()[0]}",
                f"${ADDRESS} must be the address of a Ray cluster that runs"
                if address
                else "Ray must be able to start on this machine",
                "start it (`ray start --head`); if it wants a token (Ray 2.59 and later), `export RAY_AUTH_MODE=token`"
                f" beside the token of its head; unset ${ADDRESS} for a cluster here; or use --executor local"
                if address
                else "use --executor local",
            )
        ) from None
    finally:
        # Ray takes SIGTERM for itself; the driver's own handler ends a study in good order.
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _knock(address: str | None) -> None:
    """See whether anything listens at "host:port"; Ray itself waits for minutes.

    Raises:
        OSError: nothing does.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), _KNOCK_S).close()


def _nodes() -> list[dict[str, Any]]:
    """The machines that compute."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _shape(computing: Computing, machines: Sequence[dict[str, float]]) -> Shape:
    """How many tasks at a time, and what each is given.

    Raises:
        UserError: GPUs were asked for and there are none; or there is no machine at all.
    """
    if not machines:
        raise UserError(
            Complaint("--executor ray: no machine of the cluster has a CPU for tasks", "at least one must", "add one")
        )
    n_cpus = [int(resources["CPU"]) for resources in machines]
    n_gpus = sum(int(resources.get("GPU", 0)) for resources in machines)
    if computing.device == "cuda" and not n_gpus:
        raise UserError(
            Complaint("--device cuda: the cluster has no GPU", "a machine must have one", "use --device cpu or auto")
        )
    on_gpu = n_gpus > 0 and computing.device != "cpu"
    wanted = computing.jobs or (n_gpus if on_gpu else max(len(machines), 2, sum(n_cpus) // 4))
    n_threads = max(1, min(*n_cpus, sum(n_cpus) // wanted))
    return Shape(on_gpu, sum(each // n_threads for each in n_cpus), n_threads)


@ray.remote(max_retries=RETRIES)
def _compute(order: Order, *before: Outcome) -> Outcome:
    """One order, after those that it waits for; what failed there fails here."""
    failed = next((outcome for outcome in before if outcome.error), None)
    return failed or compute(order)


@ray.remote(max_retries=RETRIES)
def _look_around(probe: Probe, sources: list[Source], on_gpu: bool) -> Machine:  # noqa: FBT001
    return look_around(probe, sources, on_gpu=on_gpu)
