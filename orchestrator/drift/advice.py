"""What to do about a change: nothing, a new threshold (recalibrate), or a new fit (refit).

Recent images have scores and no labels. Most of them are normal, so they tell which threshold would flag as few of them
as the old threshold flagged of validation's normals. How many defects that threshold would still find is not known:
the scores of validation's defects may stay where they were (the pessimistic bound) or move with those of the normal
images (the optimistic one). Between the two, an image's score is the largest over its patches: a defective image's is
the larger of its defect's, as it was, and its background's, as that of a recent normal image. Where too much of the
separation is lost by that estimate, a new threshold cannot bring it back, and only a new fit may; whether it does, only
labelled images tell: the regimes of a study with a shift, where there was one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from adloc.errors import Complaint, UserError
from adloc.metrics.ranking import auroc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from adloc.drift.monitor import Alarm

Verdict = Literal["fine", "recalibrate", "refit"]

# Chosen on the textures brick and grass; tests/benchmarks/drift.py tells how good they are on these and on others.
TOLERATED_LOSS = 0.12  # of the separation (AUROC); beyond, a new threshold cannot bring it back
TOLERATED_ALARMS = 0.1  # by which the share of flagged images may rise before a new threshold is worth it
WORTH = 0.05  # of F1: what a new fit must have gained under the study's shift to be advised
ENOUGH_IMAGES = 30  # since the change, for an advice that is not called early


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What the study knew of the model.

    Attributes:
        normal: (n0,) scores of validation's normal images.
        anomalous: (n1,) of its anomalous ones; empty where it had none.
        threshold: an image is anomalous from there upwards.
        regimes: image F1 by regime, on validation images, where the study had a shift: what a new threshold and a new
            fit were worth there, which unlabelled scores cannot tell.
    """

    normal: NDArray[np.float64]
    anomalous: NDArray[np.float64]
    threshold: float
    regimes: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What recent scores say; None where no score of a defect is known.

    Attributes:
        n_recent: images since the change.
        flagged_before: share of validation's normal images at or above the threshold.
        flagged_now: of the recent images.
        threshold: that would flag of the recent images the share that was flagged of validation's.
        found_before: share of validation's defects that were found.
        found_if_stay: that the new threshold would find, if their scores stay.
        found_if_move: if they move by as much as the median of the normal images did.
        auroc_before: separation of validation's defects from its normal images.
        auroc_if_stay: from the recent images, if the defects' scores stay.
        auroc_if_move: if they move.
        loss: of separation, by the estimate between the two.
    """

    n_recent: int
    flagged_before: float
    flagged_now: float
    threshold: float
    found_before: float | None = None
    found_if_stay: float | None = None
    found_if_move: float | None = None
    auroc_before: float | None = None
    auroc_if_stay: float | None = None
    auroc_if_move: float | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class _Worth:
    """Gains of F1 under the study's own shift: of a new threshold, and of a new fit beyond it."""

    recalibrate: float
    refit: float


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do.

    Attributes:
        verdict: "fine": go on; "recalibrate": a new threshold; "refit": fit the model on new normal images.
        reasons: in plain words, one sentence each.
        outlook: the figures behind them; None without recent images.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    outlook: Outlook | None


def advise(alarm: Alarm | None, recent: NDArray[np.float64], known: Known) -> Advice:
    """Say what to do.

    Args:
        alarm: of the watch, or None.
        recent: (n,) scores of the images since the change, `alarm.since`; looked at when there is an alarm.
        known: what the study knew.

    Raises:
        UserError: there are no recent scores, or a score is not finite.
        ValueError: no normal scores are known.
    """
    if alarm is None:
        return Advice("fine", ("No change was found.",), None)
    _check(recent, known)
    outlook = look_ahead(recent, known)
    where = f"{alarm.statistic} went {alarm.direction} since about image {alarm.since}"
    seen = f"{where}, found at image {alarm.image}."
    verdict = _verdict(outlook, recent, known)
    early = () if len(recent) >= ENOUGH_IMAGES else (f"Only {len(recent)} images since then: ask again after 30.",)
    return Advice(verdict, (seen, *_reasons(verdict, outlook), *_of_the_study(known), *early), outlook)


def look_ahead(recent: NDArray[np.float64], known: Known) -> Outlook:
    """What recent scores (n,) say; all arrays hold at least one score, but for `known.anomalous`."""
    flagged = float((known.normal >= known.threshold).mean())
    threshold = _threshold_at(recent, flagged)
    now = float((recent >= known.threshold).mean())
    defects = known.anomalous
    if not len(defects):
        return Outlook(len(recent), flagged, now, threshold)
    moved = defects + (np.median(recent) - np.median(known.normal))
    return Outlook(
        len(recent),
        flagged,
        now,
        threshold,
        found_before=float((defects >= known.threshold).mean()),
        found_if_stay=float((defects >= threshold).mean()),
        found_if_move=float((moved >= threshold).mean()),
        auroc_before=_auroc(known.normal, defects),
        auroc_if_stay=_auroc(recent, defects),
        auroc_if_move=_auroc(recent, moved),
        loss=_separation(known.normal, defects) - _separation(recent, defects),
    )


def _verdict(outlook: Outlook, recent: NDArray[np.float64], known: Known) -> Verdict:
    """By the tolerances."""
    is_lost = outlook.loss is not None and outlook.loss > TOLERATED_LOSS
    worth = _worth(known)
    if is_lost and (worth is None or worth.refit > WORTH):
        return "refit"
    if is_lost or outlook.flagged_now > outlook.flagged_before + TOLERATED_ALARMS or _fell(recent, known):
        return "recalibrate"
    return "fine"


def _fell(recent: NDArray[np.float64], known: Known) -> bool:
    """Whether scores fell so far that the old threshold lets defects through: the median below the lower quartile."""
    return bool(np.median(recent) < np.quantile(known.normal, 0.25))


def _threshold_at(recent: NDArray[np.float64], share: float) -> float:
    """The least threshold that flags at most this share of the recent scores."""
    ordered = np.sort(recent)[::-1]
    return float(np.nextafter(ordered[int(share * len(recent))], np.inf)) if share < 1 else float(ordered[-1])


def _auroc(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> float:
    """How often an anomalous score is the higher."""
    labels = np.repeat([False, True], [len(normal), len(anomalous)])
    return auroc(np.concatenate([normal, anomalous]), labels)


def _separation(normal: NDArray[np.float64], defects: NDArray[np.float64]) -> float:
    """AUROC where a defective image's score is the larger of its defect's and of a normal background's.

    One minus the probability that both lie below another normal score, a tie counting half.
    """
    below = _share_below(defects, normal) * _share_below(normal, normal)
    return float(1 - below.mean())


def _share_below(values: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each limit, the share of values below it, ties counting half."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, limits, "left") + np.searchsorted(ordered, limits, "right")) / (2 * len(values))


def _reasons(verdict: Verdict, outlook: Outlook) -> tuple[str, ...]:
    """What the figures say, both bounds included."""
    said = [
        f"The threshold flagged {outlook.flagged_before:.0%} of validation's normal images and flags "
        f"{outlook.flagged_now:.0%} of the {outlook.n_recent} recent ones."
    ]
    if outlook.loss is None:
        said.append("No defect's score is known beside these, so nobody can say what a new threshold would find.")
    else:
        said.append(
            f"A new threshold at {outlook.threshold:.4g} would flag as few as before and find between "
            f"{outlook.found_if_stay:.0%} (if the scores of defects stay) and {outlook.found_if_move:.0%} (if they "
            f"move along) of validation's defects; the old one found {outlook.found_before:.0%}."
        )
        said.append(
            f"The separation (AUROC) was {outlook.auroc_before:.3f}; it is {outlook.auroc_if_stay:.3f} if the scores "
            f"stay, {outlook.auroc_if_move:.3f} if they move, and about {outlook.loss:.3f} is lost in between."
        )
    said.append(
        {
            "fine": "The scores are as useful as before: look at light, lens and camera, and go on.",
            "recalibrate": "Set a new threshold, from new normal images.",
            "refit": "A new threshold alone would not bring it back: fit the model on new normal images.",
        }[verdict]
    )
    return tuple(said)


def _worth(known: Known) -> _Worth | None:
    """What the study's regimes say; None where one of the three is missing."""
    figures = known.regimes or {}
    no, threshold, full = (figures.get(name) for name in ("no_adaptation", "threshold_only", "full_adaptation"))
    if no is None or threshold is None or full is None:
        return None
    return _Worth(threshold - no, full - threshold)


def _of_the_study(known: Known) -> tuple[str, ...]:
    """What the two were worth under the study's own shift, in words."""
    if (worth := _worth(known)) is None:
        return ()
    return (
        f"Under the study's own shift a new threshold was worth {worth.recalibrate:+.3f} of F1, and a new fit "
        f"{worth.refit:+.3f} more.",
    )


def _check(recent: NDArray[np.float64], known: Known) -> None:
    """Raise where nothing can be said."""
    if not len(known.normal):
        raise ValueError("no normal scores of validation")
    if not len(recent):
        raise UserError(
            Complaint(
                "there are no scores since the change",
                "an advice looks at the scores of the images since the change",
                "keep the scores of the stream, and pass those from alarm.since on",
            )
        )
    if not np.isfinite(recent).all():
        raise UserError(
            Complaint(
                f"a score since the change is {recent[~np.isfinite(recent)][0]}",
                "it must be a finite number",
                "leave out the images that could not be scored",
            )
        )
