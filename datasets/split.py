"""The clean split: which images are for fitting, for choosing, and for the final figures."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.folder import natural_key
from adloc.datasets.sample import GOOD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from adloc.datasets.sample import Fingerprint, Sample

Part = Literal["train", "validation", "test"]


class SplitConfig(BaseModel):
    """How the images of every category are divided; the same for every method.

    `train_fraction: 1` with `validation_defects: 0` is the benchmark's standard split: nothing is left to
    choose a threshold on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_fraction: float = Field(
        default=0.8,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="share of train/good that methods are fitted on; the rest is for validation",
        json_schema_extra={
            "rule": "it must be above 0 and at most 1: the share of train/good that is fitted on",
            "remedy": "use 0.8, or 1 to fit on every normal image and leave none for validation",
        },
    )
    validation_defects: float = Field(
        default=0.3,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="share of each defect type's test images that is for validation; the rest is for the final figures",
        json_schema_extra={
            "rule": "it must be at least 0 and below 1: the share of each defect type that is for validation",
            "remedy": "use 0.3, or 0 to keep every anomalous image for the test",
        },
    )
    seed: int = Field(
        default=42,
        ge=0,
        lt=2**63,
        description="draws which images go where, for each image by its own name",
        json_schema_extra={"rule": "it must be a whole number, 0 or more", "remedy": "use 42"},
    )


@dataclass(frozen=True, slots=True)
class Split:
    """The three parts of one category (or of several, joined), each in natural order of the names.

    Attributes:
        train: normal images, for fitting only.
        validation: normal and anomalous images, for thresholds and hyperparameters.
        test: normal and anomalous images, for the final figures only.
    """

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]

    def parts(self) -> Iterator[tuple[Part, tuple[Sample, ...]]]:
        """Yield ("train", its samples), then validation and test."""
        yield "train", self.train
        yield "validation", self.validation
        yield "test", self.test


def split(samples: Iterable[Sample], config: SplitConfig) -> Split:
    """Return the three parts of one category.

    Of n images in train/good, floor(n * train_fraction + 1/2) are for fitting and the others for validation.
    Of the n images of each defect type, floor(n * validation_defects + 1/2) are for validation and the others
    for the test, with all of test/good. (n * fraction is taken exactly, in decimals.)

    Which ones: the images of a group are ranked by the 16-byte BLAKE2b hash of their identity, keyed by the
    seed in decimal digits and personalised "adloc split", and the first of them taken. So the draw depends on
    the seed and the names in the image's own folder alone, not on the order of the samples, on other
    categories or defect types, or on the machine; and a larger fraction takes the images of a smaller one and
    more.

    Raises:
        DatasetError: train_fraction leaves no image to fit on.
        ValueError: samples of several categories.
    """
    groups: dict[str, list[Sample]] = defaultdict(list)
    categories = set()
    for sample in samples:
        groups[f"{sample.origin}/{sample.defect}"].append(sample)
        categories.add(sample.category)
    if len(categories) > 1:
        message = f"samples of several categories: {', '.join(sorted(categories))}"
        raise ValueError(message)

    train, validation = _take(groups.pop("train/good", []), config.train_fraction, config.seed)
    if not train:
        raise DatasetError(_nothing_to_fit_on(sorted(categories), len(validation), config))
    test: list[Sample] = groups.pop("test/good", [])
    for defects in groups.values():
        chosen, others = _take(defects, config.validation_defects, config.seed)
        validation += chosen
        test += others
    return Split(_in_order(train), _in_order(validation), _in_order(test))


def counts(part: Iterable[Sample]) -> dict[str, int]:
    """Return the number of images by defect type, "good" first, the others in natural order."""
    found: dict[str, int] = defaultdict(int)
    for sample in part:
        found[sample.defect] += 1
    names = sorted(found, key=lambda name: (name != GOOD, natural_key(name)))
    return {name: found[name] for name in names}


def check_disjoint(split: Split, fingerprints: Mapping[str, Fingerprint]) -> None:
    """Do nothing when no content is in two parts; by the hash of the image, whatever its name.

    Raises:
        DatasetError: naming the images of every content that is in more than one part.
    """
    holders: dict[str, list[tuple[Part, str]]] = defaultdict(list)
    for part, samples in split.parts():
        for sample in samples:
            holders[fingerprints[sample.identity].sha256].append((part, sample.source.location))
    overlaps = [held for held in holders.values() if len({part for part, _ in held}) > 1]
    if overlaps:
        rule = "train, validation and test may not share an image: figures on a seen image say nothing"
        remedy = "keep one of them and delete the others"
        found = [" = ".join(f"{location} ({part})" for part, location in held) for held in overlaps]
        raise DatasetError(*(Problem(f"{same}: the same content", rule, remedy) for same in found))


def _take(group: list[Sample], fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Draw a share of a group; return what was drawn and the rest."""
    # Decimals: 45 * 0.7 is 31.499999999999996 in binary, and one image fewer.
    n_taken = math.floor(len(group) * Decimal(repr(fraction)) + Decimal("0.5"))
    ranked = sorted(group, key=lambda sample: (_draw(seed, sample.identity), sample.identity))
    return ranked[:n_taken], ranked[n_taken:]


def _draw(seed: int, identity: str) -> bytes:
    key = str(seed).encode()
    return hashlib.blake2b(identity.encode(), digest_size=16, key=key, person=b"adloc split").digest()


def _in_order(samples: list[Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(samples, key=lambda sample: natural_key(sample.name)))


def _nothing_to_fit_on(categories: list[str], n_normals: int, config: SplitConfig) -> Problem:
    name = categories[0] if categories else "no samples"
    return Problem(
        f"{name}: split.train_fraction {config.train_fraction} of {n_normals} images in train/good is none",
        "at least one normal image must be left to fit on",
        "use a larger train_fraction, or add normal images to train/good",
    )
