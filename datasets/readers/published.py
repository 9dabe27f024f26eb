"""What is published of a dataset: where it is to be had, under which licence, and how many images it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.datasets.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.datasets.sample import Sample


@dataclass(frozen=True, slots=True)
class Published:
    """A published dataset.

    Attributes:
        name: "VisA".
        paper: who describes it, and where.
        page: the publisher's own, no mirror.
        licence: in short.
        layout: in words.
    """

    name: str
    paper: str
    page: str
    licence: str
    layout: str

    @property
    def remedy(self) -> str:
        """Where it is to be had, said to someone who has not got it."""
        return (
            f"{self.name} ({self.paper}) is to be had from its publisher, {self.page}; licence: {self.licence};"
            " unpack it and set root to its folder"
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of images of a category.

    Attributes:
        n_train: normal images to fit on, or undivided ones.
        n_test_good: normal images to test on.
        n_test_anomalous: anomalous images, wherever they lie.
        n_validation: normal images of a published validation part.
        n_defect_types: None where it is not published.
    """

    n_train: int
    n_test_good: int
    n_test_anomalous: int
    n_validation: int = 0
    n_defect_types: int | None = None

    def __str__(self) -> str:
        """ "280 train, 28 good and 89 anomalous test images of 5 types"."""
        validation = f", {self.n_validation} validation" if self.n_validation else ""
        types = f" of {self.n_defect_types} types" if self.n_defect_types is not None else ""
        return (
            f"{self.n_train} train/good{validation}, {self.n_test_good} test/good and {self.n_test_anomalous} anomalous"
            f" images{types}"
        )


def compare(dataset: str, category: str, expected: Counts, samples: Sequence[Sample]) -> list[Problem]:
    """Return a warning when a category has other counts than the published ones."""
    normal = [sample for sample in samples if sample.label == 0]
    anomalous = [sample for sample in samples if sample.label == 1]
    n_validation = sum(sample.part == "validation" for sample in normal)
    there = Counts(
        n_train=sum(sample.origin != "test" for sample in normal) - n_validation,
        n_test_good=sum(sample.origin == "test" for sample in normal),
        n_test_anomalous=len(anomalous),
        n_validation=n_validation,
        n_defect_types=None if expected.n_defect_types is None else len({sample.defect for sample in anomalous}),
    )
    if there == expected:
        return []
    return [
        Problem(
            f"{category}: {there}",
            f"{dataset}'s {category} has {expected}",
            "unpack the category again, or do not compare its figures with published ones",
        )
    ]
