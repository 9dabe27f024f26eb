"""What `adloc data check` says of the parts of a study beside their counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.datasets.look import near_duplicates
from adloc.datasets.split import Split
from adloc.errors import Complaint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from adloc.datasets.sample import Fingerprint
    from adloc.datasets.split import SplitConfig
    from adloc.planning.parts import Parts

_MOST_PAIRS = 10  # named of a category; a burst of one object's photographs has hundreds


def part_warnings(
    parts: Mapping[str, Parts], fingerprints: Mapping[str, Fingerprint], config: SplitConfig
) -> Iterator[Complaint]:
    """Yield a complaint for every pair of images that stand in two parts and look the same, and for parts not kept.

    Args:
        parts: of each category.
        fingerprints: of the samples, by their identity.
        config: how the parts were made.
    """
    for category, each in parts.items():
        split = Split(each.train.samples, each.validation.samples, each.test.samples)
        pairs = near_duplicates(split, fingerprints)
        for pair in pairs[:_MOST_PAIRS]:
            yield Complaint(
                f"{pair.one.source.location} ({pair.one_part}) and {pair.other.source.location} ({pair.other_part})"
                f" look the same: {pair.n_bits} of 256 bits differ",
                "a copy, compressed or resized, that stands in two parts makes figures better than they are",
                "look at both; if they show one object, name it by split.group, or leave one of them out",
            )
        if len(pairs) > _MOST_PAIRS:
            yield Complaint(
                f"{category}: {len(pairs) - _MOST_PAIRS} more pairs of images of different parts look the same",
                "images of one object stand in one part",
                "name the objects by split.group",
            )
        kept_apart = [sample for sample in (*each.train.samples, *each.test.samples) if sample.part == "validation"]
        if config.kind == "drawn" and kept_apart:
            yield Complaint(
                f"{category}: {len(kept_apart)} images of the published validation part are drawn into other parts",
                "a drawn split divides all images anew",
                "use split: {kind: official} to keep the published parts",
            )
