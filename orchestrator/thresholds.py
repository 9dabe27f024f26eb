"""The image threshold, from the raw scores of a validation part; an image is anomalous from there upwards.

Importing this module imports no numpy: the study file's configuration is read with it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from adloc.errors import Complaint, UserError
from adloc.uncertainty.order_statistics import CONFIDENCE, Promise, largest_rank, least_normals, promise, upper_bound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from adloc.study_file.operating import OperatingConfig

Objective = Literal["f1", "normal_quantile", "normal_max", "guaranteed_fpr", "cost"]
ThresholdScope = Literal["category", "global", "both"]

DEFAULT_FPR = 0.01
GUARANTEED = "guaranteed_fpr"
NEEDS_DEFECTS = ("f1", "cost")


class ThresholdConfig(BaseModel):
    """How thresholds are calibrated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Objective = Field(
        default="f1",
        description="f1: the largest F1 on the validation part, which needs anomalous images there; "
        "normal_quantile: at most the share fpr of its normal images is flagged; "
        "normal_max: none of its normal images is flagged; "
        "guaranteed_fpr: at most the share fpr of all normal images is flagged, with the given confidence; "
        "cost: the smallest expected cost on the validation part at the rates of operating",
        json_schema_extra={
            "rule": "it must be f1, normal_quantile, normal_max, guaranteed_fpr or cost",
            "remedy": "use f1",
        },
    )
    scope: ThresholdScope = Field(
        default="category",
        description="category: a threshold for each; global: one for all; both: one run of each kind",
        json_schema_extra={"rule": "it must be category, global or both", "remedy": "use category"},
    )
    fpr: float = Field(
        default=DEFAULT_FPR,
        gt=0,
        lt=1,
        description="the largest share of normal images that may be flagged: of the validation part for "
        "normal_quantile, of all that will come for guaranteed_fpr",
        json_schema_extra={
            "rule": "it must be above 0 and below 1, the share of normal images that may be "
            "flagged, and only objective: normal_quantile and guaranteed_fpr read it",
            "remedy": "use 0.01 with objective: normal_quantile or guaranteed_fpr, or leave the key out",
        },
    )
    confidence: float = Field(
        default=CONFIDENCE,
        gt=0,
        lt=1,
        description="with which probability guaranteed_fpr keeps its rate",
        json_schema_extra={
            "rule": "it must be above 0 and below 1, the probability that the rate is kept, and only objective: "
            "guaranteed_fpr reads it",
            "remedy": "use 0.95 with objective: guaranteed_fpr, or leave the key out",
        },
    )

    @property
    def words(self) -> str:
        """The objective with what it reads: "normal_quantile 0.01", "guaranteed_fpr 0.01 at 0.95 confidence"."""
        if self.objective == GUARANTEED:
            return f"{self.objective} {self.fpr:g} at {self.confidence:g} confidence"
        return f"{self.objective} {self.fpr:g}" if self.objective == "normal_quantile" else self.objective

    @field_validator("fpr")
    @classmethod
    def _only_where_it_is_read(cls, fpr: float, info: ValidationInfo) -> float:
        # The default is let through, so that a resolved study file can be read again.
        if fpr != DEFAULT_FPR and info.data.get("objective", "normal_quantile") not in ("normal_quantile", GUARANTEED):
            message = f"objective {info.data['objective']} does not read fpr\nuse objective: normal_quantile"
            raise ValueError(message)
        return fpr

    @field_validator("confidence")
    @classmethod
    def _only_for_a_guarantee(cls, confidence: float, info: ValidationInfo) -> float:
        if confidence != CONFIDENCE and info.data.get("objective", GUARANTEED) != GUARANTEED:
            message = f"objective {info.data['objective']} does not read confidence\nuse objective: {GUARANTEED}"
            raise ValueError(message)
        return confidence


def calibrate(
    scores: NDArray[np.floating],
    labels: NDArray[np.bool_ | np.integer],
    config: ThresholdConfig,
    operating: OperatingConfig | None = None,
) -> float:
    """The threshold that a validation part gives.

    For one threshold for several categories, pass the pooled scores of all of them.

    Args:
        scores: (N,) raw image scores of the validation part.
        labels: (N,) True or 1 = anomalous. Only `f1` and `cost` look at the anomalous images.
        config: which objective, and its parameter.
        operating: rates and costs, which `cost` alone reads.

    Raises:
        UserError: the part holds no image of a class that the objective needs, or too few normal images for a
            guarantee, or a score is not finite.
        ValueError: shapes differ, or a label is neither 0 nor 1.
    """
    import numpy as np

    from adloc.metrics.ranking import checked

    values = np.asarray(scores)
    n_broken = int(np.count_nonzero(~np.isfinite(values)))
    if n_broken:
        raise UserError(
            Complaint(
                f"{n_broken} of {values.size} validation scores are nan or infinite",
                "a threshold lies between scores, so each of them must be a number",
                "look for a broken image, or for weights that overflow; the per-image scores name them",
            )
        )
    values, anomalous = checked(values, labels)
    n_normal = int((~anomalous).sum())
    _require(config.objective, n_normal=n_normal, n_anomalous=int(anomalous.sum()))
    if config.objective == "f1":
        return largest_f1(values, anomalous)
    if config.objective == "cost":
        if operating is None:
            raise ValueError("objective cost needs the rates and costs of operating")
        return least_cost(values, anomalous, operating)
    return just_above_rank(values[~anomalous], n_allowed(n_normal, config))


def n_allowed(n: int, config: ThresholdConfig) -> int:
    """How many of n normal images a normal-only objective lets be flagged: known before any score is.

    Raises:
        UserError: n normal images cannot give the guarantee.
    """
    if config.objective == "normal_quantile":
        # Not floor(fpr * n): in floating point, 0.29 * 100 is a little less than 29.
        return max(k for k in range(n) if k / n <= config.fpr)
    if config.objective != GUARANTEED:
        return 0
    k = largest_rank(n, config.fpr, config.confidence)
    if k is None:
        raise UserError(too_few("the validation part", n, config))
    return k


def too_few(where: str, n: int, config: ThresholdConfig) -> Complaint:
    """That n normal images cannot give the guarantee that is asked for, and what they can give."""
    wanted = least_normals(config.fpr, config.confidence)
    return Complaint(
        f"{where} has {n} normal image{'s' * (n != 1)}",
        f"to flag at most {config.fpr:.3g} of the normal parts with {config.confidence:.3g} confidence takes "
        f"{wanted} normal validation images",
        f"lower split.train_fraction, or use thresholds.fpr: {rounded_up(upper_bound(n, 0, config.confidence))}, "
        "which this many can promise",
    )


def promise_of(n: int, n_flagged: int, config: ThresholdConfig) -> Promise:
    """What a threshold of this objective promises about false alarms, at 95 %.

    Args:
        n: normal validation images, at least one.
        n_flagged: how many of them the threshold flags.
        config: the objective. `f1` and `cost` choose the rank with the scores in view.
    """
    if config.objective in NEEDS_DEFECTS:
        return promise(n, n_flagged, chosen=True)
    return promise(n, n_allowed(n, config), chosen=False)


def least_cost(scores: NDArray[np.floating], labels: NDArray[np.bool_], operating: OperatingConfig) -> float:
    """The threshold with the smallest expected cost a part at the line's prevalence, not that of these images.

    Cost = prevalence x cost_miss x share of anomalous images that pass + (1 - prevalence) x cost_false_alarm x share
    of normal images that are flagged. It can be smallest only at the score of an anomalous image, or above every
    score. Among equal costs the lowest score is taken, as for F1.

    Args:
        scores: (N,) finite.
        labels: (N,) at least one of each class.
        operating: rates and costs.
    """
    import numpy as np

    normal, anomalous = np.sort(scores[~labels]), np.sort(scores[labels])
    candidates = np.append(np.unique(anomalous), np.nextafter(scores.max(), np.inf, dtype=scores.dtype))
    missed = np.searchsorted(anomalous, candidates) / anomalous.size
    flagged = 1 - np.searchsorted(normal, candidates) / normal.size
    rate = operating.prevalence
    cost = rate * operating.cost_miss * missed + (1 - rate) * operating.cost_false_alarm * flagged
    # rounding must not break ties
    return float(candidates[np.flatnonzero(cost <= cost.min() + 1e-12 * (1 + cost.min()))[0]])


def largest_f1(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """The threshold with the largest F1: an observed score of an anomalous image.

    F1 can be largest only at such a score, where one more hit comes in. Every threshold between it and the
    next lower score gives the same F1 on these images; the observed score is returned, as usual, and not the
    midpoint. Among equal F1 the lowest score is returned: in inspection a missed defect costs more than a
    false alarm.

    Args:
        scores: (N,) finite.
        labels: (N,) at least one True (anomalous).
    """
    from adloc.metrics.ranking import rank

    return rank(scores, labels).largest_f1().threshold


def normal_quantile(scores: NDArray[np.floating], fpr: float) -> float:
    """The smallest threshold that flags at most the share `fpr` of these normal images.

    It lies one floating-point step (in the dtype of the scores) above a score, because an image is flagged
    when score >= threshold. With `fpr` 0 it is just above their maximum, and none is flagged. With N images
    no rate below 1 / N can be told from 0.

    Args:
        scores: (N,) finite scores of normal images, at least one.
        fpr: in [0, 1).
    """
    config = ThresholdConfig(objective="normal_quantile", fpr=fpr) if fpr else ThresholdConfig(objective="normal_max")
    return just_above_rank(scores, n_allowed(scores.size, config))


def just_above_rank(scores: NDArray[np.floating], k: int) -> float:
    """The smallest threshold that flags at most k of these normal images, k below their number."""
    import numpy as np

    return float(np.nextafter(np.sort(scores)[scores.size - 1 - k], np.inf, dtype=scores.dtype))


def _require(objective: Objective, n_normal: int, n_anomalous: int) -> None:
    """Refuse a validation part that does not hold what the objective needs."""
    if n_normal + n_anomalous == 0:
        raise UserError(
            Complaint(
                "the validation part is empty",
                "a threshold is calibrated on validation images",
                "use split.train_fraction: 0.8, or do without thresholded metrics",
            )
        )
    if n_normal == 0:
        raise UserError(
            Complaint(
                f"the validation part has {n_anomalous} anomalous images and no normal one",
                f"objective {objective} weighs false alarms, so it needs normal images",
                "use split.train_fraction: 0.8",
            )
        )
    if n_anomalous == 0 and objective in NEEDS_DEFECTS:
        raise UserError(
            Complaint(
                f"the validation part has {n_normal} normal images and no anomalous one",
                f"{'F1' if objective == 'f1' else 'the cost of misses'} is not defined without anomalous images",
                "use thresholds.objective: normal_quantile or normal_max, or split.validation_defects: 0.3",
            )
        )


def rounded_up(rate: float) -> str:
    """A rate to three digits, never smaller than it is."""
    digits = 2 - math.floor(math.log10(rate))
    return f"{math.ceil(rate * 10**digits) / 10**digits:.{digits}f}"
