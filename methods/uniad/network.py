"""The transformer that reconstructs backbone features (You et al. 2022, arXiv 2206.03687, section 3).

Notation: n images, H x W patches on the grid, T = H W of them, C channels of all layers, D the width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

_FEEDFORWARD = 4  # times the width, as in the paper


class NetworkParams(Protocol):
    """The parameters that shape the network."""

    @property
    def width(self) -> int:
        """D."""
        ...

    @property
    def heads(self) -> int:
        """Of every attention; they divide the width."""
        ...

    @property
    def depth(self) -> int:
        """Layers of the encoder, and of the decoder."""
        ...

    @property
    def neighbour_mask(self) -> bool:
        """Whether a patch may not attend to those around it."""
        ...

    @property
    def mask_size(self) -> int:
        """Side of the square around a patch that it may not attend to; odd."""
        ...

    @property
    def layer_queries(self) -> bool:
        """Whether each decoder layer asks with a query of its own, instead of with what it is given."""
        ...


def to_tokens(features: Mapping[str, Tensor], layers: Sequence[str]) -> Tensor:
    """The patches of each image on the coarsest layer's grid, the channels of all layers put together.

    Finer maps are averaged over the cells that fall into a patch. (The original samples them bilinearly, which leaves
    out most cells of a map that is four times as fine.)

    Args:
        features: {layer: float32 (n, C_l, H_l, W_l)}.
        layers: in the order in which their channels are put together.

    Returns:
        float32 (n, H, W, C), contiguous.
    """
    maps = [features[layer] for layer in layers]
    height, width = min((each.shape[-2:] for each in maps), key=lambda shape: shape[0] * shape[1])
    on_grid = [functional.adaptive_avg_pool2d(each, (height, width)) for each in maps]
    return torch.cat(on_grid, dim=1).permute(0, 2, 3, 1).contiguous()


def mask_neighbours(grid: tuple[int, int], size: int) -> Tensor:
    """Which patch may not attend to which: itself and its neighbours, size x size patches around it.

    Args:
        grid: (H, W).
        size: odd: 2 r + 1 for r patches to each side.

    Returns:
        bool (T, T), True where the row's patch may not see the column's; patches go row by row.
    """
    rows, columns = (torch.arange(length) for length in grid)
    near_rows = (rows[:, None] - rows).abs() <= size // 2  # (H, H)
    near_columns = (columns[:, None] - columns).abs() <= size // 2  # (W, W)
    return (near_rows[:, None, :, None] & near_columns[None, :, None, :]).flatten(2).flatten(0, 1)


def jitter(tokens: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Tokens with Gaussian noise in proportion to their length: sigma = scale |x| / C (equation 3 of the paper).

    Args:
        tokens: float32 (n, T, C).
        scale: 20 in the paper.
        generator: of the noise, on the CPU.
    """
    noise = torch.randn(tokens.shape, generator=generator).to(tokens.device)
    sigma: Tensor = tokens.norm(dim=-1, keepdim=True) * (scale / tokens.shape[-1])
    return tokens + noise * sigma


class Reconstruction(nn.Module):
    """Tokens in, the same tokens out, as well as they can be told from normal images.

    Encoder and decoder of `depth` layers each, normalised after each sum, positions added to queries and keys. A
    decoder layer attends to the encoder's output, then to that of the layer before it. With `layer_queries` it begins
    with a query that it has learned, so what it gives out can only be put together from what it has attended to;
    without, with what the layer before gave out, as an ordinary transformer does: the tokens themselves then reach the
    end through sums alone, and nothing hinders the network from copying them, defects and all (the identical shortcut).

    Unlike the original it drops no activations out.
    """

    def __init__(self, grid: tuple[int, int], n_channels: int, params: NetworkParams) -> None:
        """Draw the initial weights, from the global generator.

        Args:
            grid: (H, W).
            n_channels: C.
            params: how wide and how deep, and what hinders the shortcut.
        """
        super().__init__()
        height, width = grid
        self.rows = nn.Parameter(torch.rand(height, params.width // 2))
        self.columns = nn.Parameter(torch.rand(width, params.width - params.width // 2))
        self.inward = nn.Linear(n_channels, params.width)
        self.encoder = nn.ModuleList(_EncoderLayer(params) for _ in range(params.depth))
        n_tokens = height * width
        self.decoder = nn.ModuleList(_DecoderLayer(n_tokens, params) for _ in range(params.depth))
        self.norm = nn.LayerNorm(params.width)
        self.outward = nn.Linear(params.width, n_channels)
        mask = mask_neighbours(grid, params.mask_size) if params.neighbour_mask else None
        self.mask: Tensor | None
        self.register_buffer("mask", mask, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Reconstruct.

        Args:
            tokens: float32 (n, T, C).

        Returns:
            float32 (n, T, C).
        """
        positions = self._positions()
        encoded = self.inward(tokens)
        for layer in self.encoder:
            encoded = layer(encoded, positions, self.mask)
        decoded = encoded
        for layer in self.decoder:
            decoded = layer(decoded, encoded, positions, self.mask)
        reconstructed: Tensor = self.outward(self.norm(decoded))
        return reconstructed

    def _positions(self) -> Tensor:
        """(T, D): the row's part and the column's part of every patch."""
        height, width = len(self.rows), len(self.columns)
        by_row = self.rows[:, None].expand(height, width, -1)
        by_column = self.columns[None].expand(height, width, -1)
        return torch.cat([by_row, by_column], dim=-1).flatten(0, 1)


class _EncoderLayer(nn.Module):
    """Self-attention, then a network of two layers on every token."""

    def __init__(self, params: NetworkParams) -> None:
        super().__init__()
        self.attention = _attention(params)
        self.forth = _Feedforward(params.width)
        self.norm = nn.LayerNorm(params.width)

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        placed = tokens + positions
        found, _ = self.attention(placed, placed, tokens, attn_mask=mask, need_weights=False)
        return self.forth(self.norm(tokens + found))  # type: ignore[no-any-return]


class _DecoderLayer(nn.Module):
    """Attention to the encoder's output, attention to the layer before, then a network on every token."""

    def __init__(self, n_tokens: int, params: NetworkParams) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(n_tokens, params.width)) if params.layer_queries else None
        self.to_encoded, self.to_before = _attention(params), _attention(params)
        self.norms = nn.ModuleList(nn.LayerNorm(params.width) for _ in range(2))
        self.forth = _Feedforward(params.width)

    def forward(self, before: Tensor, encoded: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        tokens = before if self.query is None else self.query.expand_as(before)
        for attention, norm, source in zip(
            (self.to_encoded, self.to_before), self.norms, (encoded, before), strict=True
        ):
            found, _ = attention(tokens + positions, source + positions, source, attn_mask=mask, need_weights=False)
            tokens = norm(tokens + found)
        return self.forth(tokens)  # type: ignore[no-any-return]


class _Feedforward(nn.Module):
    """Two layers on every token, added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = nn.Linear(width, _FEEDFORWARD * width)
        self.narrow = nn.Linear(_FEEDFORWARD * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens + self.narrow(functional.relu(self.wide(tokens))))  # type: ignore[no-any-return]


def _attention(params: NetworkParams) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(params.width, params.heads, batch_first=True)
