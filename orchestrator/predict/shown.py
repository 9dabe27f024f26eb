"""Which images a page shows of many: the highest-scoring ones, and those around the threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

HIGHEST, NEAREST = 350, 150
_SLACK = 50  # kept beyond, so that not every image needs a sorting


@dataclass(frozen=True, slots=True)
class Shown:
    """An image on the page.

    Attributes:
        name: its path below the folder that all images have in common.
        score: raw.
        picture: as the model saw it, a data URI.
        overlay: with its map; None where there is none.
    """

    name: str
    score: float
    picture: str
    overlay: str | None


class Kept:
    """At most 500 images: all of no more; else the 350 with the highest scores, and of the others the 150 nearest.

    What is dropped on the way could not have come back: the highest only rise, and the nearest only come nearer.
    """

    def __init__(self, threshold: float | None) -> None:
        """Begin; without a threshold the 500 with the highest scores are kept."""
        self._threshold = threshold
        self._n_highest = HIGHEST + (NEAREST if threshold is None else 0)
        self._images: list[Shown] = []
        self._lowest, self._farthest = -math.inf, math.inf

    def wants(self, score: float) -> bool:
        """Whether an image of this score may be among them."""
        return score > self._lowest or self._distance(score) < self._farthest

    def add(self, image: Shown) -> None:
        """Take it, and drop others for it."""
        self._images.append(image)
        if len(self._images) > HIGHEST + NEAREST + _SLACK:
            self._images = self._chosen()

    def by_score(self) -> list[Shown]:
        """Those that are shown, the highest score first."""
        self._images = self._chosen()
        return list(self._images)

    def _chosen(self) -> list[Shown]:
        ordered = sorted(self._images, key=lambda each: -each.score)
        if len(ordered) <= HIGHEST + NEAREST:
            return ordered
        highest, others = ordered[: self._n_highest], ordered[self._n_highest :]
        nearest = sorted(others, key=lambda each: self._distance(each.score))[: HIGHEST + NEAREST - len(highest)]
        self._lowest = highest[-1].score
        self._farthest = self._distance(nearest[-1].score) if nearest else -math.inf
        return sorted([*highest, *nearest], key=lambda each: -each.score)

    def _distance(self, score: float) -> float:
        return 0.0 if self._threshold is None else abs(score - self._threshold)
