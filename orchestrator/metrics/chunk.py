"""Anomaly maps beside their masks, some whole images at a time: what pixel metrics in bounded memory read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    # Gives all chunks, the same at each call.
    ReadChunks = Callable[[], Iterable["Chunk"]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole images.

    Attributes:
        maps: (n, height, width), raw scores; float32 where they are streamed.
        masks: bool (n, height, width), True on defect pixels.
        anomalous: bool (n,), the labels of the images.
        void: bool (n, height, width), True on pixels that count neither way; None for none.
    """

    maps: NDArray[np.floating]
    masks: NDArray[np.bool_]
    anomalous: NDArray[np.bool_]
    void: NDArray[np.bool_] | None = None

    @classmethod
    def whole(cls, maps: NDArray[np.floating], masks: NDArray[np.bool_], void: NDArray[np.bool_] | None) -> Chunk:
        """All images; those with a defect pixel are the anomalous ones."""
        return cls(maps, masks, np.asarray(np.any(masks, axis=(1, 2))), void)

    @property
    def defects(self) -> NDArray[np.bool_]:
        """Defect pixels that count; of the shape of the maps.

        Raises:
            ValueError: maps, masks and void differ in shape.
        """
        self._check()
        return self.masks if self.void is None else self.masks & ~self.void

    @property
    def normals(self) -> NDArray[np.bool_]:
        """Pixels without a defect that count; of the shape of the maps.

        Raises:
            ValueError: maps, masks and void differ in shape.
        """
        self._check()
        return ~self.masks if self.void is None else ~(self.masks | self.void)

    def _check(self) -> None:
        shapes = [each.shape for each in (self.maps, self.masks, self.void) if each is not None]
        if len(set(shapes)) > 1:
            message = f"maps, masks and void have the shapes {', '.join(map(str, shapes))}; they must be the same"
            raise ValueError(message)


class EveryNth:
    """Every n-th of a sequence that comes in pieces, as `sequence[::n]` has them."""

    def __init__(self, step: int) -> None:
        """Take the first, and each that is `step` further."""
        self._step = step
        self._seen = 0

    def of(self, piece: NDArray[Any]) -> NDArray[Any]:
        """Those of the next piece, of one dimension: a view."""
        first = -self._seen % self._step
        self._seen += piece.size
        return piece[first :: self._step]
