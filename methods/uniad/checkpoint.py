"""What a training needs to go on from: written after every epoch, so that a killed one loses an epoch at most."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

_NAME = "training.safetensors"


@dataclass(frozen=True, slots=True)
class History:
    """What a training has gone through so far.

    Attributes:
        losses: mean squared error of each epoch's training images, as they were seen.
        snapshots: {epoch: float32 (P,), the network's parameters after it, in their order}.
    """

    losses: list[float]
    snapshots: dict[int, Tensor]


class Checkpoint:
    """The file of a training that is not finished; none where there is no folder."""

    def __init__(self, folder: Path | None) -> None:
        """Keep it in this folder, which is made when it is first needed."""
        self._path = None if folder is None else folder / _NAME

    def write(self, network: nn.Module, optimiser: torch.optim.Optimizer, history: History) -> None:
        """Replace the file; a reader never sees half of one."""
        if self._path is None:
            return
        state = optimiser.state_dict()["state"]
        tensors = {f"network.{name}": value.detach().cpu() for name, value in network.named_parameters()}
        tensors |= {f"optimiser.{i}.{name}": v.cpu() for i, values in state.items() for name, v in values.items()}
        tensors |= {f"snapshot.{epoch}": values for epoch, values in history.snapshots.items()}
        tensors["losses"] = torch.tensor(history.losses, dtype=torch.float64)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_suffix(".tmp")
        save_file({name: value.contiguous() for name, value in tensors.items()}, aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(self._path)

    def read(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> History:
        """Put both back to where the file has them; an empty history where there is none that can be read."""
        tensors = self._load()
        if not tensors:
            return History([], {})
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(tensors[f"network.{name}"])
        state: dict[int, dict[str, Tensor]] = {}
        snapshots: dict[int, Tensor] = {}
        for name, value in tensors.items():
            kind, *rest = name.split(".")
            if kind == "optimiser":
                state.setdefault(int(rest[0]), {})[rest[1]] = value
            elif kind == "snapshot":
                snapshots[int(rest[0])] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return History(tensors["losses"].tolist(), dict(sorted(snapshots.items())))

    def _load(self) -> dict[str, Tensor]:
        if self._path is None or not self._path.is_file():
            return {}
        try:
            with safe_open(self._path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        except (SafetensorError, OSError):  # a disk that lost what it had: begin again
            return {}
