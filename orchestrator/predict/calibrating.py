"""A model calibrated on new images of good parts."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from adloc.errors import Complaint, UserError
from adloc.keys import hash_file
from adloc.model.calibrate import Kept, calibrated, choose_rank, sentences
from adloc.model.folder import read_model
from adloc.predict.images import find_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.predict.images import Asked

_SHOWN = 3  # broken images that are named


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What was set.

    Attributes:
        threshold: new.
        before: the old one; None where there was none.
        n_images: good parts that it rests on.
        n_flagged: of them, those at or above it.
        expected_fpr: the expected share of good parts that it flags is at most this.
        upper_fpr: the share is at most this, with `confidence`.
        confidence: of `upper_fpr`.
        sentences: the same, for people.
    """

    threshold: float
    before: float | None
    n_images: int
    n_flagged: int
    expected_fpr: float
    upper_fpr: float
    confidence: float
    sentences: tuple[str, ...]


def calibrate_on(
    path: Path, arguments: Sequence[str], fpr: float | None, confidence: float, kept: Kept, device: str
) -> Calibrated:
    """Score new images of good parts and set the model's threshold by them.

    Args:
        path: the model's folder.
        arguments: the images, as for `adloc predict`.
        fpr: see `adloc.model.calibrate.choose_rank`, as `confidence` and `kept`.
        confidence: the same.
        kept: the same.
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: no such model or images, too few of them, or a broken one; nothing is changed then.
    """
    asking = find_images(arguments, sys.stdin.buffer)
    images = list(asking.images)
    if not images:
        rule = "a threshold rests on images of good parts"
        raise UserError(Complaint("standard input names no image", rule, "list some, a path a line"))
    model = read_model(path)
    rank = choose_rank(len(images), fpr, confidence, kept)  # before anything is scored
    digests = [_digest(Path(each.path)) for each in images]
    _refuse_fitted(images, digests, model.fitted_on)
    _refuse_twice(images, digests)
    if not os.access(path, os.W_OK):
        rule = "the new threshold is written into the model's folder"
        raise UserError(Complaint(f"{path}: may not be written to", rule, "make the folder writable, or copy it"))

    from adloc.computing.environment import pick_device
    from adloc.model.scorer import Scorer
    from adloc.predict.pipeline import predict

    scorer = Scorer(model, pick_device(device))
    found = [each for batch in predict(scorer, images, Event(), measure=True) for each in batch]
    broken = [f"{each.asked.shown}: {each.error}" for each in found if each.error is not None]
    if broken:
        raise UserError(
            Complaint(
                f"{len(broken)} of {len(found)} images are broken: {'; '.join(broken[:_SHOWN])}",
                "a promise rests on every image, and none may be left out after it was looked at",
                "repair them, or name the images without them",
            )
        )
    scores = np.array([each.score for each in found], np.float32)
    statistics = np.array([each.statistics for each in found], np.float64)
    written = calibrated(model, scores, statistics, scorer.statistics, rank)
    before, after = model.spec.threshold.image, written.threshold.image
    if after is None:
        raise TypeError(written.threshold)
    return Calibrated(
        after,
        before,
        rank.n,
        rank.k,
        rank.expected,
        rank.upper,
        rank.confidence,
        tuple(sentences(rank, before, after, fpr, kept)),
    )


def _refuse_fitted(images: Sequence[Asked], digests: Sequence[str], fitted_on: frozenset[str]) -> None:
    """Refuse images that the model was fitted on: their scores are lower than those of any image to come.

    Raises:
        UserError: some are among them, by the content of their files.
    """
    known = [asked.shown for asked, digest in zip(images, digests, strict=True) if digest in fitted_on]
    if known:
        raise UserError(
            Complaint(
                f"the model was fitted on {len(known)} of these {len(images)} images: {', '.join(known[:_SHOWN])}",
                "a threshold is calibrated on images that the fit has not seen, or it promises nothing",
                "name new images of good parts alone",
            )
        )


def _refuse_twice(images: Sequence[Asked], digests: Sequence[str]) -> None:
    """Refuse an image that is named or copied again: more of the same promise no more.

    Raises:
        UserError: some are, by the content of their files.
    """
    seen, again = set[str](), list[str]()
    for asked, digest in zip(images, digests, strict=True):
        if digest and digest in seen:
            again.append(asked.shown)
        seen.add(digest)
    if again:
        raise UserError(
            Complaint(
                f"{len(again)} of these {len(images)} images are others of them again: {', '.join(again[:_SHOWN])}",
                "a promise rests on how many different images there are",
                "name each image once, without its copies",
            )
        )


def _digest(path: Path) -> str:
    """As in `Model.fitted_on`; of a file that cannot be read nothing, which is said when it is scored."""
    try:
        return hash_file(path)[:16]
    except OSError:
        return ""
