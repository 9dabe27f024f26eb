"""Which images each stage of a run has read, from what the results of its stages say; none of the test part too early.

Made from the store alone: a result notes the hashes of the images that were handed to it when it was computed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from adloc.computing.reading import N_DIGITS, read_by
from adloc.planning.parts import TestPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adloc.methods.detector import Result
    from adloc.planning.parts import Part
    from adloc.planning.plan import Run
    from adloc.planning.stages import Stage

AUDIT = "audit.json"  # of a record; those of earlier versions have none
PartName = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class StageReading:
    """What one stage has read.

    Attributes:
        stage: its kind, and for a step what it does: "patchcore.coreset (fit)".
        key: of its result in the store.
        scores: whether it scores test images or reads their truth: it alone may read them.
        is_noted: False where the result was kept by a version that did not note what is read.
        images: of the audit's table, as [first, last] of each row of neighbours.
        n_train: images read of each part.
        n_validation: the same.
        n_test: the same.
        n_other: images that are in no part of the run.
    """

    stage: str
    key: str
    scores: bool
    is_noted: bool
    images: tuple[tuple[int, int], ...]
    n_train: int
    n_validation: int
    n_test: int
    n_other: int

    @property
    def is_early(self) -> bool:
        """Whether it has read a test image, or one of nobody knows where, that it must not."""
        return not self.scores and self.n_test + self.n_other > 0


@dataclass(frozen=True, slots=True)
class Audit:
    """What the stages of a run have read.

    Attributes:
        conclusion: in a sentence.
        stages: inputs first.
        images: part, identity and SHA-256 of every image of the run's parts.
    """

    conclusion: str
    stages: tuple[StageReading, ...]
    images: tuple[tuple[PartName, str, str], ...]

    @property
    def early(self) -> tuple[StageReading, ...]:
        """The stages that have read what they must not."""
        return tuple(stage for stage in self.stages if stage.is_early)


def audit(run: Run, result: Callable[[Stage], Result | None]) -> Audit:
    """What the stages of a run have read.

    Args:
        run: of the plan.
        result: what the store has of a stage; None where it has nothing.
    """
    images = tuple(_images(run))
    stages = tuple(_reading(stage, result(stage), images) for stage in _readers(run))
    return Audit(_conclude(stages, images), stages, images)


def write_audit(path: Path, found: Audit) -> None:
    """As JSON, an image a line."""
    stages = ",\n".join(f"  {json.dumps(asdict(stage))}" for stage in found.stages)
    images = ",\n".join(f"  {json.dumps(image)}" for image in found.images)
    text = f'{{"conclusion": {json.dumps(found.conclusion)},\n "stages": [\n{stages}],\n "images": [\n{images}]}}\n'
    path.write_text(text, encoding="utf-8")


def is_noted(path: Path) -> bool:
    """Whether every stage of an audit, as `write_audit` has written it, says what it has read."""
    return all(stage["is_noted"] for stage in json.loads(path.read_text(encoding="utf-8"))["stages"])


def _readers(run: Run) -> Iterator[Stage]:
    """The stages of a run that read images or labels, each once."""
    found = {stage.key: stage for stage in run.stages()}
    return (stage for stage in found.values() if stage.notes_images)


def _images(run: Run) -> Iterator[tuple[PartName, str, str]]:
    """Those that a run was planned with; of all categories where its model or its threshold is of all."""
    calibrated = [stage.source.part for stage in run.fit if stage.step.part == "calibrate"]
    calibrated += run.threshold.parts if run.threshold else ()
    parts: list[tuple[PartName, Part]] = [("train", run.train_part), ("test", run.test.truth.part)]
    parts[1:1] = [("validation", part) for part in calibrated]
    seen: set[tuple[str, str]] = set()
    for name, part in parts:
        for sample, known in zip(part.samples, part.fingerprints, strict=True):
            if (sample.identity, known.sha256) not in seen:
                seen.add((sample.identity, known.sha256))
                yield name, sample.identity, known.sha256


def _reading(stage: Stage, result: Result | None, images: tuple[tuple[PartName, str, str], ...]) -> StageReading:
    digits = None if result is None else read_by(result)
    rows = [row for row, (_, _, sha256) in enumerate(images) if sha256[:N_DIGITS] in (digits or ())]
    parts = [images[row][0] for row in rows]
    n_other = len((digits or set()) - {sha256[:N_DIGITS] for _, _, sha256 in images})
    n = {name: parts.count(name) for name in ("train", "validation", "test")}
    return StageReading(
        stage.title,
        stage.key,
        TestPart in stage.takes and isinstance(stage.parts[0], TestPart),
        digits is not None,
        tuple(_ranges(rows)),
        n["train"],
        n["validation"],
        n["test"],
        n_other,
    )


def _ranges(rows: list[int]) -> Iterator[tuple[int, int]]:
    for _, group in groupby(enumerate(rows), lambda each: each[1] - each[0]):
        run = [row for _, row in group]
        yield run[0], run[-1]


def _conclude(stages: tuple[StageReading, ...], images: tuple[tuple[PartName, str, str], ...]) -> str:
    parts = [part for part, _, _ in images]
    counts = ", ".join(f"{parts.count(name)} {name}" for name in ("train", "validation", "test"))
    if early := [stage for stage in stages if stage.is_early]:
        names = "; ".join(f"{each.stage} has read {each.n_test} test and {each.n_other} other images" for each in early)
        return f"test images before scoring: {names}"
    silent = sum(not stage.is_noted for stage in stages)
    if silent:
        return f"{silent} of {len(stages)} stages do not say what they have read; no test image in the others: {counts}"
    return f"no test image before scoring: {counts}"
