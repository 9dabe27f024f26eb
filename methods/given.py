"""What a method will be given, known from the study file and the plan before any image passes the backbone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MapShape:
    """Of one layer's feature maps (N, C, H, W): C, H and W."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Given:
    """What a fit and its scores will be of.

    Attributes:
        n_images: of the train part.
        size: (height, width) of the images, and so of the anomaly maps.
        maps: of each of the method's layers in their order; empty where the network's shapes are not known.
    """

    n_images: int
    size: tuple[int, int]
    maps: tuple[MapShape, ...] = ()
