"""From which score an image is anomalous: the model's threshold, a given one, or one for a rate of false alarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.errors import Complaint, UserError
from adloc.model.calibrate import images_for
from adloc.thresholds import just_above_rank, rounded_up
from adloc.uncertainty.order_statistics import CONFIDENCE, expected_bound, largest_rank, upper_bound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from adloc.model.folder import Model


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold and where it comes from.

    Attributes:
        value: None where there is none.
        words: what it is and what it promises, in a sentence.
    """

    value: float | None
    words: str


def choose_threshold(model: Model, given: float | None, fpr: float | None) -> Chosen:
    """The threshold to use.

    Args:
        model: whose own threshold is used where nothing is asked for.
        given: a score.
        fpr: the largest share of good parts that may be flagged; the model's normal reference images are asked:
            validation's, or those of a calibration.

    Raises:
        UserError: there are too few of them.
    """
    if given is not None:
        return Chosen(given, f"threshold {given:.6g}, as given")
    if fpr is not None:
        return for_rate(model.reference.normal, fpr)
    threshold = model.spec.threshold
    if threshold.image is None:
        words = "the model has no threshold, so no image is called anomalous: give one by --threshold or --fpr"
        return Chosen(None, words)
    return Chosen(threshold.image, f"threshold {threshold.image:.6g}, the model's own ({threshold.objective})")


def for_rate(normal: NDArray[np.float32], fpr: float) -> Chosen:
    """The threshold that flags at most the share `fpr` of good parts, by what normal scores can promise.

    With enough images the rate holds in 95 % of calibrations; with fewer the threshold lies above all of them, and the
    rate holds on the average of calibrations, which takes n with 1 / (n + 1) <= fpr.

    Args:
        normal: float32 (n,), scores of normal images that the model was not fitted on.
        fpr: above 0 and below 1.

    Raises:
        UserError: not even the average can be promised.
    """
    n = normal.size
    average, most = (images_for(fpr, CONFIDENCE, kept) for kept in ("expected", "confident"))
    if n < average:
        raise UserError(
            Complaint(
                f"--fpr is {fpr:.3g}, and the model knows the scores of {n} normal image{'s' * (n != 1)}",
                f"to flag at most that share of the good parts takes {average} normal images on the average of "
                f"calibrations, and {most} with {CONFIDENCE:.0%} confidence",
                "use " + (f"--fpr {rounded_up(1 / (n + 1))}, or " if n else "") + "`adloc model calibrate` with more",
            )
        )
    rank = largest_rank(n, fpr)
    k = 0 if rank is None else rank
    value = just_above_rank(normal, k)
    promised = (
        f"threshold {value:.6g}, above all but {k} of {n} normal reference images: of good parts like them it flags "
        f"{expected_bound(n, k):.3%} at most on the average of calibrations, and at most {upper_bound(n, k):.3%} in "
        f"{CONFIDENCE:.0%} of them"
    )
    if rank is None:
        promised += f"; for {fpr:.3%} with {CONFIDENCE:.0%} confidence it takes {most} images"
    return Chosen(value, promised)
