"""What a stage of each kind may see, held to before it is computed or read: by types, and by the images' content.

A type says what a part is for, and whoever makes one may be wrong. So a part of images that are scored, evaluated or
calibrated on is also compared, pixel hash by pixel hash, with all that the model before it was fitted on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.datasets.errors import DatasetError, Problem
from adloc.errors import StageMismatchError
from adloc.planning.parts import TestPart, ValidationPart, require
from adloc.planning.stages import (
    DiagnosisStage,
    EvaluationStage,
    SaturationStage,
    SegmentationStage,
    StepStage,
    ThresholdStage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.planning.parts import Part
    from adloc.planning.stages import Stage


def require_sight(stage: Stage) -> None:
    """Refuse a stage that would see images that it must not: of parts that its kind does not take, and of others.

    | Stage                 | takes                                                                              |
    |-----------------------|------------------------------------------------------------------------------------|
    | step: fit             | a train part                                                                       |
    | step: calibrate       | a validation part, or the train part                                               |
    | step: score           | any part; of a test part no image that was fitted or calibrated on, of a validation |
    |                       | part none that was fitted on                                                       |
    | threshold, diagnosis  | validation parts, with scores of the same images                                   |
    | truth                 | a validation or a test part                                                        |
    | evaluation            | a validation or a test part, with scores of the same images                        |
    | segmentation          | a test part, with scores of the same images, and a threshold of a validation part   |
    |                       | that shares no image with it                                                       |
    | saturation            | a test part, with scores of the same images                                        |

    Raises:
        StageMismatchError: a bug in whatever built the stage.
    """
    for part in stage.parts:
        require(part, *stage.takes)
    match stage:
        case StepStage():
            require_of_step(stage)
        case ThresholdStage():
            for scores, part in zip(stage.scores, stage.parts, strict=True):
                _require_scores_of(scores, part)
        case EvaluationStage() | SaturationStage():
            _require_scores_of(stage.scores, stage.truth.part)
        case SegmentationStage():
            require(stage.calibrated.truth.part, ValidationPart)
            require_sight(stage.calibrated)
            _require_scores_of(stage.scores, stage.truth.part)
            _require_unseen(stage.calibrated.truth.part, stage.truth.part)
        case DiagnosisStage():
            require_sight(stage.evaluation)
        case _:  # features, images and truth: what reads them is held to its part
            pass


def require_of_step(stage: StepStage) -> None:
    """Refuse a part that a step of its kind must not see, or that an earlier step has seen.

    Raises:
        StageMismatchError: a bug in whatever built the stage.
    """
    part = stage.source.part
    require(part, *stage.takes)
    if stage.step.part == "score" and isinstance(part, TestPart | ValidationPart):
        for before in _before(stage):
            if before.step.part == "fit" or (before.step.part == "calibrate" and isinstance(part, TestPart)):
                require_of_step(before)
                _require_unseen(before.source.part, part)


def refuse_seen(earlier: Part, later: Part) -> None:
    """Do nothing when no image of the later part has the content of one of the earlier: of any category and domain.

    Raises:
        DatasetError: naming each image of the later part, and its twin.
    """
    if earlier.contents.keys().isdisjoint(later.contents):
        return
    raise DatasetError(
        *(
            Problem(
                f"{location} = {earlier.contents[content]}: the same content",
                "a model is judged and calibrated on images that it was not fitted on, of whatever category",
                "keep the image in one category, or leave it out",
            )
            for content, location in later.contents.items()
            if content in earlier.contents
        )
    )


def _before(stage: StepStage) -> Iterator[StepStage]:
    """The steps that a step builds on, at any remove."""
    for earlier in stage.before:
        yield earlier
        yield from _before(earlier)


def _require_scores_of(scores: StepStage, part: Part) -> None:
    """Refuse scores of other images than those of the part, and scores by a model that has seen them."""
    scored = scores.source.part
    require(scored, type(part))
    if scored.image_keys != part.image_keys:
        message = f"this stage takes scores of its {type(part).__name__} and was given those of other images"
        raise StageMismatchError(message)
    require_of_step(scores)


def _require_unseen(earlier: Part, later: Part) -> None:
    """Refuse a later part that shares an image with an earlier one, whatever the two are called."""
    common = earlier.contents.keys() & later.contents.keys()
    if common:
        first = later.contents[min(common)]
        message = (
            f"this stage takes a {type(later).__name__} of images that no {type(earlier).__name__} before it has: "
            f"{len(common)} are in both, the first is {first}"
        )
        raise StageMismatchError(message)
