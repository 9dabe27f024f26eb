"""Which parameters of DFM its network makes impossible, without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.methods.dfm.params import DfmParams
from adloc.methods.errors import MethodError
from adloc.methods.params import narrow

if TYPE_CHECKING:
    from pydantic import BaseModel

    from adloc.methods.given import Given


def require_possible(params: BaseModel, given: Given) -> None:
    """Refuse what no fit on these images could have.

    Raises:
        MethodError: a pooling over more than the layer's map.
    """
    for found in given.maps:
        require_pooled(narrow(params, DfmParams), found.height, found.width)


def require_pooled(params: DfmParams, height: int, width: int) -> None:
    """Refuse a pooling that leaves nothing of a map."""
    (layer,) = params.layers
    if params.pooling > min(height, width):
        raise MethodError(
            f"dfm: pooling is {params.pooling}, and the map of {layer} is {height} x {width}",
            "it must be at most the shorter side of the layer's map",
            f"use {min(height, width)} or less, or a larger image.size",
        )
