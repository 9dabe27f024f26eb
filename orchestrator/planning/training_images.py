"""Which images a model is fitted on: fewer normal ones than there are, or defects among them. Pure."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from adloc.errors import Complaint, UserError
from adloc.planning.parts import TrainPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from adloc.datasets.sample import Sample
    from adloc.planning.parts import AnyPart, Parts
    from adloc.study_file.axes import TrainConfig
    from adloc.study_file.conditions import Condition
    from adloc.thresholds import ThresholdConfig

ALL: Literal["all"] = "all"


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """What a fit is given of each category.

    Attributes:
        n_normals: or "all".
        draw: which choice of them.
        contamination: share of the images fitted on that are defects.
    """

    n_normals: int | Literal["all"]
    draw: int
    contamination: float

    @classmethod
    def of(cls, condition: Condition, config: TrainConfig) -> TrainingImages:
        """Those of a run; where its condition says nothing, the study does."""
        counts, shares = config.image_counts, config.contaminations
        many: int | Literal["all"] = ALL if ALL in counts else max(n for n in counts if n != ALL)
        return cls(
            many if condition.train_images is None else condition.train_images,
            condition.draw or 0,
            min(shares) if condition.contamination is None else condition.contamination,
        )


def set_aside(parts: Parts, config: TrainConfig, thresholds: ThresholdConfig, seed: int) -> Parts:
    """Parts whose validation part lacks the defects that any run of the study may be fitted on.

    They are gone at every level of contamination, so that the thresholds of all levels are chosen on the same images.

    Raises:
        UserError: a number of images, or a share of defects, that the category does not have.
    """
    most = max((n for n in config.image_counts if n != ALL), default=0)
    if most > len(parts.train):
        raise UserError(
            Complaint(
                f"{parts.train.category}: train.images is {most}, and the train part has {len(parts.train)} images",
                "a model is fitted on images of the train part",
                f"use at most {len(parts.train)}, or all; or raise split.train_fraction",
            )
        )
    defects = _defects(parts, config, seed)
    n_taken = n_defects(max(config.contaminations), n_normals(parts, config))
    if not n_taken:
        return parts
    left = 1 if thresholds.objective == "f1" else 0
    if n_taken > len(defects) - left:
        raise UserError(_too_many(parts, config, n_taken, len(defects), left))
    taken = {s.identity for s in defects[:n_taken]}
    return replace(parts, validation=_kept(parts.validation, lambda s: s.identity not in taken))


def train_part(whole: Parts, config: TrainConfig, wanted: TrainingImages, seed: int) -> TrainPart:
    """The images of one fit, in the order of the parts: normal ones of the train part, then defects.

    Draws are nested: draw d ranks the images by a hash of (seed, d, identity) and takes the first ones; the defects
    of a smaller share are among those of a larger one. The first `n_defects` of `whole.validation`'s ranked defects
    are those that `set_aside` takes out of the validation part.

    Args:
        whole: before anything was set aside.
        config: of the study.
        wanted: by this fit.
        seed: of the split and the repeat.
    """
    normals = whole.train
    if wanted.n_normals != ALL and wanted.n_normals < len(normals):
        ranked = _ranked(normals.samples, f"{seed}:{wanted.draw}")
        chosen = {s.identity for s in ranked[: wanted.n_normals]}
        normals = _kept(normals, lambda s: s.identity in chosen)
    n_taken = n_defects(wanted.contamination, len(normals))
    if not n_taken:
        return normals
    taken = {s.identity for s in _defects(whole, config, seed)[:n_taken]}
    defects = _kept(whole.validation, lambda s: s.identity in taken)
    samples, prints = normals.samples + defects.samples, normals.fingerprints + defects.fingerprints
    return TrainPart(normals.category, normals.domain, samples, prints, normals.shift)


def n_defects(share: float, n_normals: int) -> int:
    """How many defects beside n normal images make up a share of all of them, to the nearest; halves are rounded up."""
    return math.floor(share / (1 - share) * n_normals + 0.5)


def n_normals(parts: Parts, config: TrainConfig) -> int:
    """The most normal images that a fit of the study gets."""
    counts = config.image_counts
    return len(parts.train) if ALL in counts else max(n for n in counts if n != ALL)


def _defects(parts: Parts, config: TrainConfig, seed: int) -> list[Sample]:
    """The validation part's defects, in the order in which they are taken."""
    if not max(config.contaminations):
        return []
    return _ranked((s for s in parts.validation.samples if s.label), f"{seed}:contamination")


def _ranked(samples: Iterable[Sample], key: str) -> list[Sample]:
    def draw(sample: Sample) -> tuple[bytes, str]:
        digest = hashlib.blake2b(sample.identity.encode(), digest_size=16, key=key.encode(), person=b"adloc train")
        return digest.digest(), sample.identity

    return sorted(samples, key=draw)


def _kept(part: AnyPart, wanted: Callable[[Sample], bool]) -> AnyPart:
    """Some images of a part, in its order."""
    pairs = [(s, f) for s, f in zip(part.samples, part.fingerprints, strict=True) if wanted(s)]
    samples, prints = tuple(s for s, _ in pairs), tuple(f for _, f in pairs)
    return type(part)(part.category, part.domain, samples, prints, part.shift)


def _too_many(parts: Parts, config: TrainConfig, n_taken: int, n_there: int, n_left: int) -> Complaint:
    n = n_normals(parts, config)
    most = max(n_there - n_left, 0)
    keeping = " and one left for the F1 threshold" if n_left else ""
    return Complaint(
        f"{parts.train.category}: train.contamination is {max(config.contaminations):g}: {n_taken} defects beside {n}"
        f" normal images{keeping}, and the validation part has {n_there}",
        "the defects are taken from the validation part; test images are never fitted on",
        f"use at most {math.floor(100 * most / (most + n)) / 100:g}, or raise split.validation_defects",
    )
