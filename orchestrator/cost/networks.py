"""What passes through a backbone: its operations an image, and the shapes of what its layers give.

The figures were counted by torch's FlopCounterMode on the meta device; a test counts them again. They stand here so
that a plan is estimated without importing torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.methods.given import MapShape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adloc.datasets.transform import ImageConfig

SIDE = 224  # at which `Layer.gmacs` is counted
STRIDES = (4, 8, 16, 32)
SLOWER = {"efficientnet_lite0": 3.1}  # its depthwise convolutions move more than they multiply; measured on a CPU


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a network: its channels, pixels a cell, and 1e9 multiply-adds from a 224 px image to its output."""

    channels: int
    stride: int
    gmacs: float


def _layers(channels: Iterable[int], gmacs: Iterable[float]) -> dict[str, Layer]:
    found = zip(channels, STRIDES, gmacs, strict=True)
    return {f"layer{number}": Layer(*each) for number, each in enumerate(found, 1)}


_NARROW, _WIDE = (64, 128, 256, 512), (256, 512, 1024, 2048)
NETWORKS = {
    "resnet18": _layers(_NARROW, (0.580, 0.991, 1.403, 1.814)),
    "resnet34": _layers(_NARROW, (0.812, 1.685, 3.021, 3.663)),
    "resnet50": _layers(_WIDE, (0.786, 1.814, 3.278, 4.087)),
    "resnet101": _layers(_WIDE, (0.786, 1.814, 6.990, 7.799)),
    "resnet152": _layers(_WIDE, (0.786, 2.687, 10.702, 11.512)),
    "wide_resnet50_2": _layers(_WIDE, (2.096, 4.973, 9.187, 11.396)),
    "efficientnet_lite0": _layers((24, 40, 112, 320), (0.076, 0.114, 0.243, 0.364)),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What one image becomes.

    Attributes:
        gmacs: 1e9 multiply-adds of its pass, all tiles together; of a slower network as many as take that time.
        patches: cells of the first layer's grid.
        channels: of all layers together.
        values: of all layers' maps together.
    """

    gmacs: float
    patches: int
    channels: int
    values: int


def shape_of(backbone: str, layers: Iterable[str], image: ImageConfig) -> Shape | None:
    """What an image becomes in these layers; None for a network that is not in the table.

    A module inside a layer ("layer2.0.conv1") is taken for the layer.
    """
    network = NETWORKS.get(backbone)
    found = [] if network is None else [network.get(layer.partition(".")[0]) for layer in layers]
    known = [layer for layer in found if layer is not None]
    if not known or len(known) < len(found):
        return None
    height, width = image.input_size
    passed = image.tile_size[0] * image.tile_size[1] * image.tiles.count if image.tiles else height * width
    cells = [-(-height // layer.stride) * -(-width // layer.stride) for layer in known]
    return Shape(
        gmacs=max(layer.gmacs for layer in known) * passed / SIDE**2 * SLOWER.get(backbone, 1.0),
        patches=cells[0],
        channels=sum(layer.channels for layer in known),
        values=sum(layer.channels * n for layer, n in zip(known, cells, strict=True)),
    )


def map_shapes(backbone: str, layers: Iterable[str], image: ImageConfig) -> tuple[MapShape, ...]:
    """Of each layer the shape of its map of one image; none where one is not in the table, or images pass as tiles."""
    network, names = NETWORKS.get(backbone, {}), tuple(layers)
    if image.tiles or not all(name in network for name in names):
        return ()
    height, width = image.input_size
    found = (network[name] for name in names)
    return tuple(MapShape(each.channels, -(-height // each.stride), -(-width // each.stride)) for each in found)
