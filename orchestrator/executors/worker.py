"""What a worker process does: one stage, or some images of one, into the store that all machines see.

Nothing here knows how orders travel. A worker sees stages, never runs; it writes neither records nor MLflow.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adloc.errors import StageMismatchError, UserError
from adloc.planning.sources import FeatureStage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.computing.compute import Workbench
    from adloc.computing.store import Probe, Store
    from adloc.planning.extents import Extents
    from adloc.planning.sources import Network, Source
    from adloc.planning.stages import Stage

VERSIONS = (
    "adloc",
    "python",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "anomalib",
    "faiss-gpu",
    "faiss-cpu",
    "onnxruntime",
    "openvino",
)


@dataclass(frozen=True)
class Order:
    """What a worker is to compute.

    Attributes:
        stage: its inputs are in the store already.
        images: of a features stage, which of its images; not looked at for other stages.
        reach: how far this stage and its inputs reach.
        store: its address, by which every machine opens it; see `adloc.workspace.open_store`.
        on_gpu: compute on the GPU that the worker was given.
        n_threads: of the CPU.
        batch_size: images a backbone pass; None for what is fastest on the device.
    """

    stage: Stage
    images: tuple[int, ...]
    reach: Extents
    store: str
    on_gpu: bool
    n_threads: int
    batch_size: int | None


@dataclass(frozen=True)
class Outcome:
    """How an order ended. A failure travels as text: not every exception survives a journey between processes.

    Attributes:
        seconds: wall time.
        n_images: that passed the backbone.
        error: why it failed, for the record; "" if it did not.
        is_bug: whether a stage was given a part that it must never see.
        peak_bytes: largest memory of the worker so far.
        is_refusal: whether the method refused its setting, which it will do again.
        worker: "host:pid" of the process.
        kept_bytes: of the results that it put into the store.
    """

    seconds: float = 0.0
    n_images: int = 0
    error: str = ""
    is_bug: bool = False
    peak_bytes: int = 0
    is_refusal: bool = False
    worker: str = ""
    kept_bytes: int = 0


@dataclass(frozen=True)
class Machine:
    """What a node of the cluster found when it looked around.

    Attributes:
        host: its name.
        versions: of the packages that figures depend on.
        device: "cpu", or the name of its GPU.
        problems: what it cannot read, in words.
    """

    host: str
    versions: dict[str, str]
    device: str
    problems: tuple[str, ...]


def compute(order: Order) -> Outcome:
    """Compute a stage; what goes wrong is told, not raised."""
    from adloc.computing.environment import peak_bytes
    from adloc.datasets.errors import DatasetError
    from adloc.methods.errors import MethodError

    start = time.perf_counter()
    n_images, error, is_bug, is_refusal, kept_bytes = 0, "", False, False, 0
    try:
        store, bench = _bench(order)
        before = store.put_bytes
        if isinstance(order.stage, FeatureStage):
            store.recall(order.stage.kind, [order.stage.image_keys[index] for index in order.images])
            n_images = bench.extract(order.stage, order.images)
        else:
            store.recall(order.stage.kind, [order.stage.key])
            bench.result(order.stage)
        kept_bytes = store.put_bytes - before
    except StageMismatchError as refused:
        error, is_bug = str(refused), True
    except (UserError, DatasetError, MethodError) as refused:
        error, is_refusal = str(refused), isinstance(refused, MethodError)
    except Exception:  # noqa: BLE001  # the boundary of this process: the driver records it, with its traceback
        error = f"on {socket.gethostname()}:\n{traceback.format_exc()}"
    worker = f"{socket.gethostname()}:{os.getpid()}"
    seconds = time.perf_counter() - start
    return Outcome(seconds, n_images, error, is_bug, peak_bytes(), is_refusal, worker, kept_bytes)


def look_around(probe: Probe, sources: Sequence[Source], *, on_gpu: bool) -> Machine:
    """See whether this machine has what the study needs.

    Args:
        probe: a mark that the driver has just left in the store.
        sources: the first image of each must be readable, and the network's weights the same.
        on_gpu: whether the device to name is the GPU.
    """
    _forget_working_directory()
    from adloc.computing.environment import describe, environment, pick_device
    from adloc.datasets.errors import DatasetError
    from adloc.workspace import open_store

    found = environment()
    problems = [text for stage in sources if (text := _image_problem(stage))]
    try:
        store = open_store(probe.address)
        if not store.sees(probe):
            problems.append(f"{probe.address} is not where the driver writes to")
        networks = {stage.network: None for stage in sources if stage.network is not None}
        problems += [text for network in networks if (text := _weights_problem(network, store))]
    except (UserError, DatasetError) as error:
        problems.append(str(error).replace("\n ", ";"))
    versions = {name: found[name] for name in VERSIONS if name in found}
    device = describe(pick_device("auto" if on_gpu else "cpu"))
    return Machine(socket.gethostname(), versions, device, tuple(problems))


def _image_problem(stage: Source) -> str:
    try:
        stage.part.read(0, stage.image)
    except Exception as error:  # noqa: BLE001  # whatever a file system or a decoder raises
        return f"{stage.part.samples[0].identity}: {type(error).__name__}: {error}"
    return ""


def _weights_problem(network: Network, store: Store) -> str:
    from adloc.methods.backbone import hash_weights
    from adloc.methods.errors import MethodError

    try:
        found = hash_weights(network.backbone, store.weights(network))
    except MethodError as error:
        return str(error).replace("\n ", ";")
    same = found == network.sha256
    return "" if same else f"{network.backbone}: its weights {network.weights} are not the driver's (sha256 {found})"


class _Silent:
    """Hears of stages and says nothing: the driver does."""

    def stage_started(self, stage: Stage) -> None:
        """Nothing."""

    def stage_progress(self, stage: Stage, done: int, total: int) -> None:
        """Nothing."""

    def stage_done(self, stage: Stage, seconds: float, n_images: int) -> None:
        """Nothing."""

    def worker_done(self, worker: str, stage: Stage, seconds: float, n_images: int) -> None:
        """Nothing."""


_benches: dict[tuple[object, ...], tuple[Store, Workbench]] = {}


def _bench(order: Order) -> tuple[Store, Workbench]:
    """That store, and this process's workbench for it, which keeps the last network loaded, told how far to reach."""
    _forget_working_directory()
    import torch

    from adloc.computing.compute import Workbench
    from adloc.computing.environment import limit_threads
    from adloc.workspace import open_store

    key = (order.store, order.on_gpu, order.batch_size)
    if key not in _benches:
        _benches.clear()
        device, store = torch.device("cuda" if order.on_gpu else "cpu"), open_store(order.store)
        _benches[key] = store, Workbench(store, order.reach, device, _Silent(), order.batch_size)
    limit_threads(order.n_threads)
    _benches[key][1].reach = order.reach
    return _benches[key]


def _forget_working_directory() -> None:
    """At the root of this project's tree the folder datasets/ would shadow the package of that name."""
    here = Path.cwd()
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != here]
