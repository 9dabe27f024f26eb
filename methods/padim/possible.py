"""Which parameters of PaDiM its images and its network make impossible, without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.methods.errors import MethodError
from adloc.methods.padim.params import PadimParams
from adloc.methods.params import narrow

if TYPE_CHECKING:
    from pydantic import BaseModel

    from adloc.methods.given import Given


def require_possible(params: BaseModel, given: Given) -> None:
    """Refuse what no fit on these images could have.

    Raises:
        MethodError: more features than channels, or a blur that reaches over the map.
    """
    params = narrow(params, PadimParams)
    if given.maps:
        require_channels(sum(each.channels for each in given.maps), params)
    require_room(params.smoothing_sigma, given.size)


def require_channels(n_channels: int, params: PadimParams) -> None:
    """Refuse more features than there are channels."""
    if params.n_features > n_channels:
        layers = ", ".join(params.layers)
        raise MethodError(
            f"padim: n_features is {params.n_features}, and {layers} have {n_channels} channels together",
            "it must be at least 1 and at most the number of channels of the chosen layers",
            f"use {n_channels} to keep them all, or add a layer",
        )


def require_room(sigma: float, size: tuple[int, int]) -> None:
    """Refuse a blur whose kernel mirrors more pixels than the map has."""
    radius, room = int(4 * sigma + 0.5), min(size) - 1
    if radius > room:
        raise MethodError(
            f"padim: smoothing_sigma {sigma:g} reaches {radius} pixels over maps of {size[0]} x {size[1]}",
            "the blur's reach, 4 sigma, must be less than either side of the map",
            f"use {room // 4} or less, or a larger image.size",
        )
