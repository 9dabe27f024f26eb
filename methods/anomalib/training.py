"""The one importer of Lightning: a training by anomalib's Engine that repeats to the bit, and goes on where it was cut.

Every epoch begins with generators seeded by the run's seed and the epoch's number, and with the images in an order
drawn from the same: a training that goes on from the checkpoint of its last epoch ends in the bytes of one that was
never disturbed.
"""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import Checkpoint
from torch.utils.data import DataLoader, Dataset, Sampler

from adloc.methods.anomalib.library import batch_of, engine, quiet, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer

    from adloc.methods.anomalib.library import AnomalibModule
    from adloc.methods.detector import Images

LAST = "last.ckpt"


@dataclass(frozen=True, slots=True)
class Training:
    """How a model is trained.

    Attributes:
        epochs: passes over the images.
        batch_size: at most so many images at a time; batches of an epoch differ by one image at most.
        seed: of all that is drawn.
        device: "cpu" or a GPU.
        scratch: for the checkpoint of the last epoch; None to keep none.
        progress: told (epochs done, epochs) after each.
    """

    epochs: int
    batch_size: int
    seed: int
    device: torch.device
    scratch: Path | None
    progress: Callable[[int, int], None]


def train(module: AnomalibModule, images: Images, training: Training) -> None:
    """Train the model in place, from the last checkpoint in `scratch` where there is one.

    Raises:
        KeyboardInterrupt: the training was interrupted; the epochs that were done are kept.
        MethodError: the model cannot be trained on these images.
    """
    callbacks: list[Callback] = [_Seeds(training.seed), _Told(training)]
    checkpoint = None
    if training.scratch is not None and training.epochs > 1:
        checkpoint = training.scratch / LAST
        callbacks.append(_LastEpoch(checkpoint))
    options: dict[str, Any] = {
        "max_epochs": training.epochs,
        "accelerator": "gpu" if training.device.type == "cuda" else "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "deterministic": "warn",
        "limit_val_batches": 0,
    }
    resumed = str(checkpoint) if checkpoint is not None and checkpoint.is_file() else None
    with quiet(), _exact(), translated(type(module).__name__), TemporaryDirectory() as folder:
        made = engine(callbacks, folder, **options)
        data = _TrainingImages(images, training)
        try:
            made.fit(model=module, datamodule=cast("Any", data), ckpt_path=resumed)
        except SystemExit:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from None
        if made.trainer.interrupted:
            raise KeyboardInterrupt
    module.to(training.device)


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Seed every global generator, and give them back as they were."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # libraries draw from the old one
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        seed_all(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def seed_all(*entropy: int) -> None:
    """Seed every global generator by some numbers."""
    drawn = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(drawn[0]))
    np.random.seed(int(drawn[1]))  # noqa: NPY002
    torch.manual_seed(int(drawn[2]))


@contextmanager
def _exact() -> Iterator[None]:
    """Deterministic algorithms, and no rounding of a GPU's inputs to TF32; all switches given back."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    matmul, threads = torch.backends.cuda.matmul.allow_tf32, torch.get_num_threads()
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cuda.matmul.allow_tf32 = matmul
        torch.set_num_threads(threads)


class _Order(Sampler[list[int]]):
    """The batches of an epoch, in an order that its number alone decides."""

    def __init__(self, n_images: int, batch_size: int, seed: int) -> None:
        self._n_images, self._seed, self._epoch = n_images, seed, 0
        self._n_batches = -(-n_images // batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._n_images)
        for batch in np.array_split(order, self._n_batches):
            yield [int(index) for index in batch]


class _Batches(Dataset[Any]):
    """A batch of anomalib's by the numbers of its images."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __getitem__(self, indices: list[int]) -> object:
        return batch_of(self._images.read(indices))


class _TrainingImages(LightningDataModule):
    """The images of a train part; there is no other part. Some models ask for their loader and its batch size."""

    name, category = "", ""

    def __init__(self, images: Images, training: Training) -> None:
        super().__init__()
        self._images, self._training = images, training
        self.train_batch_size = training.batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        """All images once an epoch."""
        order = _Order(self._images.n_images, self._training.batch_size, self._training.seed)
        return DataLoader(_Batches(self._images), batch_size=None, sampler=order, num_workers=0)


class _Seeds(Callback):
    """Begins every epoch with the same generators, whether or not the process has seen the epochs before."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed by the epoch."""
        del pl_module
        seed_all(self._seed, trainer.current_epoch)


class _Told(Callback):
    """Tells how many epochs are done."""

    def __init__(self, training: Training) -> None:
        self._training = training

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One more."""
        del pl_module
        if trainer.max_epochs == self._training.epochs:  # not for a model that is fitted in one pass
            self._training.progress(trainer.current_epoch + 1, self._training.epochs)


class _LastEpoch(Checkpoint):
    """Keeps Lightning's checkpoint of the last whole epoch: written aside, flushed to the disk and renamed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the last one."""
        del pl_module
        if trainer.current_epoch + 1 == trainer.max_epochs:  # the result is kept in a moment
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_name(f".{os.getpid()}.tmp")
        try:
            trainer.save_checkpoint(aside)
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.replace(self._path)
        finally:
            aside.unlink(missing_ok=True)
