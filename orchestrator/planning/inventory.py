"""What a plan needs to know of the world: images, their hashes, weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adloc.datasets.sample import Fingerprint, Sample
    from adloc.planning.targets import Target


@dataclass(frozen=True)
class Inventory:
    """What the plan needs to know of the world.

    Attributes:
        samples: of every category of the study; in a study with real domains, those of the source.
        fingerprints: of each sample, by its identity.
        weights: sha256 by (backbone, weights, seed); a plan made to look at data alone may lack them.
        targets: by name of a real domain that the study shifts to.
    """

    samples: Sequence[Sample]
    fingerprints: Mapping[str, Fingerprint]
    weights: Mapping[tuple[str, str, int], str]
    targets: Mapping[str, Target] = field(default_factory=dict)
