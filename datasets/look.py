"""Whether two images are the same: by their pixels, and by how they look.

The look, in 256 bits, finds copies that were compressed or resized, whose pixels all differ.

It is the perceptual hash of the package ImageHash: signs of the low frequencies of a cosine transform. Measured on the
first 120 images each of a bottle and a commutator from a fixed camera: copies as JPEG at quality 95 or at 0.3 to 0.5
of the size differ in at most 6 bits, different bottles in at least 24.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from adloc.datasets.sample import Fingerprint, Part, Sample
    from adloc.datasets.split import Split

_SIDE = 16  # bits a side
NEAR_BITS = 8


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two images of different parts that look the same.

    Attributes:
        one: of the part `one_part`.
        other: of the part `other_part`.
        n_bits: of 256, in which their looks differ.
    """

    one: Sample
    one_part: Part
    other: Sample
    other_part: Part
    n_bits: int


def look_of(pixels: NDArray[np.uint8]) -> str:
    """Return the 256 bits of an image (height, width, 3) as 64 hexadecimal digits; 3 ms at 448 x 448."""
    import imagehash
    from PIL import Image

    return str(imagehash.phash(Image.fromarray(pixels), hash_size=_SIDE))


def pixels_hash(pixels: NDArray[np.uint8]) -> str:
    """32 hexadecimal digits of decoded pixels (height, width, 3): equal pixels, equal hash, in any file format."""
    size = "x".join(str(side) for side in pixels.shape)
    return hashlib.blake2b(pixels.tobytes(), digest_size=16, person=size.encode()[:16]).hexdigest()


def near_duplicates(split: Split, fingerprints: Mapping[str, Fingerprint]) -> list[NearPair]:
    """Return the pairs of images in different parts whose looks differ in at most 8 of 256 bits.

    Pairs with the very same pixels are not among them: those are an error of `check_disjoint`. Costs
    n_one x n_other comparisons of 32 bytes: 0.1 s for 1,000 x 1,000.
    """
    import numpy as np

    found = []
    for (one_part, ones), (other_part, others) in combinations(split.parts(), 2):
        others_known = [sample for sample in others if fingerprints[sample.identity].look]
        if not others_known:
            continue
        looks = np.array([_bytes(fingerprints[sample.identity]) for sample in others_known], dtype=np.uint8)
        for one in ones:
            known = fingerprints[one.identity]
            if not known.look:
                continue
            n_bits = np.bitwise_count(looks ^ np.array(_bytes(known), dtype=np.uint8)).sum(axis=1)
            for j in np.flatnonzero(n_bits <= NEAR_BITS):
                other = others_known[j]
                if fingerprints[other.identity].pixels != known.pixels:
                    found.append(NearPair(one, one_part, other, other_part, int(n_bits[j])))
    return found


def _bytes(fingerprint: Fingerprint) -> list[int]:
    return list(bytes.fromhex(fingerprint.look))
