"""Images through a network tile by tile, and the tiles' feature maps joined into one grid.

How they are joined: each cell is taken from the tile whose core it lies in, and the other tile's view of it is dropped;
nothing is averaged. What a cell would have seen beyond its tile is the network's padding, so cells within a receptive
field's radius of a tile's border differ from those of a pass over the whole canvas. Half of the overlap keeps that many
pixels of context on either side of each seam: a wider one makes the seams fainter, and none at all is left once half of
the overlap is as wide as that radius. Seams lie at the same cells in every image, fitted on or scored.

ResNet-18 on a photograph in 2 x 2 tiles of 224, the cells at a seam against a pass over the whole canvas, as a share of
the mean feature's length: 0.92 (layer2) and 0.82 (layer3) without overlap, 0.17 and 0.60 with 32 shared pixels, 0.01
and 0.22 with 64, 0.00 and 0.16 with 96.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch

from adloc.datasets.tiles import OVERLAP_STEP, place_tiles, share_of
from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from adloc.datasets.tiles import Span, Tile
    from adloc.datasets.transform import ImageConfig

    Network = Callable[[Tensor], Mapping[str, Tensor]]


def pass_network(network: Network, images: Tensor, config: ImageConfig, batch_size: int) -> dict[str, Tensor]:
    """The feature maps of images, of their tiles where `config` has some.

    One tile gives the bits of no tiles; r x c tiles without overlap give r x c times the cells.

    Args:
        network: see `adloc.methods.network.FeatureExtractor`.
        images: float32 (N, 3, height, width) in [0, 1], at the input size of `config`.
        config: the sizes.
        batch_size: tiles that pass together; without tiles all images do.

    Returns:
        {layer: float32 (N, C, H, W)}.

    Raises:
        MethodError: the cells of a layer do not fit into the tiles.
    """
    if config.tiles is None:
        return dict(network(images))
    joined: dict[str, Tensor] = {}
    places = list(itertools.product(range(len(images)), place_tiles(config.tiles, config.tile_size)))
    for start in range(0, len(places), batch_size):
        some = places[start : start + batch_size]
        maps = network(torch.stack([_cut(images[index], tile) for index, tile in some]))
        for layer, found in maps.items():
            strides = _strides(layer, found, config)
            if layer not in joined:
                grid = (side // stride for side, stride in zip(config.input_size, strides, strict=True))
                joined[layer] = found.new_empty(len(images), found.shape[1], *grid)
            for (index, tile), own in zip(some, found, strict=True):
                _put(joined[layer][index], own, tile, strides)
    return joined


def pass_filled(
    network: Network, images: Tensor, config: ImageConfig, n_together: int, batch_size: int
) -> dict[str, Tensor]:
    """`pass_network` of so many images as ever pass together: a few are filled up by the first one.

    On a CPU torch's convolutions round maps of few cells in another way for one image than for two (seen on ResNets
    below 160 pixels; at 160 and above, and on EfficientNet-Lite0, not). Which of them an image is among others does not
    matter, so in a pass of one size its bits depend on no other.
    """
    missing = n_together - len(images)
    if missing <= 0:
        return pass_network(network, images, config, batch_size)
    filled = torch.cat([images, images[:1].expand(missing, *images.shape[1:])])
    return {layer: maps[: len(images)] for layer, maps in pass_network(network, filled, config, batch_size).items()}


def pass_size(config: ImageConfig) -> tuple[int, int]:
    """(height, width) of what passes the network at once: a tile, or an image without tiles."""
    return config.input_size if config.tiles is None else config.tile_size


def check_tiles(network: Network, config: ImageConfig) -> None:
    """Pass one grey tile, where `config` has tiles, to see that the cells of every layer fit into them.

    Raises:
        MethodError: those of a layer do not.
    """
    if config.tiles is None:
        return
    for layer, maps in network(torch.full((1, 3, *config.tile_size), 0.5)).items():
        _strides(layer, maps, config)


def _cut(image: Tensor, tile: Tile) -> Tensor:
    """A tile of an image (3, height, width)."""
    return image[:, tile.rows.start : tile.rows.stop, tile.columns.start : tile.columns.stop]


def _put(joined: Tensor, own: Tensor, tile: Tile, strides: tuple[int, int]) -> None:
    """Write the cells of a tile's core (C, h, w) where they lie in the joined map (C, H, W)."""
    (there_y, own_y), (there_x, own_x) = map(_cells, (tile.rows, tile.columns), strides)
    joined[:, there_y, there_x] = own[:, own_y, own_x]


def _cells(span: Span, stride: int) -> tuple[slice, slice]:
    """The core's cells in the joined map, and in the tile's own."""
    first, stop = span.core_start // stride, span.core_stop // stride
    offset = span.start // stride
    return slice(first, stop), slice(first - offset, stop - offset)


def _strides(layer: str, maps: Tensor, config: ImageConfig) -> tuple[int, int]:
    """Pixels of a layer's cell, vertically and horizontally: whole cells in a tile and in half of an overlap."""
    tiles, sides = config.tiles, config.tile_size
    if tiles is None:
        raise TypeError(config)
    strides = []
    for count, side, cells in zip((tiles.rows, tiles.columns), sides, maps.shape[-2:], strict=True):
        stride, rest = divmod(side, cells)
        shared = tiles.shared(side)
        if rest:
            lower = side // OVERLAP_STEP * OVERLAP_STEP
            sizes = [str(size) for size in (lower, lower + OVERLAP_STEP) if size]
            raise MethodError(
                f"image.size {side} with tiles: {cells} cells of {layer} on {side} pixels are no whole pixels each",
                "the maps of tiles are joined at whole cells: every layer's stride must divide a tile's side",
                f"use an image.size of {' or '.join(sizes)}",
            )
        if count > 1 and shared // 2 % stride:
            step = math.lcm(2 * stride, OVERLAP_STEP)
            overlaps = [share_of(p, side) for p in (shared // step * step, -(-shared // step) * step) if 2 * p <= side]
            raise MethodError(
                f"image.tiles {tiles}: half of {shared} shared pixels is no whole number of cells of {layer},"
                f" of {stride} pixels each",
                "the maps of tiles are joined at whole cells: every layer's stride must divide half of the overlap",
                f"use an overlap of {' or '.join(f'{o:g}' for o in overlaps)}, or layers of smaller strides",
            )
        strides.append(stride)
    return strides[0], strides[1]
