"""The bets of the drift watch: bounded, each on one way in which p-values stop being uniform.

A bet f on a p-value has an integral of 1 over [0, 1], so under no change it multiplies what is staked by 1 in
expectation (Vovk, Nouretdinov and Gammerman, "Testing exchangeability on-line", ICML 2003). Each bet here is a step:
the share `stake` is put on the p-value to lie in a tail that is `width` wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Direction = Literal["up", "down", "wider"]


@dataclass(frozen=True, slots=True)
class Bet:
    """A step.

    Attributes:
        direction: "up": values above the others (small p-values); "down": below; "wider": either.
        width: of the tail, above 0 and below 1.
        stake: the share of the wealth put on the tail, above 0 and below 1; the rest is kept.
    """

    direction: Direction
    width: float
    stake: float

    @property
    def hit(self) -> float:
        """The factor when the p-value lies in the tail: the largest value M of the bet."""
        return 1 - self.stake + self.stake / self.width

    @property
    def miss(self) -> float:
        """The factor when it does not."""
        return 1 - self.stake


# Narrow tails for changes that are plain at once, wide ones for slight changes and for those whose first images have
# joined the history. Chosen, as SHARED, by the delays on simulated Gaussian streams, not on images.
STEPS = ((0.05, 0.8), (0.15, 0.6), (0.4, 0.5), (0.7, 0.7))
DIRECTIONS: tuple[Direction, ...] = ("up", "down", "wider")
BETS = tuple(Bet(direction, width, stake) for direction in DIRECTIONS for width, stake in STEPS)
SHARED = 0.1  # of the wealth of each bet is spread over the bets of its direction before each image


def are_hits(p_values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the J bets of `BETS` hit: (S, J).

    Args:
        p_values: (S,) in [0, 1], small for a value above the others.
    """
    tails = {"up": p_values, "down": 1 - p_values, "wider": 2 * np.minimum(p_values, 1 - p_values)}
    return np.stack([tails[bet.direction] < bet.width for bet in BETS], axis=1)
