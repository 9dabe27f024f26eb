"""The network trained to reconstruct the tokens of normal images: the same bits from the same seed, killed or not.

Notation: N images, T patches an image, C channels, P parameters of the network, S snapshots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_, parameters_to_vector, vector_to_parameters

from adloc.methods.uniad.checkpoint import Checkpoint
from adloc.methods.uniad.network import Reconstruction, jitter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from adloc.methods.uniad.params import UniadParams

_WEIGHT_DECAY = 1e-4
_LONGEST_GRADIENT = 1.0  # the paper clips at 0.1, and takes some 450,000 steps
_SLOW_FROM, _SLOWER = 0.8, 0.1  # share of the epochs after which the learning rate falls, and to what share of it
_MOST_SNAPSHOTS = 8


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network, and what it was on the way.

    Attributes:
        epochs: int64 (S,), after which a snapshot was taken; the last is the end.
        weights: float32 (S, P), of each snapshot; the last are the fitted model's.
        losses: float32 (epochs,), mean squared error of the training images as the network saw them in each.
    """

    epochs: np.ndarray[tuple[int], np.dtype[np.int64]]
    weights: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    losses: np.ndarray[tuple[int], np.dtype[np.float32]]


def snapshot_epochs(epochs: int) -> list[int]:
    """At most eight epochs, evenly spaced by their logarithm, for most happens early.

    Example:
        >>> snapshot_epochs(100), snapshot_epochs(3)
        ([1, 2, 4, 7, 14, 27, 52, 100], [1, 2, 3])
    """
    return sorted({round(epoch) for epoch in np.geomspace(1, epochs, _MOST_SNAPSHOTS).tolist()})


def make_network(grid: tuple[int, int], n_channels: int, params: UniadParams, seed: int) -> Reconstruction:
    """The network with its initial weights, drawn from the seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Reconstruction(grid, n_channels, params)


def train(
    tokens: Tensor,
    network: Reconstruction,
    params: UniadParams,
    seed: int,
    progress: Callable[[int, int], None],
    folder: Path | None,
) -> Trained:
    """Train for `params.epochs`, from where a checkpoint in the folder left off.

    Adam with decoupled weight decay; order and noise of an epoch follow from the seed and its number alone. On a CPU
    the same number of threads gives the same bits.

    Args:
        tokens: float32 (N, T, C), brought to the scale on which the network sees them, on the network's device.
        network: with its initial weights; trained in place.
        params: of the training.
        seed: of order and noise.
        progress: told (epochs done, epochs).
        folder: for the checkpoint of the last epoch; None to keep none.
    """
    optimiser = torch.optim.AdamW(network.parameters(), lr=params.learning_rate, weight_decay=_WEIGHT_DECAY)
    checkpoint = Checkpoint(folder)
    history = checkpoint.read(network, optimiser)
    kept = snapshot_epochs(params.epochs)
    for epoch in range(len(history.losses) + 1, params.epochs + 1):
        for group in optimiser.param_groups:
            group["lr"] = params.learning_rate * (_SLOWER if epoch > _SLOW_FROM * params.epochs else 1)
        history.losses.append(_train_epoch(tokens, network, optimiser, params, _generator(seed, epoch)))
        if epoch in kept:
            history.snapshots[epoch] = parameters_to_vector(network.parameters()).detach().cpu()
        checkpoint.write(network, optimiser, history)
        progress(epoch, params.epochs)
    return Trained(
        np.array(list(history.snapshots), np.int64),
        torch.stack(list(history.snapshots.values())).numpy(),
        np.array(history.losses, np.float32),
    )


def load_weights(network: Reconstruction, weights: Tensor) -> None:
    """Put the parameters (P,) of a snapshot into the network."""
    vector_to_parameters(weights, network.parameters())


def _train_epoch(
    tokens: Tensor,
    network: Reconstruction,
    optimiser: torch.optim.Optimizer,
    params: UniadParams,
    generator: torch.Generator,
) -> float:
    """One pass in random order; the mean loss."""
    total = 0.0
    for indices in torch.split(torch.randperm(len(tokens), generator=generator), params.batch_size):
        batch = tokens[indices.to(tokens.device)]
        seen = jitter(batch, params.jitter_scale, generator) if params.jitter else batch
        loss = functional.mse_loss(network(seen), batch)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        clip_grad_norm_(network.parameters(), _LONGEST_GRADIENT)
        optimiser.step()
        total += float(loss.detach()) * len(batch)
    return total / len(tokens)


def _generator(seed: int, epoch: int) -> torch.Generator:
    """Of an epoch: a training that goes on from its checkpoint draws what an undisturbed one draws."""
    (drawn,) = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(drawn))
