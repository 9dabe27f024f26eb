"""The parts of a study: which images a stage may see, as types.

A fit takes a TrainPart, a threshold or a trial a ValidationPart, an evaluation a TestPart; a PrivatePart is scored, and
taken by none of them. The planner builds them; the type checker refuses a mix-up before anything runs, `require` again
when it runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, TypeVar

from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.file_image import FileImage
from adloc.datasets.kept_image import KeptImage
from adloc.datasets.look import pixels_hash
from adloc.datasets.shift import apply_shift, draw_parameters, share_in_frame
from adloc.datasets.split import Split, check_disjoint, check_unseen, split, split_target
from adloc.datasets.transform import resize_picture
from adloc.errors import StageMismatchError
from adloc.keys import canonical, content_key
from adloc.study_file.regimes import CLEAN, SHIFT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adloc.datasets.defect_kinds import DefectKind
    from adloc.datasets.sample import Fingerprint, Picture, Sample
    from adloc.datasets.shift import ShiftConfig
    from adloc.datasets.shift_parameters import ShiftParameters
    from adloc.datasets.split import SplitConfig
    from adloc.datasets.transform import ImageConfig


@dataclass(frozen=True, eq=False)
class Part:
    """Some images of one category (or of several, pooled) in one domain, in a fixed order.

    Attributes:
        category: "bottle"; "all" when pooled.
        domain: "clean", or "shift" when `shift` is applied to every image and mask; or the name of a real domain.
        samples: the images.
        fingerprints: of the samples' files, in the same order.
        shift: None in the clean domain.
    """

    category: str
    domain: str
    samples: tuple[Sample, ...]
    fingerprints: tuple[Fingerprint, ...]
    shift: ShiftConfig | None

    def __len__(self) -> int:
        """How many images."""
        return len(self.samples)

    @cached_property
    def image_keys(self) -> tuple[str, ...]:
        """Identity of each image's pixels in this domain; the same content has the same key anywhere."""
        if self.shift is None:
            return tuple(f.sha256 for f in self.fingerprints)
        # the draw depends on the image's identity, so a shifted image is its content, its identity and the shift
        shift = json.dumps(self.shift.identity(), sort_keys=True)
        return tuple(
            content_key(["shifted", f.sha256, s.identity, shift])
            for s, f in zip(self.samples, self.fingerprints, strict=True)
        )

    @cached_property
    def contents(self) -> dict[str, str]:
        """Where each image is, by the hash of its decoded pixels (of its file where nothing was decoded)."""
        pairs = zip(self.fingerprints, self.samples, strict=True)
        return {known.pixels or known.sha256: sample.source.location for known, sample in pairs}

    @cached_property
    def truth_key(self) -> str:
        """Identity of labels and masks."""
        truth = [[s.label, f.mask_sha256] for s, f in zip(self.samples, self.fingerprints, strict=True)]
        return content_key(["truth", truth, list(self.image_keys) if self.shift else []])

    @cached_property
    def n_anomalous(self) -> int:
        """How many images show a defect."""
        return sum(sample.label for sample in self.samples)

    @cached_property
    def names(self) -> str:
        """Identity and defect type of every image, as canonical JSON: a record names them."""
        return canonical([[sample.identity, sample.defect] for sample in self.samples])

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits that change with any image, label or mask: MLflow's dataset digest."""
        return content_key(["part", list(self.image_keys), self.truth_key])

    @cached_property
    def shifts(self) -> tuple[ShiftParameters | None, ...]:
        """What is done to each image: drawn for its identity in the shift domain, None in the clean one."""
        return tuple(None if self.shift is None else draw_parameters(self.shift, s.identity) for s in self.samples)

    @cached_property
    def defect_kinds(self) -> tuple[DefectKind, ...]:
        """The kinds of defect that the masks mark, by pixel value; empty where the dataset says nothing of them."""
        found = {kind for s in self.samples if isinstance(s.source, FileImage | KeptImage) for kind in s.source.kinds}
        return tuple(sorted(found, key=lambda kind: (kind.pixel_value, kind.defect_name)))

    def read(self, index: int, image: ImageConfig) -> Picture:
        """Image and mask number `index`, shifted in the shift domain; `image`: the model's, for a shift at its size."""
        return in_domain(self.decoded(index), self.samples[index], self.shift, image)

    def decoded(self, index: int) -> Picture:
        """Image and mask number `index` as they are on the disk, without a shift.

        Raises:
            DatasetError: the image is not the one that the part was made of: its pixels have another hash.
        """
        sample, known = self.samples[index], self.fingerprints[index]
        picture = sample.source.read()
        if known.pixels and pixels_hash(picture.image) != known.pixels:
            raise DatasetError(
                Problem(
                    f"{sample.source.location}: not the image that it was when the study was planned",
                    "results are kept by the content of the images that they were computed from",
                    "leave the images as they are while a study runs, and run it again",
                )
            )
        return picture


class TrainPart(Part):
    """Images that a fit may see: normal ones, unless a study contaminates them."""


class ValidationPart(Part):
    """Images that calibrate thresholds and choose hyperparameters."""


class TestPart(Part):
    """Images that give final figures, and nothing else."""

    __test__ = False  # not a test class, whatever pytest thinks of the name


class PrivatePart(Part):
    """Images without labels, of a benchmark that keeps them: they are scored, and serve for nothing else here."""


AnyPart = TypeVar("AnyPart", bound=Part)


@dataclass(frozen=True, slots=True)
class Parts:
    """The three parts of one category in one domain."""

    train: TrainPart
    validation: ValidationPart
    test: TestPart


def make_parts(
    samples: Sequence[Sample],
    fingerprints: Mapping[str, Fingerprint],
    config: SplitConfig,
    shift: ShiftConfig | None,
) -> Parts:
    """Split the samples of one category; with `shift`, in the shift domain.

    Reads nothing, but for the masks of test images where those that leave the frame are dropped.

    Raises:
        DatasetError: two parts share an image by content; the files are named.
    """
    drawn = split(samples, config)
    check_disjoint(drawn, fingerprints)
    return _parts_of(drawn, samples[0].category, CLEAN if shift is None else SHIFT, fingerprints, shift)


def make_target_parts(
    domain: str,
    samples: Sequence[Sample],
    fingerprints: Mapping[str, Fingerprint],
    config: SplitConfig,
    source: Parts,
) -> Parts:
    """Split a category's samples of a real domain as the source's are; any part may be empty.

    Args:
        domain: its name.
        samples: of the category in the domain; none where it has none.
        fingerprints: of the domain's samples.
        config: of the study.
        source: the clean parts, the whole of them.

    Raises:
        DatasetError: two parts share an image, or the domain is tested on one that the source is fitted on.
    """
    known = Split(source.train.samples, source.validation.samples, source.test.samples)
    drawn = split_target(samples, config, known)
    check_disjoint(drawn, fingerprints)
    of_source = {
        sample.identity: known
        for part in (source.train, source.validation, source.test)
        for sample, known in zip(part.samples, part.fingerprints, strict=True)
    }
    check_unseen(known, of_source, drawn, fingerprints)
    return _parts_of(drawn, source.train.category, domain, fingerprints, None)


def _parts_of(
    drawn: Split, category: str, domain: str, fingerprints: Mapping[str, Fingerprint], shift: ShiftConfig | None
) -> Parts:
    def part(kind: type[AnyPart], chosen: Sequence[Sample]) -> AnyPart:
        return kind(category, domain, tuple(chosen), tuple(fingerprints[s.identity] for s in chosen), shift)

    test = drawn.test
    if shift is not None and shift.drop_vanished:
        test = tuple(sample for sample in test if not leaves_frame(sample, shift))
    return Parts(part(TrainPart, drawn.train), part(ValidationPart, drawn.validation), part(TestPart, test))


@cache
def leaves_frame(sample: Sample, shift: ShiftConfig) -> bool:
    """Whether the shift moves all of an image's defect out of the frame; False where there is none, or no mask."""
    if isinstance(sample.source, KeptImage):
        return shift_key(shift) in sample.source.left_frame
    mask = sample.source.read().mask if sample.label else None
    return mask is not None and share_in_frame(mask, draw_parameters(shift, sample.identity)) == 0


def shift_key(shift: ShiftConfig) -> str:
    """Identity of a shift."""
    return content_key(["shift", shift.identity()])


def pool(parts: Sequence[AnyPart]) -> AnyPart:
    """One part of several categories, in the order of their names whatever the study's order."""
    ordered = sorted(parts, key=lambda p: p.category)
    first = ordered[0]
    return type(first)(
        "all",
        first.domain,
        tuple(s for p in ordered for s in p.samples),
        tuple(f for p in ordered for f in p.fingerprints),
        first.shift,
    )


def require(part: Part, *kinds: type[Part]) -> None:
    """Refuse a part of any other kind.

    Raises:
        StageMismatchError: a bug in whatever built the stage.
    """
    if type(part) not in kinds:
        names = " or a ".join(kind.__name__ for kind in kinds)
        message = f"this stage takes a {names} and was given a {type(part).__name__}"
        raise StageMismatchError(message)


def read_in_domain(sample: Sample, shift: ShiftConfig | None, image: ImageConfig) -> Picture:
    """A sample's image and mask; with `shift`, moved and lit as drawn for its identity."""
    return in_domain(sample.source.read(), sample, shift, image)


def in_domain(picture: Picture, sample: Sample, shift: ShiftConfig | None, image: ImageConfig) -> Picture:
    """The sample's picture as it was read; with `shift`, moved and lit as drawn for its identity.

    A shift at the model's size gives a picture of that size, before the crop; its mask by nearest neighbour.
    """
    if shift is None:
        return picture
    if shift.at == "model":
        picture = resize_picture(picture, image)
    return apply_shift(picture, draw_parameters(shift, sample.identity))
