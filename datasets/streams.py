"""Random generators that depend on a seed and a name alone, never on what was drawn before."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def stream(seed: int, *names: str) -> np.random.Generator:
    """A PCG64 generator for these names: the same in any order, process and machine.

    Other names, or another seed, give an independent generator.

    Args:
        seed: 0 or more, below 2 ** 63.
        names: of the image, and of what is drawn for it.
    """
    import numpy as np

    digest = hashlib.blake2b("\0".join(names).encode(), key=str(seed).encode(), digest_size=16)
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest.digest(), "big")))
