"""The clean split: which images are for fitting, for choosing, and for the final figures."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.natural_order import natural_key
from adloc.datasets.readers.options import captured, one_group
from adloc.datasets.sample import GOOD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from adloc.datasets.sample import Fingerprint, Part, Sample

SplitKind = Literal["drawn", "official"]


class SplitConfig(BaseModel):
    """How the images of every category are divided; the same for every method.

    `train_fraction: 1` with `validation_defects: 0` is the benchmark's standard split: nothing is left to
    choose a threshold on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: SplitKind = Field(
        default="drawn",
        description="drawn: by the shares and the seed; official: the published parts as they are",
        json_schema_extra={
            "rule": "it must be drawn, or official where the dataset has published parts",
            "remedy": "use drawn",
        },
    )
    group: Annotated[str, AfterValidator(one_group)] | None = Field(
        default=None,
        description="regular expression with one group: images in whose paths (inside the category) it finds the same "
        "stand on one side",
    )
    test_fraction: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="share of the normal images that is for the final figures, where the dataset does not divide them",
        json_schema_extra={
            "rule": "it must be above 0 and below 1: the share of undivided normal images that is for the test",
            "remedy": "use 0.2",
        },
    )
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

    @model_validator(mode="after")
    def _shares_are_for_drawing(self) -> SplitConfig:
        shares = ("test_fraction", "train_fraction", "validation_defects")
        moved = [name for name in shares if getattr(self, name) != type(self).model_fields[name].default]
        if self.kind == "official" and moved:
            message = (
                f"{moved[0]} has no meaning with kind: official, which takes the published parts as they are\n"
                f"leave {' and '.join(moved)} out, or use kind: drawn"
            )
            raise ValueError(message)
        return self


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

    Drawn: of n images in train/good, floor(n * train_fraction + 1/2) are for fitting and the others for validation.
    Of the n images of each defect type, floor(n * validation_defects + 1/2) are for validation and the others for
    the test, with all of test/good. Of n normal images that the layout does not divide, floor(n * test_fraction +
    1/2) are for the test, and the others are as train/good. Anomalous images that the publisher put beside the
    training images are for validation. (n * fraction is taken exactly, in decimals.)

    Which ones: the images of a kind are ranked by the 16-byte BLAKE2b hash of their identity, keyed by the seed in
    decimal digits and personalised "adloc split", and the first of them taken. So the draw depends on the seed and
    the names in the image's own folder alone, not on the order of the samples, on other categories or defect types,
    or on the machine; and a larger fraction takes the images of a smaller one and more.

    With groups, whole groups are drawn in the same way, by category and group instead of identity, and counted
    instead of images. A group with an anomalous image is of that defect type with all its images, also normal ones;
    one without is for the test when any of its images is.

    Official: the published parts as they are.

    Raises:
        DatasetError: no image is left to fit on; an image has no published part, or no group; a group stands in
            several published parts.
        ValueError: samples of several categories, or private ones.
    """
    grouped = _with_groups(list(samples), config)
    if any(sample.origin == "private" for sample in grouped):
        raise ValueError("private images are in no part of a split")
    categories = sorted({sample.category for sample in grouped})
    if len(categories) > 1:
        message = f"samples of several categories: {', '.join(categories)}"
        raise ValueError(message)
    train, validation, test = _official(grouped) if config.kind == "official" else _drawn(grouped, config)
    if not train:
        n_normals = sum(sample.label == 0 for sample in validation)
        raise DatasetError(_nothing_to_fit_on(categories, n_normals, config))
    return Split(_in_order(train), _in_order(validation), _in_order(test))


def split_target(samples: Iterable[Sample], config: SplitConfig, source: Split) -> Split:
    """Return the three parts of one category in another domain; a part may be empty.

    Drawn: an image or group that the source's split has by the same name (but for the file's suffix) stands in the
    same part as there, so that no object is fitted on in one domain and tested on in the other; the others are divided
    as `split` does.
    Official: the published parts as they are.

    Raises:
        DatasetError: as `split`; or a group that is fitted on in the source is anomalous here.
    """
    grouped = _with_groups(list(samples), config)
    if config.kind == "official":
        train, validation, test = _official(grouped)
        return Split(_in_order(train), _in_order(validation), _in_order(test))
    known = {_side_name(sample): part for part, members in source.parts() for sample in members}
    found: dict[Part, list[Sample]] = {"train": [], "validation": [], "test": []}
    for sample in grouped:
        part = known.get(_side_name(sample))
        if part == "train" and sample.label:
            raise DatasetError(
                Problem(
                    f"{sample.source.location}: anomalous, and {_side_name(sample)} is fitted on in the source domain",
                    "an image or group that is fitted on in one domain is normal in the others",
                    "leave the image out, or mend split.group",
                )
            )
        if part is not None:
            found[part].append(sample)
    train, validation, test = _drawn([sample for sample in grouped if _side_name(sample) not in known], config)
    return Split(
        _in_order([*found["train"], *train]),
        _in_order([*found["validation"], *validation]),
        _in_order([*found["test"], *test]),
    )


def twin_name(sample: Sample) -> str:
    """What an image is called in every domain, whatever the format of its file there."""
    return str(PurePosixPath(sample.identity).with_suffix(""))


def _side_name(sample: Sample) -> str:
    """By what an image of one domain is known in another: its group, else its own name."""
    return twin_name(sample) if sample.group is None else _unit(sample)


def _unit(sample: Sample) -> str:
    """What is drawn: an image, or all images of a group."""
    return sample.identity if sample.group is None else f"{sample.category}/{sample.group}"


def _drawn(samples: list[Sample], config: SplitConfig) -> tuple[list[Sample], list[Sample], list[Sample]]:
    units: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        units[_unit(sample)].append(sample)
    strata: dict[str, dict[str, list[Sample]]] = defaultdict(dict)
    for name, unit in units.items():
        strata[_stratum(unit)][name] = unit

    test, undivided = _take(strata.pop("undivided/good", {}), config.test_fraction, config.seed)
    train: list[Sample] = []
    validation: list[Sample] = []
    for normals in (strata.pop("train/good", {}), undivided):
        fitted, others = _take(normals, config.train_fraction, config.seed)
        train += fitted
        validation += _members(others)
    test += _members(strata.pop("test/good", {}))
    for stratum, defects in strata.items():
        if stratum.startswith("train/"):
            validation += _members(defects)
            continue
        chosen, others = _take(defects, config.validation_defects, config.seed)
        validation += chosen
        test += _members(others)
    return train, validation, test


def _stratum(unit: list[Sample]) -> str:
    """What an image or a group of them is drawn among: "train/good", "test/crack", "test/crack+stain"."""
    defects = sorted({sample.defect for sample in unit if sample.label})
    origins = {sample.origin for sample in unit if sample.label or not defects}
    origin = next(name for name in ("test", "undivided", "train") if name in origins)
    return f"{origin}/{'+'.join(defects) or GOOD}"


def _official(samples: list[Sample]) -> tuple[list[Sample], list[Sample], list[Sample]]:
    without = next((sample for sample in samples if sample.part is None), None)
    if without is not None:
        raise DatasetError(
            Problem(
                f"split.kind is official, and {without.source.location} has no published part",
                "an official split takes every image's part from the dataset",
                "use split.kind: drawn",
            )
        )
    parts: dict[Part, list[Sample]] = {"train": [], "validation": [], "test": []}
    holders: dict[str, Part] = {}
    for sample in samples:
        part: Part = sample.part or "test"
        parts[part].append(sample)
        if sample.group is not None and holders.setdefault(sample.group, part) != part:
            raise DatasetError(
                Problem(
                    f"{sample.source.location} ({part}): its group {sample.group} is in {holders[sample.group]} too",
                    "images of one group stand in one part",
                    "use split.kind: drawn, or leave the groups out",
                )
            )
    return parts["train"], parts["validation"], parts["test"]


def _with_groups(samples: list[Sample], config: SplitConfig) -> list[Sample]:
    """The samples with the groups that `split.group` finds in their names; else with those of the dataset."""
    if config.group is None:
        return samples
    pattern = re.compile(config.group)
    found = [replace(sample, group=captured(pattern, sample.name, "group")) for sample in samples]
    without = [sample for sample in found if sample.group is None]
    if without:
        raise DatasetError(
            Problem(
                f"split.group {config.group} finds nothing in {len(without)} of {len(found)} names of"
                f" {without[0].category}, the first is {without[0].name}",
                "it must find the group of every image, in its path inside its category",
                "mend the pattern, or leave split.group out",
            )
        )
    return found


def counts(part: Iterable[Sample]) -> dict[str, int]:
    """Return the number of images by defect type, "good" first, the others in natural order."""
    found: dict[str, int] = defaultdict(int)
    for sample in part:
        found[sample.defect] += 1
    names = sorted(found, key=lambda name: (name != GOOD, natural_key(name)))
    return {name: found[name] for name in names}


def check_disjoint(split: Split, fingerprints: Mapping[str, Fingerprint]) -> None:
    """Do nothing when no content is in two parts; by the decoded pixels, whatever the file's name and format.

    Raises:
        DatasetError: naming the images of every content that is in more than one part.
    """
    holders: dict[str, list[tuple[Part, str]]] = defaultdict(list)
    for part, samples in split.parts():
        for sample in samples:
            holders[_content(fingerprints[sample.identity])].append((part, sample.source.location))
    overlaps = [held for held in holders.values() if len({part for part, _ in held}) > 1]
    if overlaps:
        rule = "train, validation and test may not share an image: figures on a seen image say nothing"
        remedy = "keep it in one part, and leave it out of the others"
        found = [" = ".join(f"{location} ({part})" for part, location in held) for held in overlaps]
        raise DatasetError(*(Problem(f"{same}: the same content", rule, remedy) for same in found))


def check_unseen(
    source: Split, known: Mapping[str, Fingerprint], target: Split, fingerprints: Mapping[str, Fingerprint]
) -> None:
    """Do nothing when a target domain tests and validates on no content that the source's earlier parts have.

    Args:
        source: the parts that models of the source are fitted and calibrated on.
        known: fingerprints of the source's images.
        target: the parts of another domain.
        fingerprints: of the target's images.

    Raises:
        DatasetError: naming each image of the target, and its twin in the source.
    """
    earlier: dict[str, list[tuple[Part, str]]] = defaultdict(list)
    problems = []
    for (part, samples), (_, seen) in zip(target.parts(), source.parts(), strict=True):
        for sample in samples:
            for other, location in earlier[_content(fingerprints[sample.identity])]:
                found = f"{sample.source.location} ({part}) = {location} ({other} of the source): the same content"
                problems.append(
                    Problem(
                        found,
                        "models of the source are run on the target's images, so none of these may be fitted or"
                        " calibrated on",
                        "keep the image in one domain",
                    )
                )
        for sample in seen:
            earlier[_content(known[sample.identity])].append((part, sample.source.location))
    if problems:
        raise DatasetError(*problems)


def _content(known: Fingerprint) -> str:
    """What the pixels are, whatever the file's format, where they were decoded."""
    return known.pixels or known.sha256


def _take(units: dict[str, list[Sample]], fraction: float, seed: int) -> tuple[list[Sample], dict[str, list[Sample]]]:
    """Draw a share of images or groups by name; return the images drawn, and the rest."""
    # Decimals: 45 * 0.7 is 31.499999999999996 in binary, and one image fewer.
    n_taken = math.floor(len(units) * Decimal(repr(fraction)) + Decimal("0.5"))
    ranked = sorted(units, key=lambda name: (_draw(seed, name), name))
    return _members({name: units[name] for name in ranked[:n_taken]}), {name: units[name] for name in ranked[n_taken:]}


def _members(units: dict[str, list[Sample]]) -> list[Sample]:
    return [sample for unit in units.values() for sample in unit]


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
